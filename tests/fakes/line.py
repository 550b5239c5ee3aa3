"""A session as its media transport sees it (``Line``), without a call behind it."""

from collections.abc import Sequence


class NotingLine:
    """Notes what comes; what is sent is up to whoever derives from it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.digits: list[str] = []
        self.lost: list[str] = []

    def frame_received(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    def digit_received(self, digit: str) -> None:
        self.digits.append(digit)

    def media_lost(self, reason: str) -> None:
        self.lost.append(reason)


class RecordingLine(NotingLine):
    """Implements ``Line``: notes what comes and sends what it was given."""

    def __init__(self, *frames: bytes | None) -> None:
        super().__init__()
        self.to_send = list(frames)
        self.asked = 0

    def next_frame(self) -> bytes | None:
        self.asked += 1
        return self.to_send.pop(0) if self.to_send else None

    def upcoming(self, frames: int) -> Sequence[bytes]:
        return [frame for frame in self.to_send[:frames] if frame is not None]
