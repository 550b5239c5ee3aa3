"""The lower half of G.722 (ITU-T G.722): what lies below 4 kHz, which is enough to tell voice, silence and tones."""

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = (-60, -30, 58, 172, 334, 538, 1198, 3042)
_WEIGHT_OF_CODE = (0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0)
_SCALE = (
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
)  # fmt: skip
_COARSE = (
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
)  # fmt: skip
_FINE = (
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
    -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
)  # fmt: skip


class LowerBand:
    """Decodes one stream, packet after packet; a lost packet is heard as a short noise."""

    def __init__(self) -> None:
        self._log_scale = 0
        self._step = 32
        self._predicted = self._of_zeros = 0
        self._poles = [0, 0]
        self._zeros = [0] * 6
        self._differences = [0] * 6
        """The latest first; as in the next two."""
        self._restored = [0, 0]
        self._signs = [0, 0]
        """Of what the zeros alone would have given: 0, or -1 for negative."""

    def decode(self, codes: bytes) -> NDArray[np.int16]:
        """PCM16 at 8000 Hz, one sample for each byte."""
        return np.array([self._sample(code & 0x3F) * 2 for code in codes], np.int16)

    def _sample(self, code: int) -> int:
        sample = self._predicted + (self._step * _FINE[code] >> 15)
        code >>= 2
        difference = self._step * _COARSE[code] >> 15
        self._rescale(code)
        self._adapt(difference)
        return max(-16384, min(16383, sample))

    def _rescale(self, code: int) -> None:
        moved = (self._log_scale * 127 >> 7) + _WEIGHTS[_WEIGHT_OF_CODE[code]]
        self._log_scale = max(0, min(18432, moved))
        shift = 8 - (self._log_scale >> 11)
        scale = _SCALE[self._log_scale >> 6 & 31]
        self._step = (scale << -shift if shift < 0 else scale >> shift) << 2

    def _adapt(self, difference: int) -> None:
        sign = _saturated(self._of_zeros + difference) >> 15
        self._adapt_poles(sign)
        self._adapt_zeros(difference)
        self._signs = [sign, self._signs[0]]
        self._differences = [difference, *self._differences[:-1]]
        self._restored = [_saturated(self._predicted + difference), self._restored[0]]
        of_poles = sum(
            pole * _saturated(2 * past) >> 15 for pole, past in zip(self._poles, self._restored, strict=True)
        )
        of_zeros = sum(
            zero * _saturated(2 * past) >> 15 for zero, past in zip(self._zeros, self._differences, strict=True)
        )
        self._of_zeros = _saturated(of_zeros)
        self._predicted = _saturated(_saturated(of_poles) + self._of_zeros)

    def _adapt_poles(self, sign: int) -> None:
        first, second = self._poles
        turn = _saturated(4 * first)
        turn = min(32767, -turn) if sign == self._signs[0] else turn
        second = (128 if sign == self._signs[1] else -128) + (turn >> 7) + (second * 32512 >> 15)
        second = max(-12288, min(12288, second))
        first = _saturated((192 if sign == self._signs[0] else -192) + (first * 32640 >> 15))
        bound = 15360 - second
        self._poles = [max(-bound, min(bound, first)), second]

    def _adapt_zeros(self, difference: int) -> None:
        step, sign = (128 if difference else 0), difference >> 15
        self._zeros = [
            _saturated((step if past >> 15 == sign else -step) + (zero * 32640 >> 15))
            for zero, past in zip(self._zeros, self._differences, strict=True)
        ]


def _saturated(value: int) -> int:
    return max(-32768, min(32767, value))
