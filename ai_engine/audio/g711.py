"""G.711: mu-law and A-law to PCM16 and back, by table."""

import numpy as np
from numpy.typing import NDArray


def ulaw_to_pcm(ulaw: bytes) -> bytes:
    """One byte per sample in, signed 16-bit little-endian out."""
    return _ULAW_TO_PCM.take(np.frombuffer(ulaw, dtype=np.uint8)).tobytes()


def pcm_to_ulaw(pcm: bytes) -> bytes:
    """Signed 16-bit little-endian in, one byte per sample out."""
    return _PCM_TO_ULAW.take(np.frombuffer(pcm, dtype="<u2")).tobytes()


def alaw_to_pcm(alaw: bytes) -> bytes:
    """One byte per sample in, signed 16-bit little-endian out."""
    return _ALAW_TO_PCM.take(np.frombuffer(alaw, dtype=np.uint8)).tobytes()


def pcm_to_alaw(pcm: bytes) -> bytes:
    """Signed 16-bit little-endian in, one byte per sample out."""
    return _PCM_TO_ALAW.take(np.frombuffer(pcm, dtype="<u2")).tobytes()


def _decode_ulaw() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    magnitude = ((mantissa * 8 + 132) << exponent) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _decode_alaw() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = (code >> 4 & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    magnitude = (mantissa * 16 + np.where(exponent, 264, 8)) << np.maximum(exponent - 1, 0)
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


def _encode_ulaw() -> NDArray[np.uint8]:
    """The code of every 16-bit sample, indexed by its bits; the two lowest bits do not count (G.711 has 14)."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    biased = np.minimum(np.abs(sample), 8159) + 33
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 5
    overflow = exponent > 7
    mantissa = biased >> (exponent + 1) & 15
    code = np.where(overflow, 0x7F, exponent << 4 | mantissa)
    return (~np.where(sample < 0, code | 0x80, code) & 0xFF).astype(np.uint8)


def _encode_alaw() -> NDArray[np.uint8]:
    """The code of every 16-bit sample, indexed by its bits; the three lowest bits do not count (A-law has 13)."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(sample < 0, -sample - 1, sample)
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = magnitude >> np.maximum(exponent, 1) & 15
    code = exponent << 4 | mantissa
    return (np.where(sample < 0, code, code | 0x80) ^ 0x55).astype(np.uint8)


_ULAW_TO_PCM = _decode_ulaw()
_ALAW_TO_PCM = _decode_alaw()
_PCM_TO_ULAW = _encode_ulaw()
_PCM_TO_ALAW = _encode_alaw()
