"""How the agent's sound waits to be heard, whatever carries it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ai_engine.audio.format import AudioFormat


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply that was stopped after ``heard_ms`` of it had been heard."""

    reply: int
    heard_ms: float


@dataclass(frozen=True, slots=True)
class Unheard:
    """What is left of a reply when another voice has to go on with it."""

    reply: int
    source: AudioFormat
    pcm: bytes
    """Not heard yet, in ``source``."""
    finished: bool
    """No more audio of it comes."""
    heard_ms: float
    """What was heard of it before; more than 0 means that it had started."""


class Voice(Protocol):
    """Replies wait in the order they were begun. ``pull`` is called every 20 ms and is the only clock.

    A reply has a growing id; audio of one that was stopped or finished is refused, so lateness needs no flags.
    Its maker is told when a reply starts to be heard and when it was heard to its end; both inside ``pull``.
    """

    underruns: int
    """Frames of silence in the middle of replies because audio came too late."""

    @property
    def speaking(self) -> int | None:
        """The reply that is being heard now, or is held in its middle."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nothing is heard, waits, or is still being made."""
        ...

    @property
    def held(self) -> bool: ...

    @property
    def left_ms(self) -> float:
        """How much is still to be heard of all replies; infinite while one is still being made."""
        ...

    def begin(self, reply: int, source: AudioFormat | None = None) -> bool:
        """Announce a reply whose audio comes in ``source`` (else in the line's own format).

        False if its id is not greater than that of every reply before it: it comes too late.
        """
        ...

    def push(self, reply: int, pcm: bytes) -> bool:
        """Add audio of any length to a reply. False if it was stopped, is finished, was never begun, or is endless."""
        ...

    def end_sentence(self, reply: int) -> None:
        """What was pushed so far ends a sentence."""
        ...

    def finish(self, reply: int) -> None:
        """No more audio of this reply comes."""
        ...

    def finish_all(self) -> None:
        """No more audio comes at all; what waits is still heard."""
        ...

    def is_open(self, reply: int) -> bool:
        """Whether ``push`` would take audio of this reply."""
        ...

    def pull(self) -> bytes | None:
        """What is heard in the coming 20 ms, or None for silence."""
        ...

    def upcoming(self, frames: int) -> Sequence[bytes]:
        """The next of ``pull``, up to ``frames`` of them, as far as they are made and nothing happens before."""
        ...

    def hold(self) -> None:
        """Fall silent in the middle, without a click, until ``resume`` or ``stop``; replies are still taken."""
        ...

    def resume(self) -> None:
        """Go on where it was held."""
        ...

    def stop(self) -> tuple[Cut, ...]:
        """Fall silent and drop everything that waits. Returns a ``Cut`` per reply not heard to its end, in order."""
        ...

    def surrender(self) -> tuple[Unheard, ...]:
        """Give up every reply that is not heard to its end, for another voice to ``adopt``."""
        ...

    def adopt(self, unheard: Unheard) -> None:
        """Go on with a reply another voice gave up; one that had started is not announced as started again."""
        ...
