"""What the caller is owed, so that an agent who takes over can pay it."""

from enum import StrEnum


class Owed(StrEnum):
    NOTHING = "nothing"
    GREETING = "greeting"
    ANSWER = "answer"
    NUDGE = "nudge"


class Debt:
    """Grows when the agent is asked for something, and is paid when a reply was made to its end."""

    def __init__(self) -> None:
        self.owed = Owed.NOTHING
        self.words = ""
        """What the caller said last, once it is known."""
        self._early: str | None = None
        """What the caller said in a turn that is not over, to a provider with ears of its own."""

    def __bool__(self) -> bool:
        return self.owed is not Owed.NOTHING

    @property
    def known_early(self) -> bool:
        """Whether the words of the caller's latest turn came before its end."""
        return self._early is not None

    def turn_began(self) -> None:
        """The caller speaks."""
        self._early = None

    def asked(self, owed: Owed) -> None:
        self.owed = owed
        if owed is Owed.ANSWER:
            self.words = self._early or ""

    def understood(self, words: str, *, early: bool) -> None:
        """What was said in the turn that was asked about last; ``early``: in the one that is not over."""
        if early:
            self._early = words
        else:
            self.words = words

    def goes_on(self) -> None:
        """What was said is no answer yet: a tool was asked first."""
        self.owed = Owed.ANSWER

    def paid(self) -> None:
        self.owed = Owed.NOTHING
