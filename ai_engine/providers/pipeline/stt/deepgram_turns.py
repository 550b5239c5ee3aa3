"""Which words belong to which turn, told from where they lie in the stream."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ai_engine.providers.pipeline.ports import Final, Heard, Partial

_TOLERANCE_SECONDS = 0.01
"""Half a frame: times on the wire are rounded."""


@dataclass(slots=True, eq=False)
class Turn:
    """From its first sound to its last word."""

    segments: list[str] = field(default_factory=list)
    """Words that will not change."""
    interim: str = ""
    """Words after them that may."""
    end_seconds: float | None = None
    """Where in the stream its sound is over."""
    wanted: bool = True
    paused: bool = False
    """Everything so far is final, and silence came after it."""

    @property
    def text(self) -> str:
        return " ".join([*self.segments, self.interim]).strip()


@dataclass(frozen=True, slots=True)
class Result:
    """One message about a stretch of the stream."""

    end_seconds: float
    """How far in the stream it goes."""
    text: str
    is_final: bool
    speech_final: bool
    from_finalize: bool


class StreamedTurns:
    """Turns follow each other without a gap in the stream, since nothing is sent between them."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()
        """Those whose words may still come, oldest first."""
        self._reached_seconds = 0.0
        """How far in the stream anything was told."""
        self._done_seconds = -1.0
        """Where in the stream the last turn ends of which nothing is awaited."""

    def begin(self) -> None:
        """What is sent from now on belongs to a turn."""
        self._turns.append(Turn())

    def end(self, seconds: float, *, wanted: bool) -> Turn:
        """The turn that was begun is over, at ``seconds`` in the stream; unless it is wanted nothing is said of it."""
        turn = self._turns[-1]
        turn.end_seconds, turn.wanted = seconds, wanted
        return turn

    def awaited(self, turn: Turn) -> bool:
        """Whether words of ``turn`` may still come."""
        return turn in self._turns

    def behind_seconds(self, turn: Turn) -> float:
        """How much of ``turn``, which is over, nothing was told about yet."""
        return (turn.end_seconds or 0.0) - self._reached_seconds

    def take(self, result: Result) -> Iterator[Heard]:
        """What ``result`` tells."""
        self._reached_seconds = max(self._reached_seconds, result.end_seconds)
        if result.end_seconds <= self._done_seconds + _TOLERANCE_SECONDS:
            return  # of a turn nobody waits for any more
        while self._turns and _lies_before(self._turns[0], result.end_seconds):
            yield from self._finish()
        if not self._turns:
            return
        turn = self._turns[0]
        before = turn.text
        turn.interim = result.text
        if result.is_final:
            turn.segments += [result.text] if result.text else []
            turn.interim = ""
        turn.paused = result.speech_final or (turn.paused and not result.text)
        if result.from_finalize and turn.end_seconds is not None:
            yield from self._finish()
        elif turn.wanted and turn.text and turn.text != before:
            yield Partial(turn.text)

    def give_up(self, turn: Turn) -> Iterator[Heard]:
        """Nothing more is awaited of ``turn``, nor of those before it."""
        while turn in self._turns:
            yield from self._finish()

    def _finish(self) -> Iterator[Heard]:
        turn = self._turns.popleft()
        self._done_seconds = turn.end_seconds or 0.0
        if turn.wanted:
            yield Final(turn.text)


def _lies_before(turn: Turn, seconds: float) -> bool:
    return turn.end_seconds is not None and seconds > turn.end_seconds + _TOLERANCE_SECONDS
