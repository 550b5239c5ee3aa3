"""What the studio shows, and where it comes from."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ai_engine.switchboard.ports import Switchboard
from ai_engine.trunks.number import SipNumber

SwitchboardFactory = Callable[[], AbstractAsyncContextManager[Switchboard]]
"""Makes a connection to the engine that runs now; called again for every attempt, on the event loop, so it must not
block. It, or entering it, may raise EngineUnreachable."""
Clock = Callable[[], datetime]
"""The time, with its zone."""


class NumberSource(Protocol):
    """Our numbers; every method blocks and may raise ConfigError, so it is called in a thread. In real life a
    ``trunks.store.NumberStore``."""

    def numbers(self) -> Sequence[SipNumber]: ...

    def add(self, number: SipNumber, *, replace: bool = False) -> object: ...

    def remove(self, number: str) -> SipNumber: ...

    def stamp(self) -> str:
        """Changes when the numbers do; cheap."""
        ...


class NamedFile(Protocol):
    """A file with an agent in it."""

    @property
    def name(self) -> str: ...

    @property
    def problems(self) -> Sequence[str]:
        """Lines that say what is wrong with it, and where."""
        ...


class AgentSource(Protocol):
    """The files of our agents; blocks and may raise ConfigError. In real life a ``config.agent_files.AgentFiles``."""

    def list(self) -> Sequence[NamedFile]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """All of it."""

    switchboard: SwitchboardFactory
    numbers: NumberSource
    agents: AgentSource
    clock: Clock
