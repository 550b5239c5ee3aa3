"""The ear: frames and a speech score in, the caller's turns out."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ai_engine.audio.format import FRAME_MS, SAMPLE_BYTES, AudioFormat


class SpeechScorer(Protocol):
    """Tells speech from other sound, one 20 ms frame after the other."""

    def is_speech(self, frame: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class VadSettings:
    """How the ear decides. Levels are dB below full scale (dBFS), margins dB above the noise floor."""

    detector: str = "webrtc"
    """``webrtc`` or ``silero``."""
    aggressiveness: int = 3
    """Of webrtc, 0 to 3; below 3 it is stuck on speech in ordinary line noise."""
    threshold: float = 0.5
    """Of silero: the probability from which a chunk is speech."""
    start_ms: int = 60
    """Voiced sound that makes a turn begin."""
    barge_in_ms: int = 100
    """Voiced sound that makes a turn begin while the agent is speaking."""
    end_silence_ms: int = 500
    """Quiet that ends a turn."""
    max_turn_ms: int = 15000
    """A turn is ended after this, whatever is heard: no detector survives voices in the background."""
    energy_margin_db: float = 6.0
    barge_in_margin_db: float = 10.0
    """In place of ``energy_margin_db`` while the agent is speaking, so that its echo is not taken for the caller."""
    floor_min_db: float = -62.0
    floor_max_db: float = -20.0


@dataclass(frozen=True, slots=True)
class Spoke:
    """The caller began to speak; the onset lies ``confirmed_ms`` before now."""

    confirmed_ms: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The turn is over: ``silence_ms`` of quiet, or (``forced``) it lasted too long."""

    silence_ms: float
    forced: bool


class VoiceActivity:
    """Finds the beginning and the end of the caller's turns; time is the count of frames.

    A frame is voiced when the scorer hears speech in it *and* it stands out of the noise. A turn begins with
    ``start_ms`` of voiced frames, one gap allowed among them, which a click does not fill; it goes on over the gaps
    between words, in which a lone voiced frame does not count.
    """

    def __init__(self, format: AudioFormat, settings: VadSettings, scorer: SpeechScorer) -> None:
        self.speaking = False
        self._settings = settings
        self._scorer = scorer
        self._energy = _EnergyGate(format, settings)
        self._recent = 0
        """One bit per frame, 1 where voiced, the newest lowest; cleared when a turn begins or ends."""
        self._turn_ms = 0
        self._silence_ms = 0

    def process(self, frame: bytes, guarded: bool = False) -> Spoke | Paused | None:
        """Hear the next 20 ms; ``guarded`` means that the agent is speaking, so more is asked of an interruption."""
        stands_out = self._energy.passes(frame, guarded and not self.speaking)
        voiced = self._scorer.is_speech(frame) and stands_out
        self._recent = self._recent << 1 | voiced
        return self._go_on() if self.speaking else self._listen(guarded)

    def _listen(self, guarded: bool) -> Spoke | None:
        needed = (self._settings.barge_in_ms if guarded else self._settings.start_ms) // FRAME_MS
        self._recent &= (1 << needed + 1) - 1
        if not self._recent & 1 or self._recent.bit_count() < needed:
            return None
        confirmed_ms = self._recent.bit_length() * FRAME_MS
        self.speaking = True
        self._turn_ms = confirmed_ms
        self._silence_ms = 0
        return Spoke(float(confirmed_ms))

    def _go_on(self) -> Paused | None:
        self._turn_ms += FRAME_MS
        self._recent &= 0b111
        lone = self._recent.bit_count() < 2
        self._silence_ms = self._silence_ms + FRAME_MS if lone or not self._recent & 1 else 0
        forced = self._turn_ms >= self._settings.max_turn_ms
        if not forced and self._silence_ms < self._settings.end_silence_ms:
            return None
        if forced:
            self._energy.learn_as_noise()
        self.speaking = False
        self._recent = 0
        return Paused(float(self._silence_ms), forced)


class _EnergyGate:
    """Passes frames that stand out of the noise; the noise floor follows the sound slowly up and quickly down."""

    _RISE_DB = 5.0 * FRAME_MS / 1000
    """Per frame. A syllable cannot lift the floor by much before the next gap drops it again."""

    _FALL = 0.25
    """Part of the way down that is gone in one frame."""

    _LOUDNESS_WEIGHT = FRAME_MS / 1000
    """Loudness is an average over about a second."""

    _SILENT_POWER = 1e-10

    def __init__(self, format: AudioFormat, settings: VadSettings) -> None:
        self._settings = settings
        self._floor = self._loudness = max(settings.floor_min_db, -50.0)
        self._samples = np.empty(format.frame_bytes // SAMPLE_BYTES, dtype=np.float32)

    def passes(self, frame: bytes, guarded: bool) -> bool:
        settings = self._settings
        level = self._level(frame)
        margin = settings.barge_in_margin_db if guarded else settings.energy_margin_db
        stands_out = level > self._floor + margin
        self._loudness += self._LOUDNESS_WEIGHT * (level - self._loudness)
        step = self._FALL * (level - self._floor) if level < self._floor else self._RISE_DB
        self._floor = min(max(self._floor + step, settings.floor_min_db), max(level, settings.floor_min_db))
        self._floor = min(self._floor, settings.floor_max_db)
        return stands_out

    def learn_as_noise(self) -> None:
        """What was taken for speech for too long is background: from now on only what is louder stands out."""
        self._floor = min(max(self._floor, self._loudness), self._settings.floor_max_db)

    def _level(self, frame: bytes) -> float:
        samples = self._samples
        np.divide(np.frombuffer(frame, dtype="<i2"), 32768, out=samples)
        return 10 * math.log10(float(samples.dot(samples)) / len(samples) + self._SILENT_POWER)
