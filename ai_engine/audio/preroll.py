"""The last moments before now, kept so that the first syllable of a turn is not lost."""

from collections import deque

from ai_engine.audio.format import FRAME_MS, AudioFormat


class PreRoll:
    """A ring of the last ``ms`` milliseconds, in frames of ``format``."""

    def __init__(self, format: AudioFormat, ms: float) -> None:
        self._frame_bytes = format.frame_bytes
        self._frames: deque[bytes] = deque(maxlen=round(ms / FRAME_MS))

    def push(self, frame: bytes) -> None:
        """Keep a frame and forget the oldest. Raises ValueError unless it is exactly 20 ms."""
        if len(frame) != self._frame_bytes:
            raise ValueError(f"a frame has {self._frame_bytes} bytes, not {len(frame)}")
        self._frames.append(frame)

    def take(self) -> list[bytes]:
        """What is kept, oldest first; the ring is empty afterwards."""
        frames = list(self._frames)
        self._frames.clear()
        return frames
