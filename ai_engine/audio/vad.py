"""The ear: frames and a speech score in, the caller's turns out."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ai_engine.audio.format import FRAME_MS, AudioFormat


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
    energy_margin_db: float = 8.0
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

    def forget(self) -> None:
        """As if nothing had been said lately: no turn is open."""
        self.speaking = False
        self._recent = 0

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
        self.forget()
        return Paused(float(self._silence_ms), forced)


class _EnergyGate:
    """Passes frames that stand out of the noise.

    The noise floor is the quietest (smoothed) level of the last one to two seconds: it follows the sound down at
    once, but up only when there was no gap for that long, as there is between syllables.
    """

    _SPAN_FRAMES = 1000 // FRAME_MS

    _SMOOTHING = 0.3

    _LOUDNESS_WEIGHT = FRAME_MS / 1000
    """Loudness is an average over about a second."""

    _BAR_FALL_DB = 2.0 * FRAME_MS / 1000

    _SILENT_POWER = 1e-10

    def __init__(self, format: AudioFormat, settings: VadSettings) -> None:
        self._settings = settings
        self._smooth = self._earlier = self._lowest = settings.floor_max_db
        self._loudness = self._bar = settings.floor_min_db
        self._span = 0
        self._samples = np.empty(format.frame_samples, dtype=np.float32)
        self._halves = np.array_split(self._samples, 2)

    def passes(self, frame: bytes, guarded: bool) -> bool:
        settings = self._settings
        level = max(self._level(frame), settings.floor_min_db)
        margin = settings.barge_in_margin_db if guarded else settings.energy_margin_db
        stands_out = level > max(min(self._earlier, self._lowest) + margin, self._bar)
        self._follow(level)
        return stands_out

    def learn_as_noise(self) -> None:
        """What was taken for speech for too long is background: for some seconds only louder sound stands out."""
        self._bar = self._loudness + self._settings.energy_margin_db

    def _follow(self, level: float) -> None:
        self._loudness += self._LOUDNESS_WEIGHT * (level - self._loudness)
        self._bar -= self._BAR_FALL_DB
        self._smooth += self._SMOOTHING * (level - self._smooth)
        self._lowest = min(self._lowest, self._smooth)
        self._span += 1
        if self._span == self._SPAN_FRAMES:
            self._span = 0
            self._earlier, self._lowest = self._lowest, self._settings.floor_max_db

    def _level(self, frame: bytes) -> float:
        """Of the quieter half: a click of two frames' length that lies across three does not fill the outer ones."""
        np.divide(np.frombuffer(frame, dtype="<i2"), 32768, out=self._samples)
        power = min(float(half.dot(half)) / len(half) for half in self._halves)
        return 10 * math.log10(power + self._SILENT_POWER)
