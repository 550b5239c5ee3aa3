"""The input audio buffer of OpenAI Realtime, in which the caller's turns are found."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.energy_vad import EnergyVad, SpeechStarted, SpeechStopped
from tests.fakes.openai_realtime_session import Session
from tests.fakes.openai_realtime_settings import CODECS, Codec, silence_ms
from tests.fakes.openai_realtime_wire import Refusal, Violation, Wire

_LEAST_COMMIT_MS = 100


@dataclass(frozen=True, slots=True)
class TurnBegan:
    item_id: str
    start_ms: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """From and to are ms of all sound of the session."""

    item_id: str
    start_ms: int
    end_ms: int
    pcm: bytes = field(repr=False)


class Ear:
    """Hears what the session's settings say the caller sends."""

    def __init__(self, session: Session, new_item_id: Callable[[], str]) -> None:
        self._session, self._new_item_id = session, new_item_id
        self._vad: EnergyVad | None = None
        self._buffer_ms = 0
        """From where on the sound belongs to no turn yet."""
        self._turn: TurnBegan | None = None
        self.adapt()

    @property
    def turn_detection(self) -> Wire | None:
        """As the settings have it."""
        detection: Wire | None = self._session.settings["audio"]["input"]["turn_detection"]
        return detection

    def adapt(self) -> None:
        """To changed settings; the format changes only before there was any sound."""
        self._session.caller_rate = self._codec.rate
        detection = self.turn_detection
        if detection is None:
            self._vad = self._turn = None
        elif self._vad is None or not self._session.caller_pcm:
            self._vad = EnergyVad(self._codec.rate, silence_duration_ms=silence_ms(detection), heard_ms=self._heard_ms)
        else:
            self._vad.silence_duration_ms = silence_ms(detection)

    def append(self, audio: str) -> list[TurnBegan | TurnEnded]:
        """Base64 in, the turns' beginnings and ends out; raises Violation."""
        try:
            sound = b64decode(audio, validate=True)
        except binascii.Error as error:
            raise Violation("invalid_value", f"Invalid 'audio'. Expected base64: {error}.", "audio") from None
        if len(sound) % self._codec.width:
            raise Violation("invalid_value", "Invalid 'audio'. Expected whole samples of 2 bytes.", "audio")
        pcm = self._codec.decode(sound)
        self._session.caller_pcm += pcm
        told = self._vad.hear(pcm) if self._vad else []
        return [one for speech in told if (one := self._tell(speech)) is not None]

    def commit(self) -> TurnEnded:
        """All that is in the buffer; raises Refusal when that is too little."""
        size_ms = self._heard_ms - self._buffer_ms
        if size_ms < _LEAST_COMMIT_MS:
            raise Refusal(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least {_LEAST_COMMIT_MS}ms of audio, but buffer only has {size_ms:.2f}ms of audio.",
            )
        ended = self._end(self._turn or TurnBegan(self._new_item_id(), self._buffer_ms), self._heard_ms)
        self._forget()
        return ended

    def clear(self) -> None:
        self._buffer_ms = self._heard_ms
        self._forget()

    def encoded(self, pcm: bytes) -> str:
        """As the caller sent it."""
        return b64encode(self._codec.encode(pcm)).decode()

    @property
    def _codec(self) -> Codec:
        return CODECS[self._session.settings["audio"]["input"]["format"]["type"]]

    @property
    def _heard_ms(self) -> int:
        return len(self._session.caller_pcm) * 1000 // (2 * self._session.caller_rate)

    def _tell(self, speech: SpeechStarted | SpeechStopped) -> TurnBegan | TurnEnded | None:
        if isinstance(speech, SpeechStarted):
            padding_ms = (self.turn_detection or {}).get("prefix_padding_ms", 300)
            self._turn = TurnBegan(self._new_item_id(), max(self._buffer_ms, speech.onset_ms - padding_ms))
            return self._turn
        return None if self._turn is None else self._end(self._turn, speech.noticed_ms)

    def _end(self, turn: TurnBegan, end_ms: int) -> TurnEnded:
        self._turn, self._buffer_ms = None, end_ms
        first, last = (2 * (ms * self._session.caller_rate // 1000) for ms in (turn.start_ms, end_ms))
        return TurnEnded(turn.item_id, turn.start_ms, end_ms, bytes(self._session.caller_pcm[first:last]))

    def _forget(self) -> None:
        self._turn = None
        if self._vad:
            self._vad.forget()
