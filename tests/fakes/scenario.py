"""What a provider's fake hears, says and does in a call, turn by turn, and how it fails.

SCENARIO = Scenario("Hello, this is the garden center.", [
    Turn("what are your hours", "We are open from nine to six."),
    Turn("book a table", "One moment.", tools=[Call("book", {"people": 2})], then="It is booked."),
])

A fake knows its place by what it was told: the caller's turns in the history it was given, and those it heard since.
A typed turn is looked up by its words instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Call:
    """A function the model calls."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None
    """Instead of ``arguments``: what the model writes where JSON belongs."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the caller, and what follows."""

    heard: str
    """The transcript of what the caller says, whatever it is."""
    say: str = ""
    """Said at once; nothing when it is empty."""
    tools: Sequence[Call] = ()
    then: str = ""
    """Said when every tool was answered; nothing when it is empty."""
    pieces: int = 1
    """In how many segments a transcriber reports the turn."""
    resumed: bool = False
    """A transcriber takes the turn to be over once before it is, and corrects itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How a fake fails, once, in one of its sessions."""

    kind: Literal["refuse", "slow", "stall", "garbage", "close", "limit", "error"]
    """``refuse``: the handshake or request is answered with ``status``; ``slow``: it is answered after ``seconds``;
    ``stall``: silence where sound or text is due, the connection stays open; ``garbage``: a message that is none;
    ``close``: the connection ends in mid-word; ``limit``: as the vendor ends a session that lasted too long;
    ``error``: as the vendor reports a failure of its own."""
    turn: int | None = None
    """In the answer to which turn, from 0; None: in the greeting, or before anything is said."""
    session: int | None = 0
    """In which session (connection or request that could have it), from 0; None: in every one."""
    status: int = 401
    seconds: float = 5.0
    after_ms: float = 300.0
    """How much sound of the answer goes out before it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole call, and those that take it over."""

    greeting: str = "Hello. How can I help you?"
    turns: Sequence[Turn] = ()
    faults: Sequence[Fault] = ()
    lost: str = "I am sorry, I did not understand that."
    """Said to a turn that the scenario does not have."""

    def turn(self, number: int) -> Turn:
        """The caller's turn ``number``, from 0."""
        return self.turns[number] if number < len(self.turns) else Turn("something", self.lost)

    def turn_of(self, text: str) -> Turn:
        """The turn whose words are ``text``."""
        words = _words(text)
        return next((turn for turn in self.turns if _words(turn.heard) == words), Turn(text, self.lost))

    def fault(self, session: int, turn: int | None, *kinds: str) -> Fault | None:
        """What goes wrong there."""
        return next(
            (
                fault
                for fault in self.faults
                if fault.session in (None, session) and fault.turn == turn and (not kinds or fault.kind in kinds)
            ),
            None,
        )


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
