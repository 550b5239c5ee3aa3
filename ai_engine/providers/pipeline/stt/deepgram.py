"""Speech to text by Deepgram's Nova models, on listen v1."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal

from pydantic import Field

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.preroll import PreRoll
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.deepgram import KEY, URL, VENDOR, Query, coding, open_socket
from ai_engine.providers.pipeline.ports import Heard
from ai_engine.providers.pipeline.stt.deepgram_stream import DeepgramStream, Message
from ai_engine.providers.pipeline.stt.deepgram_turns import Result, StreamedTurns, Turn
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import KeyName, Section, WebSocketUrl

_PATH = "/v1/listen"

_KEEP_ALIVE_SECONDS = 4.0
"""The vendor hangs up after 10 s without a word."""

_PATIENCE_SECONDS = 1.0
"""For the last words of a turn; the text so far must do then."""

_SETTLED_SECONDS = 0.3
"""The same, when everything was final before: then nothing may be left for the vendor to answer with."""

_MOST_UNANSWERED_SECONDS = 1.0
"""It says something about every second of sound, even of silence: after so much without a word it may be stuck."""

_MOST_BEHIND_SECONDS = 3.0
"""Of sound: it is further behind the end of a turn only while it works off one that was sent at once."""

_STUCK_SECONDS = 1.5
"""After the end of a turn it surely is: even if the whole of a long one was sent at once."""


class DeepgramListenSettings(Section):
    """Deepgram's Nova models; the engine decides when the caller's turn is over."""

    type: Literal["deepgram"] = "deepgram"
    """Which kind of transcriber this is."""
    url: WebSocketUrl = URL
    """Where `/v1/listen` is."""
    key: KeyName = KEY
    """The variable in `.env` that holds the key."""
    model: str = "nova-3"
    """As the vendor names it."""
    language: str | None = None
    """BCP 47, or `multi`; null: the agent's language."""
    endpointing_ms: Annotated[int, Field(ge=10, le=10_000)] = 300
    """After so much silence the words so far are final, which makes the end of the turn quicker."""
    smart_format: bool = True
    """Numbers, dates and amounts as they are written, not as they are spoken."""
    keyterms: tuple[str, ...] = ()
    """Words to listen for: names, products; for `nova-3`."""


class DeepgramTranscriber:
    """Implements ``Transcriber``. Sound is sent only while a turn is open, pre-roll first: the rest is not paid for."""

    name = "deepgram"
    own_turns = False
    patience_seconds = 0.0

    def __init__(self, settings: DeepgramListenSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._fitting = fitting
        self._key = fitting.keys[settings.key]
        self._coding = coding(fitting.line)
        self.input_format: AudioFormat = self._coding.format
        self._preroll = PreRoll(self.input_format, fitting.preroll_ms)
        self._turns = StreamedTurns()
        self._open = False
        self._stream: DeepgramStream | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    async def start(self, briefing: Briefing) -> None:
        query = self._query(self._settings.language or _listed(briefing.language))
        socket = await open_socket(self._settings.url, _PATH, query, self._key, self._fitting)
        self._stream = DeepgramStream(
            socket, self._coding, self._understand, idle=self._keep_alive, idle_seconds=_KEEP_ALIVE_SECONDS
        )

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._stream is not None:
            await self._stream.close()

    # -- what the agent tells us ----------------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        if self._open and self._stream is not None:
            self._stream.hear(pcm)
        else:
            self._preroll.push(pcm)

    def turn_began(self) -> None:
        if self._open or self._stream is None:
            return
        self._open = True
        self._turns.begin()
        self._stream.hear(b"".join(self._preroll.take()))
        self._stream.flush()

    def turn_ended(self) -> None:
        if not self._open or self._stream is None:
            return
        turn = self._finalize(self._stream, wanted=True)
        for seconds in (_SETTLED_SECONDS, _PATIENCE_SECONDS, _STUCK_SECONDS):
            self._later(seconds, turn)

    def turn_dropped(self) -> None:
        if not self._open or self._stream is None:
            return
        self._stream.drop()
        self._finalize(self._stream, wanted=False)

    def _finalize(self, stream: DeepgramStream, *, wanted: bool) -> Turn:
        """Close the turn; also of one that was none no word may be left to go with the next."""
        self._open = False
        stream.tell({"type": "Finalize"})
        return self._turns.end(stream.seconds, wanted=wanted)

    def _later(self, seconds: float, turn: Turn) -> None:
        def due() -> None:
            self._timers.discard(timer)
            if self._stream is not None and self._turns.awaited(turn):
                self._wait_no_longer(self._stream, turn, seconds)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def _wait_no_longer(self, stream: DeepgramStream, turn: Turn, waited_seconds: float) -> None:
        """If so it is time."""
        if stream.unanswered_seconds >= _MOST_UNANSWERED_SECONDS:
            if waited_seconds >= _STUCK_SECONDS:
                stream.fail(ProviderError(f"{VENDOR} says nothing any more to what the caller says"))
        elif self._turns.behind_seconds(turn) >= _MOST_BEHIND_SECONDS and stream.quiet_seconds < _PATIENCE_SECONDS:
            if waited_seconds >= _STUCK_SECONDS:
                self._later(_STUCK_SECONDS, turn)
        elif turn.paused or waited_seconds >= _PATIENCE_SECONDS:
            stream.say(self._turns.give_up(turn))

    # -- what the vendor tells us ---------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Heard]:
        assert self._stream is not None, "start() comes first"
        async for heard in self._stream.events():
            yield heard

    def _understand(self, said: Message) -> Iterator[Heard]:
        match said.get("type"):
            case "Results":
                yield from self._turns.take(_result(said))
            case "Error":
                raise ProviderError(f"{VENDOR}: {said.get('description') or said.get('message')}")

    def _keep_alive(self) -> None:
        if self._stream is not None:
            self._stream.tell({"type": "KeepAlive"})

    def _query(self, language: str) -> Query:
        settings = self._settings
        return [
            ("model", settings.model),
            ("language", language),
            *self._coding.query,
            ("channels", "1"),
            ("interim_results", "true"),
            ("punctuate", "true"),
            ("smart_format", str(settings.smart_format).lower()),
            ("endpointing", str(settings.endpointing_ms)),
            *(("keyterm", term) for term in settings.keyterms),
        ]


def _listed(language: str) -> str:
    """Most regions are not in the vendor's list (``de-DE``), while those of Chinese are languages."""
    primary = language.partition("-")[0]
    return language if primary == "zh" else primary


def _result(said: Message) -> Result:
    return Result(
        end_seconds=float(said["start"]) + float(said["duration"]),
        text=str(said["channel"]["alternatives"][0]["transcript"]).strip(),
        is_final=bool(said.get("is_final")),
        speech_final=bool(said.get("speech_final")),
        from_finalize=bool(said.get("from_finalize")),
    )
