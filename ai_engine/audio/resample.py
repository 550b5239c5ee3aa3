"""Streaming sample rate conversion that remembers its tail."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat

_CUTOFF = 0.92
"""Of the lower of the two Nyquist frequencies, where the filter is 6 dB down."""

_ZERO_CROSSINGS = 12
"""Of the sinc on each side; this many samples of the lower rate are also the delay (1.5 ms at 8 kHz)."""

_KAISER_BETA = 7.0

_COEFFICIENT_STEP = 2.0**-24
"""Coefficients are multiples of this, so that every sum of products is exact in a float64. Whatever order BLAS
adds them in, a stream comes out byte for byte the same however it was cut into chunks."""


class Resampler:
    """A polyphase low-pass filter from ``source`` to ``target``; one instance per direction per call.

    Input is handled in the smallest blocks that map to whole output samples, so 20 ms in is exactly 20 ms out.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        ratio = Fraction(target.rate, source.rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._identity = source.rate == target.rate
        self._matrix = _block_matrix(self._up, self._down)
        self._history: NDArray[np.float64]
        self._rest: bytes
        self._forget()

    def process(self, pcm: bytes) -> bytes:
        """Convert the next chunk, of any length; what does not fill a block waits for the next one."""
        if self._identity:
            return pcm
        data = self._rest + pcm
        block_bytes = self._down * SAMPLE_BYTES
        usable = len(data) - len(data) % block_bytes
        self._rest = data[usable:]
        if not usable:
            return b""
        return self._convert(np.frombuffer(data, dtype="<i2", count=usable // SAMPLE_BYTES))

    def flush(self) -> bytes:
        """The ringing end of the sound, 3 ms at 8 kHz; the next ``process`` begins a new one."""
        if self._identity:
            return b""
        waiting = len(self._rest) // SAMPLE_BYTES
        tail = waiting + len(self._history)
        blocks = -(-tail // self._down)
        samples = np.zeros(blocks * self._down, dtype="<i2")
        samples[:waiting] = np.frombuffer(self._rest, dtype="<i2", count=waiting)
        converted = self._convert(samples)
        self._forget()
        return converted[: -(-tail * self._up // self._down) * SAMPLE_BYTES]

    def _forget(self) -> None:
        self._rest = b""
        self._history = np.zeros(self._matrix.shape[0] - self._down)

    def _convert(self, samples: NDArray[np.int16]) -> bytes:
        signal = np.concatenate((self._history, samples), dtype=np.float64)
        blocks = len(samples) // self._down
        step = signal.itemsize
        # The overlapping windows as a view; as_strided makes the same one at ten times the price.
        windows: NDArray[np.float64] = np.ndarray(
            (blocks, self._matrix.shape[0]), np.float64, signal, 0, (self._down * step, step)
        )
        self._history = signal[len(samples) :]
        converted: NDArray[np.float64] = np.dot(windows, self._matrix).ravel()
        np.rint(converted, out=converted)
        np.maximum(converted, -32768.0, out=converted)
        np.minimum(converted, 32767.0, out=converted)
        return converted.astype("<i2").tobytes()


@lru_cache(maxsize=32)
def _block_matrix(up: int, down: int) -> NDArray[np.float64]:
    """Turns one block of ``down`` input samples, preceded by the filter's memory, into ``up`` output samples."""
    taps = _low_pass(up, down)
    memory = -(-len(taps) // up) - 1
    matrix = np.zeros((memory + down, up))
    for column in range(up):
        newest, phase = divmod(column * down, up)
        of_phase = taps[phase::up]
        last = memory + newest
        matrix[last - len(of_phase) + 1 : last + 1, column] = of_phase[::-1]
    matrix.setflags(write=False)
    return matrix


def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    """The windowed sinc at ``up`` times the input rate, with the gain that zero stuffing takes away."""
    wider = max(up, down)
    half = _ZERO_CROSSINGS * wider
    position = np.arange(-half, half + 1)
    taps = np.sinc(position * _CUTOFF / wider) * np.kaiser(2 * half + 1, _KAISER_BETA) * (_CUTOFF * up / wider)
    return np.rint(taps / _COEFFICIENT_STEP) * _COEFFICIENT_STEP
