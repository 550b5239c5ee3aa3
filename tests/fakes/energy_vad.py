"""The caller's turns, told from the energy of the sound by counting its samples.

vad = EnergyVad(8000, silence_duration_ms=500)
vad.hear(pcm)           # -> [SpeechStarted(onset_ms=200, noticed_ms=260)], and later [SpeechStopped(...)]

There is no clock but the samples: sound may come in pieces of any size, and faster than it was spoken.
"""

from dataclasses import dataclass

from ai_engine.audio.energy import level_db

FRAME_MS = 20
ONSET_MS = 60
"""How long it must be loud before it is speech."""

THRESHOLD_DBFS = -45.0


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Times count the sound heard since the beginning."""

    onset_ms: int
    noticed_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    quiet_ms: int
    """Where the last word ended."""
    noticed_ms: int


class EnergyVad:
    """Hears PCM16 mono at ``rate`` Hz."""

    def __init__(self, rate: int, *, silence_duration_ms: int = 500, heard_ms: int = 0) -> None:
        """``heard_ms``: how much went by before it began to listen."""
        self.silence_duration_ms = silence_duration_ms
        self.heard_ms = heard_ms
        """In whole frames."""
        self.speaking = False
        self._frame_bytes = 2 * rate * FRAME_MS // 1000
        self._rest = b""
        self._other_ms = 0
        """For how long it has been the opposite of ``speaking``."""

    def hear(self, pcm: bytes) -> list[SpeechStarted | SpeechStopped]:
        """What the sound tells."""
        self._rest += pcm
        whole = len(self._rest) - len(self._rest) % self._frame_bytes
        frames, self._rest = self._rest[:whole], self._rest[whole:]
        told = [self._hear(frames[at : at + self._frame_bytes]) for at in range(0, whole, self._frame_bytes)]
        return [one for one in told if one is not None]

    def forget(self) -> None:
        """Whatever was being said."""
        self.speaking, self._other_ms = False, 0

    def _hear(self, frame: bytes) -> SpeechStarted | SpeechStopped | None:
        self.heard_ms += FRAME_MS
        loud = level_db(frame) > THRESHOLD_DBFS
        self._other_ms = self._other_ms + FRAME_MS if loud != self.speaking else 0
        if self._other_ms < (self.silence_duration_ms if self.speaking else ONSET_MS) or not self._other_ms:
            return None
        began_ms = self.heard_ms - self._other_ms
        self.speaking, self._other_ms = not self.speaking, 0
        return (SpeechStarted if self.speaking else SpeechStopped)(began_ms, self.heard_ms)
