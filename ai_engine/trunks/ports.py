"""The doors between the keeper of trunks, Asterisk, and the two ways to put trunks into it."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ai_engine.trunks.pjsip import PjsipObject

Wanted = Mapping[str, Sequence[PjsipObject]]
"""The objects of each trunk by their id, in the order they are to be created."""


class Pbx(Protocol):
    """Asterisk's PJSIP objects. Every coroutine may raise AsteriskError; its ``status`` is that of ARI."""

    async def endpoints(self) -> Mapping[str, str]:
        """``online``, ``offline`` or ``unknown`` by the id of the endpoint."""
        ...

    async def read(self, kind: str, object_id: str) -> tuple[tuple[str, str], ...] | None:
        """All attributes with their values, passwords too, or None."""
        ...

    async def write(self, kind: str, object_id: str, fields: Iterable[tuple[str, str]]) -> None:
        """Create the object, or change these attributes of it."""
        ...

    async def delete(self, kind: str, object_id: str) -> bool:
        """Whether there was one."""
        ...

    async def reload(self) -> None:
        """Have Asterisk read the files of PJSIP anew."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What a backend did, by the ids of the trunks."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """What went wrong, and what to do about it."""


class Backend(Protocol):
    """A way to put trunks into Asterisk."""

    name: Literal["file", "ari"]
    missing: str
    """Why Asterisk may not know a trunk that was applied, and what to do."""

    async def apply(self, wanted: Wanted, orphans: Set[str]) -> Done:
        """Make Asterisk's trunks the ``wanted`` ones, and remove the ``orphans``; does nothing where nothing differs.

        Raises AsteriskError when Asterisk cannot be asked; done again it goes on where it was.
        """
        ...
