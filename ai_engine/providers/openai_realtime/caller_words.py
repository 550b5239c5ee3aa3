"""Which words belong to which turn of the caller, since they come whenever they are ready."""

from collections import deque
from dataclasses import dataclass

from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import CallerSaid


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    brief: bool


@dataclass(frozen=True, slots=True)
class Understood:
    """What it means that a turn was transcribed."""

    said: tuple[CallerSaid, ...]
    is_nothing: bool = False
    """It was a hum, to be forgotten."""
    asks: bool = False
    """It was short, and is to be answered all the same."""


class CallerWords:
    """Turns the engine heard, in order; with a provider's own ears there are none, and all words are said at once."""

    def __init__(self) -> None:
        self._commits: deque[_Turn] = deque()
        """Turns that have no item yet."""
        self._turns: dict[str, _Turn] = {}
        """Turns whose words are awaited, by item."""
        self._weighed: _Turn | None = None
        self._set_aside: list[CallerSaid] = []
        """Words of earlier turns: they would be taken for those of the short sound that is weighed."""
        self._partial: dict[str, str] = {}

    @property
    def weighing(self) -> bool:
        """Whether a short sound into our own words waits for its own."""
        return self._weighed is not None

    def spoke(self) -> None:
        """The caller goes on: what was weighed is decided."""
        self._weighed = None

    def paused(self, *, brief: bool) -> None:
        """A turn is over, and becomes the next item that is committed."""
        turn = _Turn(brief)
        self._commits.append(turn)
        if brief:
            self._weighed = turn

    def committed(self, item: str) -> None:
        if self._commits:
            self._turns[item] = self._commits.popleft()

    def not_committed(self) -> Understood:
        """The provider found nothing in the turn."""
        self.committed("")
        return self.understood("", "")

    def more(self, item: str, words: str) -> CallerSaid:
        """A piece of a transcript."""
        self._partial[item] = self._partial.get(item, "") + words
        return CallerSaid(self._partial[item].strip(), final=False)

    def understood(self, item: str, text: str) -> Understood:
        """The whole transcript, empty where there is none."""
        self._partial.pop(item, None)
        turn = self._turns.pop(item, None)
        said = CallerSaid(text)
        if turn is None or not turn.brief:
            self._set_aside.append(said)
            return Understood(self._let_out())
        is_nothing = asks_for_nothing(text)
        if turn is self._weighed:
            self._weighed = None
        elif is_nothing:
            # Else it would be taken for the verdict on what the caller has stirred with since.
            return Understood(self._let_out(), is_nothing=True)
        return Understood((said, *self._let_out()), is_nothing=is_nothing, asks=not is_nothing)

    def _let_out(self) -> tuple[CallerSaid, ...]:
        if self.weighing:
            return ()
        said, self._set_aside = tuple(self._set_aside), []
        return said
