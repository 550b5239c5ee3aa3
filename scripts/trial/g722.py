"""The lower half of G.722 (ITU-T G.722): what lies below 4 kHz, which is enough to tell voice, silence and tones."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = (-60, -30, 58, 172, 334, 538, 1198, 3042)
_WEIGHT_OF_CODE = (0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0)
_WEIGHT = [_WEIGHTS[_WEIGHT_OF_CODE[code >> 2]] for code in range(64)]
"""By the six bits of the lower half."""

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


_QUIET = 4500
"""Of the logarithm of the step: codes that never raise it beyond this are silence (below -55 dBFS)."""

_LEARNT_FROM = 8
"""Packets (160 ms) after which nothing is left of what the predictor knew before them."""


class LowerBand:
    """Decodes one stream, packet after packet; a lost packet is heard as a short noise.

    Written for speed, since several streams are decoded while they are listened to. Silence is taken as such without
    decoding, but for the last of it before a sound: from that the predictor learns all it must know.
    """

    def __init__(self) -> None:
        self._log_scale = 0
        self._silence: deque[tuple[bytes, list[int]]] = deque(maxlen=_LEARNT_FROM)
        self._forget()

    def decode(self, codes: bytes) -> NDArray[np.int16]:
        """PCM16 at 8000 Hz, one sample for each byte."""
        scales = self._scales(codes)
        if max(scales) < _QUIET:
            self._silence.append((codes, scales))
            return np.zeros(len(codes), np.int16)
        if len(self._silence) == _LEARNT_FROM:
            self._forget()
        while self._silence:
            self._samples(*self._silence.popleft())
        return np.array(self._samples(codes, scales), np.int16)

    def _forget(self) -> None:
        self._predicted = self._of_zeros = 0
        self._poles = (0, 0)
        self._zeros = (0,) * 6
        self._differences = (0,) * 6
        """The latest first; as in the next two."""
        self._restored = (0, 0)
        self._signs = (0, 0)
        """Of what the zeros alone would have given: 0, or -1 for negative."""

    def _scales(self, codes: bytes) -> list[int]:
        """The logarithm of the step before each code, which follows from the codes alone."""
        scales, scale = [], self._log_scale
        for code in codes:
            scales.append(scale)
            scale = (scale * 127 >> 7) + _WEIGHT[code & 0x3F]
            scale = 0 if scale < 0 else 18432 if scale > 18432 else scale
        self._log_scale = scale
        return scales

    def _samples(self, codes: bytes, scales: list[int]) -> list[int]:
        predicted, of_zeros = self._predicted, self._of_zeros
        pole_1, pole_2 = self._poles
        zero_1, zero_2, zero_3, zero_4, zero_5, zero_6 = self._zeros
        past_1, past_2, past_3, past_4, past_5, past_6 = self._differences
        restored_1, restored_2 = self._restored
        sign_1, sign_2 = self._signs
        samples = []
        for code, scale in zip(codes, scales, strict=True):
            code &= 0x3F
            shift = 8 - (scale >> 11)
            step = _SCALE[scale >> 6 & 31]
            step = (step << -shift if shift < 0 else step >> shift) << 2
            sample = 2 * (predicted + (step * _FINE[code] >> 15))
            samples.append(-32768 if sample < -32768 else 32766 if sample > 32766 else sample)
            difference = step * _COARSE[code >> 2] >> 15

            sign = -1 if of_zeros + difference < 0 else 0
            turn = max(-32768, min(32767, 4 * pole_1))
            if sign == sign_1:
                turn = min(32767, -turn)
            pole_2 = (128 if sign == sign_2 else -128) + (turn >> 7) + (pole_2 * 32512 >> 15)
            pole_2 = -12288 if pole_2 < -12288 else 12288 if pole_2 > 12288 else pole_2
            pole_1 = (192 if sign == sign_1 else -192) + (pole_1 * 32640 >> 15)
            bound = 15360 - pole_2
            pole_1 = -bound if pole_1 < -bound else bound if pole_1 > bound else pole_1
            sign_1, sign_2 = sign, sign_1

            up = 128 if difference else 0
            down = -up
            if difference < 0:
                up, down = down, up
            zero_1 = (zero_1 * 32640 >> 15) + (up if past_1 >= 0 else down)
            zero_2 = (zero_2 * 32640 >> 15) + (up if past_2 >= 0 else down)
            zero_3 = (zero_3 * 32640 >> 15) + (up if past_3 >= 0 else down)
            zero_4 = (zero_4 * 32640 >> 15) + (up if past_4 >= 0 else down)
            zero_5 = (zero_5 * 32640 >> 15) + (up if past_5 >= 0 else down)
            zero_6 = (zero_6 * 32640 >> 15) + (up if past_6 >= 0 else down)
            past_6, past_5, past_4, past_3, past_2, past_1 = past_5, past_4, past_3, past_2, past_1, difference

            restored_2, restored_1 = restored_1, _saturated(predicted + difference)
            of_zeros = _saturated(
                (zero_1 * past_1 >> 14)
                + (zero_2 * past_2 >> 14)
                + (zero_3 * past_3 >> 14)
                + (zero_4 * past_4 >> 14)
                + (zero_5 * past_5 >> 14)
                + (zero_6 * past_6 >> 14)
            )
            predicted = _saturated((pole_1 * restored_1 >> 14) + (pole_2 * restored_2 >> 14) + of_zeros)
        self._predicted, self._of_zeros = predicted, of_zeros
        self._poles, self._restored, self._signs = (pole_1, pole_2), (restored_1, restored_2), (sign_1, sign_2)
        self._zeros = (zero_1, zero_2, zero_3, zero_4, zero_5, zero_6)
        self._differences = (past_1, past_2, past_3, past_4, past_5, past_6)
        return samples


def _saturated(value: int) -> int:
    return -32768 if value < -32768 else 32767 if value > 32767 else value
