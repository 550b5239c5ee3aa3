"""Speech to text by Deepgram's Flux models, on listen v2."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal, Self

import structlog
from pydantic import Field, model_validator

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.deepgram import KEY, URL, VENDOR, Query, coding, open_socket
from ai_engine.providers.pipeline.ports import Began, Eager, Final, Heard, Partial, Resumed
from ai_engine.providers.pipeline.stt.deepgram_stream import DeepgramStream, Message
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import KeyName, Section, WebSocketUrl

log = structlog.get_logger(__name__)

_PATH = "/v2/listen"

_EOT_TIMEOUT_MS = 5000
"""The vendor's own."""

_EOT_THRESHOLD = 0.7
"""The vendor's own."""

_MARGIN_SECONDS = 0.6
"""Of sound, which it may be behind us."""

_IDLE_SECONDS = 0.5
"""So long without sound from the line, and it is given silence: it knows no other time than that of the sound."""


class DeepgramFluxSettings(Section):
    """Deepgram's Flux models, which decide themselves when the caller's turn is over."""

    type: Literal["deepgram_flux"] = "deepgram_flux"
    """Which kind of transcriber this is."""
    url: WebSocketUrl = URL
    """Where `/v2/listen` is."""
    key: KeyName = KEY
    """The variable in `.env` that holds the key."""
    model: str = "flux-general-en"
    """As the vendor names it; `flux-general-multi` for other languages than English."""
    eot_threshold: Annotated[float, Field(ge=0.5, le=1.0)] | None = None
    """How sure it must be that the turn is over; null leaves it to the vendor (0.7)."""
    eager_eot_threshold: Annotated[float, Field(ge=0.3, le=0.9)] | None = None
    """How sure it must be for an answer to be prepared in advance; null: none is. At most `eot_threshold`."""
    eot_timeout_ms: Annotated[int, Field(ge=500, le=60_000)] = _EOT_TIMEOUT_MS
    """After so much silence the turn is over, however unfinished it sounds."""
    keyterms: tuple[str, ...] = ()
    """Words to listen for: names, products."""

    @model_validator(mode="after")
    def _eager_is_earlier(self) -> Self:
        if (self.eager_eot_threshold or 0.0) > (self.eot_threshold or _EOT_THRESHOLD):
            raise ValueError("eager_eot_threshold must not be above eot_threshold")
        return self


class DeepgramFluxTranscriber:
    """Implements ``Transcriber``.

    All sound is sent. What the engine's ear finds counts where Flux does not answer it: a turn in which Flux finds no
    word is a ``Final`` without text, and one that Flux does not end in its own time is ended by force, since a radio
    beside the caller may go on for ever. A dropped turn is no more than that: if Flux finds words in it, they count.
    """

    name = "deepgram_flux"
    own_turns = True

    def __init__(self, settings: DeepgramFluxSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._fitting = fitting
        self._key = fitting.keys[settings.key]
        self._coding = coding(fitting.line)
        self.input_format: AudioFormat = self._coding.format
        self._silence = bytes(self.input_format.byte_count(1000 * _IDLE_SECONDS))
        self._timeout_seconds = settings.eot_timeout_ms / 1000
        self.patience_seconds = self._timeout_seconds + 2 * _MARGIN_SECONDS
        self._stream: DeepgramStream | None = None
        self._speaking = False
        """Flux hears a turn."""
        self._answered = True
        """Flux ended a turn since the engine's ear heard one begin."""
        self._ended_seconds: float | None = None
        """Where in the stream the engine's ear heard a turn end that Flux has not ended."""
        self._log = log

    async def start(self, briefing: Briefing) -> None:
        self._log = log.bind(call_id=briefing.call_id)
        socket = await open_socket(self._settings.url, _PATH, self._query(), self._key, self._fitting)
        try:
            while (said := await socket.receive_json()).get("type") != "Connected":
                self._check(said)
        except BaseException:
            await socket.close()
            raise
        self._stream = DeepgramStream(
            socket, self._coding, self._understand, idle=self._fill, idle_seconds=_IDLE_SECONDS
        )

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()

    # -- what the agent tells us ----------------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        if self._stream is not None:
            self._stream.hear(pcm)

    def turn_began(self) -> None:
        self._answered = False
        self._ended_seconds = None

    def turn_ended(self) -> None:
        if self._stream is not None and (self._speaking or not self._answered):
            self._stream.flush()
            self._ended_seconds = self._stream.seconds

    def turn_dropped(self) -> None:
        self._answered = True
        self._ended_seconds = None

    # -- what the vendor tells us ---------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Heard]:
        assert self._stream is not None, "start() comes first"
        async for heard in self._stream.events():
            yield heard

    def _understand(self, said: Message) -> Iterator[Heard]:
        self._check(said)
        if said.get("type") == "TurnInfo":
            text = str(said["transcript"]).strip()
            yield from self._turn(said["event"], text)
            yield from self._hint(float(said["audio_window_end"]))
        elif said.get("type") == "Warning":
            self._log.warning("Deepgram complains", code=said.get("code"), reason=self._told(said))

    def _turn(self, event: str, text: str) -> Iterator[Heard]:
        match event:
            case "StartOfTurn":
                self._speaking = True
                yield Began()
                yield from _partial(text)
            case "Update" if self._speaking:
                yield from _partial(text)
            case "EagerEndOfTurn":
                yield Eager(text)
            case "TurnResumed":
                yield Resumed()
                yield from _partial(text)
            case "EndOfTurn":
                self._speaking = False
                yield from self._end(text)

    def _hint(self, heard_seconds: float) -> Iterator[Heard]:
        """What the engine's ear found: whether Flux, having heard so much of the stream, has answered it."""
        if self._ended_seconds is None or self._stream is None:
            return
        late_seconds = heard_seconds - self._ended_seconds
        if not self._speaking and late_seconds >= _MARGIN_SECONDS:
            yield from self._end("")
        elif self._speaking and late_seconds >= self._timeout_seconds + _MARGIN_SECONDS:
            self._log.info("the end of a turn is forced", late_seconds=late_seconds)
            self._ended_seconds = None
            self._stream.tell({"type": "ForceEndTurn"})

    def _end(self, text: str) -> Iterator[Heard]:
        self._answered = True
        self._ended_seconds = None
        yield Final(text)

    def _fill(self) -> None:
        if self._stream is not None:
            self._stream.hear(self._silence)

    def _check(self, said: Message) -> None:
        if said.get("type") == "Error":
            raise ProviderError(f"{VENDOR}: {self._told(said)} ({said.get('code')})")

    def _told(self, said: Message) -> str:
        """The vendor's own words, which may quote our key."""
        description = str(said.get("description"))
        return description.replace(self._key, "…") if self._key else description

    def _query(self) -> Query:
        settings = self._settings
        thresholds = {"eot_threshold": settings.eot_threshold, "eager_eot_threshold": settings.eager_eot_threshold}
        return [
            ("model", settings.model),
            *self._coding.query,
            ("eot_timeout_ms", str(settings.eot_timeout_ms)),
            *((name, str(value)) for name, value in thresholds.items() if value is not None),
            *(("keyterm", term) for term in settings.keyterms),
        ]


def _partial(text: str) -> Iterator[Heard]:
    if text:
        yield Partial(text)
