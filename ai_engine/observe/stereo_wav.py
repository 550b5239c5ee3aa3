"""A stereo WAV file that is valid after every write, whatever happens to the disk or to us."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ai_engine.audio.format import AudioFormat

StereoFrame = tuple[bytes | None, bytes | None]
"""20 ms of PCM16 left and right; None is silence."""

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_BLOCK = 4  # bytes of one stereo sample


class StereoWav:
    """Appends at a position of its own: what could not be written leaves silence and moves nothing after it."""

    def __init__(self, path: Path, format: AudioFormat) -> None:
        """Raises OSError, as every method does."""
        self._format = format
        self._file = path.open("wb", buffering=0)
        self._end = 0
        self._write_header()

    def write(self, frames: Sequence[StereoFrame]) -> None:
        """Append frames of 20 ms."""
        start = self._end
        self.skip(len(frames))
        try:
            self._write_all(_interleave(frames, self._format.frame_bytes), _HEADER.size + start)
        finally:
            self._write_header()

    def skip(self, frames: int) -> None:
        """Append ``frames`` times 20 ms of silence, which takes no room on the disk."""
        self._end += frames * self._format.frame_samples * _BLOCK

    def close(self) -> None:
        with self._file:
            self._write_header()
            os.truncate(self._file.fileno(), _HEADER.size + self._end)

    def _write_header(self) -> None:
        rate = self._format.rate
        fields = (b"fmt ", 16, 1, 2, rate, rate * _BLOCK, _BLOCK, 16, b"data", self._end)
        self._write_all(_HEADER.pack(b"RIFF", _HEADER.size - 8 + self._end, b"WAVE", *fields), 0)

    def _write_all(self, data: bytes, position: int) -> None:
        while data:
            written = os.pwrite(self._file.fileno(), data, position)
            data, position = data[written:], position + written


def _interleave(frames: Sequence[StereoFrame], frame_bytes: int) -> bytes:
    sides = [b"".join(_exactly(frame[side], frame_bytes) for frame in frames) for side in (0, 1)]
    return np.column_stack([np.frombuffer(side, "<i2") for side in sides]).tobytes()


def _exactly(pcm: bytes | None, size: int) -> bytes:
    return (pcm or b"")[:size].ljust(size, b"\0")
