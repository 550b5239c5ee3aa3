"""Streaming sample rate conversion that remembers its tail.

From the lower of the two Nyquist frequencies on the filter is 70 dB down, and up to 0.85 of it (3400 Hz at 8 kHz) it is
within 0.2 dB. With linear phase that would take more than 3 ms. This one is of minimum phase: at 8 kHz it delays what
lies below 3000 Hz by 0.2 to 0.7 ms, 3400 Hz by 1.3 ms and a click by 0.5 ms, and nothing rings before the click.
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat

_CUTOFF = 0.9125
"""Of the lower of the two Nyquist frequencies, where the filter is 6 dB down."""

_ZERO_CROSSINGS = 27
"""Of the sinc on each side, before its delay is taken away."""

_KAISER_BETA = 7.4

_LENGTH = 48
"""Samples of the lower rate that the filter remembers, 6 ms at 8 kHz: without delay the sinc dies away sooner."""

_DESIGN_RATE = 8
"""Times the lower rate. The phase is worked out at no more than this: beyond it is nothing but stop band."""

_CEPSTRUM_LENGTH, _RESPONSE_LENGTH = 1024, 128
"""Samples of the lower rate after which the cepstrum, and the filter, have died away."""

_DESIGN_FLOOR = 1e-5
"""Of the gain: the zeros of the stop band have no logarithm."""

_COEFFICIENT_STEP = 2.0**-24
"""Coefficients are multiples of this, so that every sum of products is exact in a float64. Whatever order BLAS
adds them in, a stream comes out byte for byte the same however it was cut into chunks."""

_LOWEST, _HIGHEST = -32768.0, 32767.0

_GROUP = 10
"""Blocks multiplied at once: more of them copy less and multiply more zeros. The best of 24, 16 and 48 to 8 kHz."""

_STRIP = 40
"""Output samples of a large block multiplied at once. The best of 22.05 kHz to 8 and 16 kHz."""


class Resampler:
    """A polyphase low-pass filter from ``source`` to ``target``; one instance per direction per call.

    Input is handled in the smallest blocks that map to whole output samples, so 20 ms in is exactly 20 ms out.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        ratio = Fraction(target.rate, source.rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._identity = source.rate == target.rate
        self._frame_bytes = source.frame_bytes
        self._matrix = _block_matrix(self._up, self._down)
        self._history: NDArray[np.float64] = np.zeros(self._matrix.shape[0] - self._down)
        self._whole_frame = None if self._identity else _WholeFrame(source, self._up, self._down, self._history)
        self._rest = b""

    def process(self, pcm: bytes) -> bytes:
        """Convert the next chunk, of any length; what does not fill a block waits for the next one."""
        if self._whole_frame is None:
            return pcm
        if len(pcm) == self._frame_bytes and not self._rest:
            return self._whole_frame.convert(pcm)
        data = self._rest + pcm
        block_bytes = self._down * SAMPLE_BYTES
        usable = len(data) - len(data) % block_bytes
        self._rest = data[usable:]
        if not usable:
            return b""
        return self._convert(np.frombuffer(data, dtype="<i2", count=usable // SAMPLE_BYTES))

    def flush(self) -> bytes:
        """The ringing end of the sound, 6 ms at 8 kHz; the next ``process`` begins a new one."""
        if self._identity:
            return b""
        waiting = len(self._rest) // SAMPLE_BYTES
        tail = waiting + len(self._history)
        blocks = -(-tail // self._down)
        samples = np.zeros(blocks * self._down, dtype="<i2")
        samples[:waiting] = np.frombuffer(self._rest, dtype="<i2", count=waiting)
        converted = self._convert(samples)
        self._rest = b""
        self._history[:] = 0.0
        return converted[: -(-tail * self._up // self._down) * SAMPLE_BYTES]

    def _convert(self, samples: NDArray[np.int16]) -> bytes:
        signal = np.concatenate((self._history, samples), dtype=np.float64)
        blocks = len(samples) // self._down
        windows = _windows(signal, blocks, self._down, self._matrix.shape[0])
        converted: NDArray[np.float64] = np.dot(windows, self._matrix).ravel()
        self._history[:] = signal[len(samples) :]
        np.rint(converted, out=converted)
        np.maximum(converted, _LOWEST, out=converted)
        np.minimum(converted, _HIGHEST, out=converted)
        return converted.astype("<i2").tobytes()


class _WholeFrame:
    """The same conversion for exactly 20 ms, in buffers and views that are made once: half the time of the general way.

    ``history`` is the filter's memory, shared with whoever else goes on with the stream.
    """

    def __init__(self, source: AudioFormat, up: int, down: int, history: NDArray[np.float64]) -> None:
        blocks = source.frame_samples // down
        samples = np.empty(source.frame_samples, dtype="<i2")
        signal = np.empty(len(history) + len(samples))
        self._bytes, self._samples = samples.data.cast("B"), samples
        self._signal, self._history = signal, history
        self._before, self._new = signal[: len(history)], signal[len(history) :]
        self._last = signal[len(samples) :]
        self._converted = np.empty(blocks * up)
        # A scalar would be made an array at every call.
        self._lowest = np.full(blocks * up, _LOWEST)
        self._highest = np.full(blocks * up, _HIGHEST)
        self._products = (_split if up > _STRIP else _grouped)(signal, self._converted, up, down)

    def convert(self, frame: bytes) -> bytes:
        self._bytes[:] = frame
        self._before[:] = self._history
        self._new[:] = self._samples
        self._history[:] = self._last
        converted = self._converted
        for window, matrix, target in self._products:
            np.dot(window, matrix, out=target)
        np.rint(converted, out=converted)
        np.maximum(converted, self._lowest, out=converted)
        np.minimum(converted, self._highest, out=converted)
        return converted.astype("<i2").tobytes()


_Product = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Input samples, the matrix they are multiplied with, and where the result goes."""


def _grouped(signal: NDArray[np.float64], converted: NDArray[np.float64], up: int, down: int) -> list[_Product]:
    """Some small blocks at once: their windows overlap, and BLAS wants every window copied."""
    blocks = len(converted) // up
    group = max(count for count in range(1, _GROUP + 1) if blocks % count == 0)
    matrix = _group_matrix(up, down, group)
    windows = _windows(signal, blocks // group, down * group, matrix.shape[0])
    return [(windows, matrix, converted.reshape(blocks // group, up * group))]


def _split(signal: NDArray[np.float64], converted: NDArray[np.float64], up: int, down: int) -> list[_Product]:
    """A large block in strips of output samples: none of them needs the whole block's input."""
    return [
        (signal[block * down + first : block * down + last], strip, converted[block * up + at :][: strip.shape[1]])
        for block in range(len(converted) // up)
        for at, first, last, strip in _strips(up, down)
    ]


def _windows(signal: NDArray[np.float64], count: int, step: int, length: int) -> NDArray[np.float64]:
    """``count`` overlapping views of ``length``, ``step`` apart; as_strided makes the same at ten times the price."""
    size = signal.itemsize
    return np.ndarray((count, length), np.float64, signal, 0, (step * size, size))


@lru_cache(maxsize=32)
def _group_matrix(up: int, down: int, group: int) -> NDArray[np.float64]:
    """The matrix of ``group`` blocks in a row."""
    block = _block_matrix(up, down)
    matrix = np.zeros((len(block) + (group - 1) * down, group * up))
    for number in range(group):
        matrix[number * down : number * down + len(block), number * up : (number + 1) * up] = block
    return _frozen(matrix)


@lru_cache(maxsize=32)
def _strips(up: int, down: int) -> tuple[tuple[int, int, int, NDArray[np.float64]], ...]:
    """Pieces of a block's matrix without their rows of zeros: first column, first row, row after the last, piece."""
    matrix = _block_matrix(up, down)
    strips = []
    for at in range(0, up, _STRIP):
        columns = matrix[:, at : at + _STRIP]
        used = np.flatnonzero(columns.any(axis=1))
        first, last = int(used[0]), int(used[-1]) + 1
        strips.append((at, first, last, _frozen(columns[first:last].copy())))
    return tuple(strips)


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
    return _frozen(matrix)


def _low_pass(up: int, down: int) -> NDArray[np.float64]:
    """The filter at ``up`` times the input rate, with the gain that zero stuffing takes away."""
    wider = max(up, down)
    rate = min(wider, _DESIGN_RATE)
    spectrum = _minimum_phase(_windowed_sinc(rate), rate * _CEPSTRUM_LENGTH)
    # Fewer points suffice for the way back, and one that is longer for its zeros at the end interpolates.
    response = np.fft.irfft(spectrum[:: _CEPSTRUM_LENGTH // _RESPONSE_LENGTH], wider * _RESPONSE_LENGTH)
    taps = response[: wider * _LENGTH] * up
    return np.rint(taps / _COEFFICIENT_STEP) * _COEFFICIENT_STEP


def _windowed_sinc(rate: int) -> NDArray[np.float64]:
    """A low-pass of linear phase at ``rate`` times the lower rate."""
    half = _ZERO_CROSSINGS * rate
    position = np.arange(-half, half + 1)
    taps: NDArray[np.float64] = np.sinc(position * _CUTOFF / rate) * np.kaiser(2 * half + 1, _KAISER_BETA)
    return taps * (_CUTOFF / rate)


def _minimum_phase(taps: NDArray[np.float64], size: int) -> NDArray[np.complex128]:
    """The spectrum, in a transform of ``size``, of the filter that has the gain of ``taps`` with the least delay.

    Its complex cepstrum is causal: the real one with its second half folded onto the first.
    """
    gain = np.maximum(np.abs(np.fft.rfft(taps, size)), _DESIGN_FLOOR)
    cepstrum = np.fft.irfft(np.log(gain), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum))


def _frozen(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Safe to share between calls."""
    matrix.setflags(write=False)
    return matrix
