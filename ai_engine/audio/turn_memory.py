"""The sound of the caller's latest turn, kept until it is answered, for an agent that did not hear it."""

from collections import deque

from ai_engine.audio.format import FRAME_MS, AudioFormat


class TurnMemory:
    """Fed with every frame of the call; keeps those of one turn, pre-roll first."""

    def __init__(self, format: AudioFormat, preroll_ms: float, most_ms: float) -> None:
        """Of a turn longer than ``most_ms`` the end is kept."""
        self._frame_bytes = format.frame_bytes
        self._preroll: deque[bytes] = deque(maxlen=max(1, round(preroll_ms / FRAME_MS)))
        self._turn: deque[bytes] = deque(maxlen=round(most_ms / FRAME_MS))
        self._open = False

    def push(self, frame: bytes) -> None:
        """20 ms."""
        (self._turn if self._open else self._preroll).append(frame)

    def begin(self) -> None:
        """The caller speaks; what was kept of an earlier turn is forgotten."""
        self._turn.clear()
        self._turn.extend(self._preroll)
        self._preroll.clear()
        self._open = True

    def end(self) -> None:
        """The turn is over, and still kept."""
        self._open = False

    def forget(self) -> None:
        """It was answered, or was none."""
        self._open = False
        self._turn.clear()

    def frames(self) -> tuple[bytes, ...]:
        return tuple(self._turn)
