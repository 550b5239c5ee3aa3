"""How loud a frame is, and how loud the noise beneath it."""

import math

import numpy as np

from ai_engine.audio.format import FRAME_MS, AudioFormat

_FULL_SCALE = 32768.0


def level_db(pcm: bytes) -> float:
    """The level of ``pcm`` (PCM16, any length) in dBFS; minus infinity for digital silence."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    power = float(samples.dot(samples))
    return 10 * math.log10(power / (len(samples) * _FULL_SCALE**2)) if power else -math.inf


class NoiseFloor:
    """Measures every frame, and follows the noise beneath the voices.

    The noise floor is the quietest (smoothed) level of the last one to two seconds: it follows the sound down at
    once, but up only when there was no gap for that long, as there is between syllables.
    """

    _SPAN_FRAMES = 1000 // FRAME_MS

    _SMOOTHING = 0.3

    _LOUDNESS_WEIGHT = FRAME_MS / 1000
    """Loudness is an average over about a second."""

    _BAR_FALL_DB = 2.0 * FRAME_MS / 1000

    _SILENT_POWER = 1e-10

    def __init__(self, format: AudioFormat, min_db: float, max_db: float) -> None:
        self.level_db = min_db
        """Of the last frame, and at least ``min_db``."""
        self.floor_db = max_db
        """The noise floor as it was before the last frame."""
        self.bar_db = min_db
        """For some seconds after ``learn_as_noise``: what is not louder than this is background."""
        self._min_db, self._max_db = min_db, max_db
        self._smooth = self._earlier = self._lowest = max_db
        self._loudness = min_db
        self._span = 0
        # Reused for every frame: bytes are copied in, then widened, then each half is multiplied with itself.
        samples = np.empty(format.frame_samples, dtype="<i2")
        self._bytes = samples.view(np.uint8).data
        self._samples, self._wide = samples, np.empty(format.frame_samples, dtype=np.float32)
        half = format.frame_samples // 2
        self._first, self._second = self._wide[:half], self._wide[half:]
        self._scale = 1 / (half * _FULL_SCALE**2)

    def hear(self, frame: bytes) -> None:
        """Measure the next frame of 20 ms."""
        self.level_db = level = max(self._level(frame), self._min_db)
        self.floor_db = min(self._earlier, self._lowest)
        self._loudness += self._LOUDNESS_WEIGHT * (level - self._loudness)
        self.bar_db -= self._BAR_FALL_DB
        self._smooth += self._SMOOTHING * (level - self._smooth)
        if self._smooth < self._lowest:
            self._lowest = self._smooth
        self._span += 1
        if self._span == self._SPAN_FRAMES:
            self._span = 0
            self._earlier, self._lowest = self._lowest, self._max_db

    def learn_as_noise(self, margin_db: float) -> None:
        """What was taken for speech for too long is background: only ``margin_db`` more than it stands out."""
        self.bar_db = self._loudness + margin_db

    def _level(self, frame: bytes) -> float:
        """Of the quieter half: a click of two frames' length that lies across three does not fill the outer ones."""
        self._bytes[:] = frame
        self._wide[:] = self._samples
        first, second = self._first.dot(self._first), self._second.dot(self._second)
        return 10 * math.log10(float(first if first < second else second) * self._scale + self._SILENT_POWER)
