"""Making a turn's sound fit for a recognizer that was trained on studio speech."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]

_FRAME_MS = 20
_DITHER_LSB = 3
_FLOOR_FACTOR, _PEAK_FACTOR, _LEAST_LEVEL = 2.0, 0.03, 20.0

_ZERO_CROSSINGS, _CUTOFF, _KAISER_BETA = 12, 0.92, 7.0
"""Of the interpolating filter, per side, as a share of the lower Nyquist frequency, and of its window."""

_PITCH_HZ = (70, 400)
_WINDOW_MS, _HOP_MS = 50, 10
_LEAST_LIKENESS = 0.6
"""Autocorrelation a pitch period away, of 1, from which a window counts as voiced; a hiss stays below 0.4."""
_LEAST_SHARE = 0.1
"""Of the loudest window's RMS; what is softer is not looked at."""
_LEAST_VOICED_MS = 60
"""The shortest word (a clipped "stop") has a vowel of 80 ms; most coughs and all breath have none."""
_PIECE_SECONDS = 2
"""Of a long sound; each second of it takes some 10 ms and 2 MB to look at."""


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


def resample(pcm: bytes, source: int, target: int) -> bytes:
    """PCM16 at ``source`` Hz as PCM16 at ``target`` Hz, a multiple of it; a whole turn at once."""
    if source == target or not pcm:
        return pcm
    factor = target // source
    samples = np.frombuffer(pcm, "<i2")
    sparse = np.zeros(len(samples) * factor)
    sparse[::factor] = samples
    taps = _low_pass(factor)
    half = len(taps) // 2
    dense = np.convolve(sparse, taps)[half : half + len(sparse)]
    return np.clip(np.rint(dense), -32768, 32767).astype("<i2").tobytes()


@lru_cache
def _low_pass(factor: int) -> NDArray[np.float64]:
    """The windowed sinc between the samples of a signal stretched by ``factor``."""
    half = _ZERO_CROSSINGS * factor
    position = np.arange(-half, half + 1)
    taps: NDArray[np.float64] = np.sinc(position * _CUTOFF / factor) * np.kaiser(2 * half + 1, _KAISER_BETA) * _CUTOFF
    return taps


def voiced_ms(pcm: bytes, rate: int) -> int:
    """How much of a sound has a pitch, as every word has, and as coughs, breath and bumps have little."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    size, hop = rate * _WINDOW_MS // 1000, rate * _HOP_MS // 1000
    if len(samples) < size:
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    windows = windows - windows.mean(axis=1, keepdims=True)
    level = np.sqrt((windows**2).mean(axis=1))
    audible = level > max(level.max() * _LEAST_SHARE, 1.0)
    shape = np.hanning(size)
    likeness = _autocorrelation(windows[audible] * shape) / _autocorrelation(shape)
    shortest, longest = rate // _PITCH_HZ[1], rate // _PITCH_HZ[0]
    peaks = likeness[:, shortest:longest].max(axis=1) / np.maximum(likeness[:, 0], 1e-9)
    return int((peaks > _LEAST_LIKENESS).sum()) * _HOP_MS


def is_wordless(pcm: bytes, rate: int) -> bool:
    """Whether a sound has too little voice in it for the shortest word: silence, breath, most coughs."""
    piece = rate * 2 * _PIECE_SECONDS
    # speech is known by its first piece, and the rest need not be looked at
    return all(voiced_ms(pcm[at : at + piece], rate) < _LEAST_VOICED_MS for at in range(0, len(pcm), piece))


def _autocorrelation(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row, over lags up to half its length."""
    size = windows.shape[-1]
    spectrum = np.fft.rfft(windows, 2 * size)
    similar: NDArray[np.float64] = np.fft.irfft(np.abs(spectrum) ** 2)[..., : size // 2]
    return similar
