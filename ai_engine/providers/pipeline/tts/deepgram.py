"""Text to speech by Deepgram's Aura voices, on speak v1."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import structlog
from pydantic import Field

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.deepgram import KEY, URL, VENDOR, Query, coding, open_socket
from ai_engine.providers.pipeline.ports import Clause
from ai_engine.providers.pipeline.tts.deepgram_connection import Arrived, Flushed, SpeakConnection
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import KeyName, Section, WebSocketUrl

log = structlog.get_logger(__name__)

_PATH = "/v1/speak"

_PATIENCE_SECONDS = 3.0
"""So long nothing comes of words that were flushed, and the vendor is stuck."""

_Happened = Arrived | str | None
"""What came, another clause, or that there are no more."""


class DeepgramSpeakSettings(Section):
    """Deepgram's Aura voices."""

    type: Literal["deepgram"] = "deepgram"
    """Which kind of voice this is."""
    url: WebSocketUrl = URL
    """Where `/v1/speak` is."""
    key: KeyName = KEY
    """The variable in `.env` that holds the key."""
    model: str = "aura-2-thalia-en"
    """The voice, as the vendor names it; its language is the last part of the name."""
    speed: Annotated[float, Field(ge=0.7, le=1.5)] | None = None
    """1 is the voice's own; null leaves it to the vendor."""


@dataclass(slots=True)
class _Speech:
    """What is being said."""

    waiting: deque[str] = field(default_factory=deque)
    """Clauses that were not flushed yet."""
    flushed: deque[str] = field(default_factory=deque)
    """Words whose sound is not complete, by flush."""
    all_known: bool = False
    """No more clauses follow."""
    announced: bool = False
    """The caller knows that sound of the oldest flush follows."""
    odd: bytes = b""
    """Half a sample."""
    sound_until: float = 0.0
    """When all sound so far will have been heard."""
    moved_at: float = 0.0
    """When something last came, or was asked for after a pause."""

    @property
    def over(self) -> bool:
        return self.all_known and not self.waiting and not self.flushed


class DeepgramSpeaker:
    """Implements ``Speaker``: one connection for the call, a flush for each clause as long as there are enough."""

    name = "deepgram"

    def __init__(self, settings: DeepgramSpeakSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._fitting = fitting
        self._key = fitting.keys[settings.key]
        self._coding = coding(fitting.line)
        self.output_format: AudioFormat = self._coding.format
        self._connection: SpeakConnection | None = None
        self._log = log

    async def start(self, briefing: Briefing) -> None:
        self._log = log.bind(call_id=briefing.call_id)
        self._connection = await self._connect()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def speak(self, clauses: AsyncIterator[str]) -> AsyncGenerator[Clause | bytes, None]:
        speech, inbox = _Speech(), asyncio.Queue[_Happened]()
        feeder = asyncio.create_task(_feed(clauses, inbox))
        feeder.add_done_callback(lambda _: inbox.put_nowait(None))
        try:
            connection, is_fresh = await self._connected(inbox)
            while not speech.over:
                arrived = await self._next(speech, connection, inbox)
                match arrived:
                    case bytes():
                        for piece in self._sound(speech, arrived):
                            yield piece
                    case Flushed():
                        _complete(speech)
                    case str():
                        speech.waiting.append(arrived)
                    case ProviderError() if is_fresh or speech.sound_until:
                        raise arrived
                    case ProviderError():
                        # It may have been broken for long, unnoticed while nobody spoke.
                        connection, is_fresh = await self._connected(inbox)
                        speech.waiting.extendleft(reversed(speech.flushed))
                        speech.flushed.clear()
                    case None:
                        feeder.result()
                        speech.all_known = True
        finally:
            feeder.cancel()
            if speech.flushed and self._connection is not None:
                self._connection.clear()
            await asyncio.gather(feeder, return_exceptions=True)

    # -- the connection ---------------------------------------------------------------------------------------

    async def _connected(self, inbox: asyncio.Queue[_Happened]) -> tuple[SpeakConnection, bool]:
        """A connection that stands, and whether it was opened just now."""
        is_fresh = self._connection is None or self._connection.broken is not None
        if self._connection is None or is_fresh:
            if self._connection is not None:
                self._log.info("the connection is opened anew", reason=str(self._connection.broken))
                await self._connection.close()
            self._connection = await self._connect()
        self._connection.listen(inbox.put_nowait)
        return self._connection, is_fresh

    async def _connect(self) -> SpeakConnection:
        socket = await open_socket(self._settings.url, _PATH, self._query(), self._key, self._fitting)
        return SpeakConnection(socket, self._log)

    def _query(self) -> Query:
        speed = self._settings.speed
        return [
            ("model", self._settings.model),
            *self._coding.query,
            *([("speed", str(speed))] if speed is not None else []),
        ]

    # -- a speech ---------------------------------------------------------------------------------------------

    async def _next(self, speech: _Speech, connection: SpeakConnection, inbox: asyncio.Queue[_Happened]) -> _Happened:
        """What happens next; words that are due meanwhile are flushed. Raises ProviderError when nothing does."""
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            due_at = connection.flushes.due_at(now, speech.sound_until, len(speech.flushed))
            if speech.waiting and due_at == now:
                _flush(speech, connection, now)
                continue
            stuck_at = speech.moved_at + _PATIENCE_SECONDS if speech.flushed else None
            times = [at for at in (due_at if speech.waiting else None, stuck_at) if at is not None]
            try:
                async with asyncio.timeout_at(min(times, default=None)):
                    arrived = await inbox.get()
            except TimeoutError:
                if stuck_at is not None and clock() >= stuck_at:
                    raise ProviderError(f"{VENDOR} fell silent in the middle of a speech") from None
                continue
            if isinstance(arrived, bytes | Flushed):
                speech.moved_at = clock()
            return arrived

    def _sound(self, speech: _Speech, data: bytes) -> list[Clause | bytes]:
        if not speech.flushed:
            return []
        pcm = speech.odd + self._coding.decode(data)
        whole = len(pcm) & ~1
        speech.odd = pcm[whole:]
        if not whole:
            return []
        now = asyncio.get_running_loop().time()
        speech.sound_until = max(now, speech.sound_until) + self.output_format.ms(whole) / 1000
        announced, speech.announced = speech.announced, True
        return [pcm[:whole]] if announced else [Clause(speech.flushed[0]), pcm[:whole]]


def _flush(speech: _Speech, connection: SpeakConnection, now: float) -> None:
    if not speech.flushed:
        speech.moved_at = now
    count = len(speech.waiting) if connection.flushes.sparing(now) else 1
    clauses = [speech.waiting.popleft() for _ in range(count)]
    speech.flushed.append(" ".join(clauses))
    connection.flush(clauses, now)


def _complete(speech: _Speech) -> None:
    if speech.flushed:
        speech.flushed.popleft()
    speech.announced, speech.odd = False, b""


async def _feed(clauses: AsyncIterator[str], inbox: asyncio.Queue[_Happened]) -> None:
    async for clause in clauses:
        if words := clause.strip():
            inbox.put_nowait(words)
