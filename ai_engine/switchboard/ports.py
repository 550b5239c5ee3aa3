"""The door of whoever looks after numbers, agents and calls."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ai_engine.jobs.record import CallRecord
from ai_engine.switchboard.models import (
    AgentInfo,
    Applied,
    EngineInfo,
    LiveCall,
    LogLine,
    Room,
    RoomRequest,
    StudioCall,
    StudioEvent,
    Transfer,
    TrunkState,
)


class Refused(Exception):
    """It is not done; ``str()`` says why, and what to do. ``kind`` is ``not-found``, ``not-capable``, ``refused`` or
    ``asterisk`` (it does not answer, or says no)."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Switchboard(Protocol):
    """Everything of it is asked on the office's event loop; every coroutine may raise ``Refused``."""

    async def engine(self) -> EngineInfo: ...

    async def calls(self) -> Sequence[LiveCall]:
        """The oldest first."""
        ...

    async def call(self, request: StudioCall) -> CallRecord:
        """Dial; the record of the call that was asked for, as soon as it is dialled."""
        ...

    async def hang_up(self, call_id: str) -> LiveCall:
        """By the id of the call, or of the job; the call as it was."""
        ...

    async def transfer(self, call_id: str, where: Transfer) -> LiveCall: ...

    async def listen(self, call_id: str, extension: str) -> str:
        """Have ``extension`` called, and let it hear both sides; the id to stop it with."""
        ...

    async def stop_listening(self, listener: str) -> None: ...

    async def whisper(self, call_id: str, text: str) -> None:
        """Tell the agent of the call something that the caller does not hear."""
        ...

    async def rooms(self) -> Sequence[Room]: ...

    async def start_room(self, request: RoomRequest) -> Room: ...

    async def stop_room(self, room: str) -> Room:
        """By id, name, or the name of its agent where that has one room: everybody in it is hung up on."""
        ...

    async def agents(self) -> Sequence[AgentInfo]: ...

    async def trunks(self) -> Sequence[TrunkState]: ...

    async def reconcile(self) -> Applied:
        """Make Asterisk's trunks those of the store, now."""
        ...

    def events(self) -> AsyncIterator[StudioEvent]:
        """From now on, until the reader stops; a slow reader misses some."""
        ...

    def logs(self, call_id: str = "", *, follow: bool = False) -> AsyncIterator[LogLine]:
        """The latest lines, and with ``follow`` those that come."""
        ...
