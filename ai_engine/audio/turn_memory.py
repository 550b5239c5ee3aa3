"""The sound of what the caller said and nobody has understood yet, for an agent that did not hear it."""

from collections import deque

from ai_engine.audio.format import FRAME_MS, AudioFormat


class TurnMemory:
    """Fed with every frame of the call; keeps those of the caller's turns, each with its pre-roll."""

    def __init__(self, format: AudioFormat, preroll_ms: float, most_ms: float) -> None:
        """Of more than ``most_ms`` the end is kept."""
        self._most = round(most_ms / FRAME_MS)
        self._preroll: deque[bytes] = deque(maxlen=max(1, round(preroll_ms / FRAME_MS)))
        self._before: tuple[bytes, ...] = ()
        """Turns before the latest one: a caller who waits for an answer asks "hello?"."""
        self._turn: deque[bytes] = deque(maxlen=self._most)
        self._open = False

    def push(self, frame: bytes) -> None:
        """20 ms."""
        (self._turn if self._open else self._preroll).append(frame)

    def begin(self) -> None:
        """The caller speaks."""
        self._before = self.frames()
        self._turn.clear()
        self._turn.extend(self._preroll)
        self._preroll.clear()
        self._open = True

    def end(self) -> None:
        """The turn is over, and still kept."""
        self._open = False

    def forget(self) -> None:
        """The latest turn was none."""
        self._open = False
        self._turn.clear()

    def settle(self) -> None:
        """What the caller said up to now was understood, or answered; a turn that is not over is still kept."""
        self._before = ()
        if not self._open:
            self._turn.clear()

    def frames(self) -> tuple[bytes, ...]:
        return (*self._before, *self._turn)[-self._most :]
