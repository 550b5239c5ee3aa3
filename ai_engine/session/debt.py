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

    def __bool__(self) -> bool:
        return self.owed is not Owed.NOTHING

    def asked(self, owed: Owed) -> None:
        self.owed = owed
        if owed is Owed.ANSWER:
            self.words = ""

    def understood(self, words: str) -> None:
        """What was said in the turn that was asked about last."""
        self.words = words

    def goes_on(self) -> None:
        """What was said is no answer yet: a tool was asked first."""
        self.owed = Owed.ANSWER

    def paid(self) -> None:
        self.owed = Owed.NOTHING
