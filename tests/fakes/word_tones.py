"""Speech whose words can be told from its sound: a tone for each word, its pitch by the word."""

import zlib

import numpy as np
from numpy.typing import NDArray

WORD_SECONDS = 0.16
GAP_SECONDS = 0.04
LEVEL_DBFS = -20.0
"""Of the tones; what the engine brings every voice to."""

_LOWEST_HZ, _STEP_HZ, _PITCHES = 400, 50, 53
"""400 to 3000 Hz: what a telephone carries, far enough apart to be told from each other."""

_RAMP_SECONDS = 0.004


def hz_of(word: str) -> int:
    """The pitch of a word, whatever its case and punctuation."""
    plain = "".join(c for c in word.lower() if c.isalnum())
    return _LOWEST_HZ + _STEP_HZ * (zlib.crc32(plain.encode()) % _PITCHES)


def pitches(text: str) -> list[int]:
    """The tones of ``text``, in Hz."""
    return [hz_of(word) for word in text.split()]


def seconds_of(text: str) -> float:
    return len(text.split()) * (WORD_SECONDS + GAP_SECONDS)


def spoken(text: str, rate: int) -> bytes:
    """``text`` as PCM16 mono at ``rate`` Hz."""
    gap = np.zeros(round(GAP_SECONDS * rate), np.int16).tobytes()
    return b"".join(_tone(hz, rate).tobytes() + gap for hz in pitches(text))


def _tone(hz: int, rate: int) -> NDArray[np.int16]:
    moments = np.arange(round(WORD_SECONDS * rate)) / rate
    ramp = np.clip(np.minimum(moments, moments[::-1]) / _RAMP_SECONDS, 0.0, 1.0)
    amplitude = 32768 * np.sqrt(2) * 10 ** (LEVEL_DBFS / 20)
    return np.asarray(amplitude * ramp * np.sin(2 * np.pi * hz * moments)).astype(np.int16)
