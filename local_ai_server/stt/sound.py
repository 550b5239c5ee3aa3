"""Making a turn's sound fit for a recognizer that was trained on studio speech."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]

_FRAME_MS = 20
_DITHER_LSB = 3
_FLOOR_FACTOR, _PEAK_FACTOR, _LEAST_LEVEL = 2.0, 0.03, 20.0


def trim(samples: Samples, rate: int, margin_ms: int) -> Samples:
    """Cut the pauses before and after speech down to ``margin_ms``.

    A batch decoder normalizes by the mean of what it is given, so long pauses shift everything it hears.
    Speech is what is louder than both twice the quiet tenth and 3 % of the loudest frame (RMS).
    """
    frame = rate * _FRAME_MS // 1000
    count = len(samples) // frame
    if not count:
        return samples
    level = np.sqrt((samples[: count * frame].reshape(count, frame).astype(np.float64) ** 2).mean(axis=1))
    limit = max(np.percentile(level, 10) * _FLOOR_FACTOR, level.max() * _PEAK_FACTOR, _LEAST_LEVEL)
    loud = np.flatnonzero(level > limit)
    if not len(loud):
        return samples
    margin = margin_ms // _FRAME_MS
    return samples[max(0, loud[0] - margin) * frame : (loud[-1] + 1 + margin) * frame]


def dither(samples: Samples) -> Samples:
    """Add 3 LSB of white noise, the same each time: digital silence has no logarithm."""
    noise = np.random.default_rng(1).integers(-_DITHER_LSB, _DITHER_LSB + 1, len(samples))
    noisy: Samples = np.clip(samples.astype(np.int32) + noise, -32768, 32767).astype(np.int16)
    return noisy
