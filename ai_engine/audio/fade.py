"""Sound that ends or begins within 5 ms, so that no click is heard."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import AudioFormat

FADE_MS = 5.0
"""Long enough to hear no click, short enough to hear no word."""


def faded_out(frame: bytes, format: AudioFormat) -> bytes:
    """``frame`` (20 ms in ``format``) as it dies away at its beginning."""
    ramp = _falling(format.rate)
    return _frame(np.frombuffer(frame, dtype="<i2", count=len(ramp)) * ramp, format)


def faded_in(frame: bytes, format: AudioFormat) -> bytes:
    """``frame`` (20 ms in ``format``) as it rises from silence."""
    ramp = _falling(format.rate)
    samples = np.frombuffer(frame, dtype="<i2").copy()
    samples[: len(ramp)] = samples[: len(ramp)] * ramp[::-1]
    return samples.tobytes()


def trailing_off(last: bytes, format: AudioFormat) -> bytes:
    """A frame to follow ``last`` where nothing does: its end heard backwards, dying away.

    A mirror goes on from the very last sample, and keeps the colour of the sound.
    """
    ramp = _falling(format.rate)
    return _frame(np.frombuffer(last, dtype="<i2")[: -len(ramp) - 1 : -1] * ramp, format)


def _frame(beginning: NDArray[np.float64], format: AudioFormat) -> bytes:
    return beginning.astype("<i2").tobytes().ljust(format.frame_bytes, b"\0")


@lru_cache(maxsize=8)
def _falling(rate: int) -> NDArray[np.float64]:
    """From 1 to 0 along half a cosine: without a corner at either end."""
    ramp: NDArray[np.float64] = (1 + np.cos(np.linspace(0, np.pi, int(FADE_MS * rate / 1000)))) / 2
    ramp.setflags(write=False)
    return ramp
