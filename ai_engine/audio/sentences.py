"""Where a stretch of speech may be divided without being heard."""

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import FRAME_MS, AudioFormat

MOST_MS = 6000
"""No piece is longer, unless its maker ended it that way."""

_EARLIEST_MS = 3000
_LOOK_MS = 200
"""How much more must have come before it is worth looking again."""

_SPOT_FRAMES = 3
_QUIET = 0.1
"""A spot this much softer than the speech before it, on average, is a pause (20 dB)."""


class SentenceCutter:
    """Gathers the sound of one reply and gives it back in pieces.

    A piece ends where its maker says so; else at the first pause after 3 s, and at 6 s wherever it is softest.
    """

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._pcm = bytearray()
        self._look_at = format.byte_count(_EARLIEST_MS + _LOOK_MS)

    @property
    def waiting(self) -> bytes:
        """What is in no piece yet."""
        return bytes(self._pcm)

    @property
    def waiting_ms(self) -> float:
        return self._format.ms(len(self._pcm))

    def push(self, pcm: bytes) -> list[bytes]:
        """The pieces that are complete with ``pcm``, each of whole frames."""
        self._pcm += pcm
        pieces = []
        while len(self._pcm) >= self._look_at and (frames := self._cut()):
            pieces.append(self._take(frames * self._format.frame_bytes))
        return pieces

    def end(self) -> bytes:
        """All that waits, of any length: its maker ended it."""
        return self._take(len(self._pcm))

    def _take(self, size: int) -> bytes:
        piece = bytes(self._pcm[:size])
        del self._pcm[:size]
        self._look_at = self._format.byte_count(_EARLIEST_MS + _LOOK_MS)
        return piece

    def _cut(self) -> int:
        """After how many frames the next piece ends; 0: not yet."""
        levels = self._levels()
        first = _EARLIEST_MS // FRAME_MS
        spots = np.convolve(levels[first:], np.full(_SPOT_FRAMES, 1 / _SPOT_FRAMES), "valid")
        quiet = np.flatnonzero(spots <= _QUIET * levels[:first].mean())
        if quiet.size:
            return first + int(quiet[0]) + _SPOT_FRAMES // 2
        if len(levels) >= MOST_MS // FRAME_MS:
            return first + int(spots.argmin()) + _SPOT_FRAMES // 2
        self._look_at = len(self._pcm) + self._format.byte_count(_LOOK_MS)
        return 0

    def _levels(self) -> NDArray[np.float64]:
        """How loud each whole frame is, up to ``MOST_MS``."""
        size = self._format.frame_samples
        frames = min(len(self._pcm) // self._format.frame_bytes, MOST_MS // FRAME_MS)
        # A copy: a view would forbid the buffer to grow.
        samples = np.frombuffer(bytes(self._pcm[: frames * self._format.frame_bytes]), "<i2").reshape(frames, size)
        levels: NDArray[np.float64] = np.abs(samples.astype(np.int32)).mean(axis=1)
        return levels
