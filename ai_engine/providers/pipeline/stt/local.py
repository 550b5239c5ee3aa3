"""The ears of ``local_ai_server``."""

from collections.abc import AsyncIterator
from typing import Literal

from ai_engine.audio.format import SLIN16, AudioFormat
from ai_engine.audio.preroll import PreRoll
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.local_session import LocalSession, Word
from ai_engine.providers.pipeline.ports import Final, Heard, Partial
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import Section, WebSocketUrl

_PARCEL_MS = 100
"""Sound sent in one message."""

_LINE_RATES = (8000, 16000)
"""Hz the wire knows for a line."""

_MOST_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""Of one turn (two minutes and more): the server would end a longer one by itself. What comes later is not heard."""


class LocalTranscriberSettings(Section):
    """The speech to text of the `local_ai_server` program."""

    type: Literal["local"] = "local"
    """Which kind of speech to text this is."""
    url: WebSocketUrl | None = None
    """Its WebSocket address; absent: as `providers.local.url`."""


class LocalTranscriber:
    """Implements ``Transcriber``. Sound is sent only in turns, pre-roll first."""

    name = "local"
    own_turns = False
    patience_seconds = 0.0

    def __init__(self, settings: LocalTranscriberSettings, fitting: Fitting) -> None:
        self._session = LocalSession(settings.url or fitting.local_url, fitting)
        self._line_rate = fitting.line.rate if fitting.line.rate in _LINE_RATES else None
        self.input_format = AudioFormat(self._line_rate or SLIN16.rate)
        self._preroll_ms = fitting.preroll_ms
        self._preroll = PreRoll(self.input_format, fitting.preroll_ms)
        self._turn = 0
        self._is_open = False
        self._parcel = bytearray()
        self._sent_bytes = 0
        """Of the open turn."""
        self._awaited: set[int] = set()
        """Turns that have ended and whose text has not come."""

    async def start(self, briefing: Briefing) -> None:
        ready = await self._session.start("stt", briefing, self._line_rate)
        try:
            self.input_format = AudioFormat(int(ready["input_rate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(f"local_ai_server wants no sound we can send: {error!r}") from error
        self._preroll = PreRoll(self.input_format, self._preroll_ms)

    async def close(self) -> None:
        await self._session.close()

    def hear(self, pcm: bytes) -> None:
        self._preroll.push(pcm)
        if not self._is_open:
            return
        self._parcel += pcm
        if len(self._parcel) >= self.input_format.byte_count(_PARCEL_MS):
            self._send_parcel()

    def turn_began(self) -> None:
        self._turn += 1
        self._is_open = True
        self._sent_bytes = 0
        self._session.send("turn_begin", turn=self._turn)
        self._parcel = bytearray().join(self._preroll.take())
        self._send_parcel()

    def turn_ended(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._send_parcel()
        self._preroll.take()  # belongs to this turn
        self._awaited.add(self._turn)
        self._session.send("turn_end", turn=self._turn)

    def turn_dropped(self) -> None:
        self._is_open = False
        self._parcel.clear()
        self._awaited.discard(self._turn)
        self._session.send("turn_drop", turn=self._turn)

    async def events(self) -> AsyncIterator[Heard]:
        while True:
            said = await self._session.next()
            if isinstance(said, Word) and said.type in ("partial", "final"):
                for heard in self._heard(said):
                    yield heard

    def _heard(self, said: Word) -> list[Heard]:
        turn, text = said.fields.get("turn"), str(said.fields.get("text", ""))
        if said.type == "partial":
            return [Partial(text)] if self._is_open and turn == self._turn else []
        if turn not in self._awaited:
            return []
        self._awaited.discard(turn)
        return [Final(text)]

    def _send_parcel(self) -> None:
        if self._parcel and self._sent_bytes + len(self._parcel) <= _MOST_BYTES:
            self._sent_bytes += len(self._parcel)
            self._session.send_sound(bytes(self._parcel))
        self._parcel.clear()
