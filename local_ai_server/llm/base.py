"""What a dialog backend does; it lives on the event loop, so a heavy model keeps its work in a process of its own."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias, runtime_checkable

from local_ai_server.agent import Agent
from local_ai_server.tools import OWN, Tools


@dataclass(frozen=True, slots=True)
class Act:
    """Ask the engine for a tool once the reply has been heard."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Verdict(Enum):
    NOT_UNDERSTOOD = auto()
    """The model has no answer; the session says the agent's fallback."""


Piece: TypeAlias = str | Act | Verdict
"""A token of the answer, or something to do."""


class LanguageModel(Protocol):
    """Answers what a caller said."""

    async def start(self) -> None:
        """Load what all agents need, once. Raises SettingsError, JobFailed."""
        ...

    async def prepare(self, agent: Agent) -> None:
        """Build whatever ``agent`` needs. Raises AgentError."""
        ...

    def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        """The reply to the record's last entry, piece by piece; the iterator may be closed at any time.

        That entry is the caller's, or what came of a tool (``tool``). A call asks for one answer at a time. Raises
        JobFailed; the session says the agent's fallback then.
        """
        ...

    def understands(self, agent: Agent, text: str, record: tuple[tuple[str, str], ...], *, exactly: bool) -> bool:
        """Whether ``text``, said into the agent's own words after ``record``, is something it has an answer to.

        ``exactly``: a likeness is not enough, since the words have a meaning of their own ("no").
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Queued(Protocol):
    """A model that calls have to wait for in a queue."""

    @property
    def delay_seconds(self) -> float:
        """How long a new call's first answer would wait, about."""
        ...
