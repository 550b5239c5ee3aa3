"""A switchboard with a script: real values, no engine; what is asked of it is written down."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
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
from ai_engine.web.connection import EngineUnreachable

NOWHERE = "no engine answers at http://127.0.0.1:4545; start one with 'python -m ai_engine', or name it with --url"
_END: Any = None


class FakeEngine:
    """Implements ``Switchboard``."""

    def __init__(self, info: EngineInfo) -> None:
        self.info = info
        self.in_progress: list[LiveCall] = []
        self.running: list[Room] = []
        self.known: list[AgentInfo] = []
        self.states: list[TrunkState] = []
        self.written: list[LogLine] = []
        self.asked: list[tuple[Any, ...]] = []
        """What was asked for, and with what; the lists are not."""
        self.no: Exception | None = None
        """Raised instead of the next thing that is asked for."""
        self.down = False
        self.silent = False
        """It takes requests, and never answers."""
        self.thinks = asyncio.Event()
        """It does not tell of its agents before this is set."""
        self.thinks.set()
        self.connections = 0
        self._readers: list[asyncio.Queue[Any]] = []
        self._followers: list[asyncio.Queue[Any]] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["FakeEngine"]:
        """The factory of the studio."""
        if self.down:
            raise EngineUnreachable(NOWHERE)
        self.connections += 1
        yield self

    @property
    def watched(self) -> bool:
        """Whether somebody reads the events."""
        return bool(self._readers)

    def publish(self, at: datetime, kind: Any, call_id: str = "", **data: Any) -> None:
        for reader in self._readers:
            reader.put_nowait(StudioEvent(at=at, kind=kind, call_id=call_id, data=data))

    def write(self, line: LogLine) -> None:
        self.written.append(line)
        for follower in self._followers:
            follower.put_nowait(line)

    def stop(self) -> None:
        self.down = True
        for queue in (*self._readers, *self._followers):
            queue.put_nowait(_END)

    async def engine(self) -> EngineInfo:
        await self._answers()
        return self.info

    async def calls(self) -> Sequence[LiveCall]:
        await self._answers()
        return list(self.in_progress)

    async def call(self, request: StudioCall) -> CallRecord:
        await self._do("call", request)
        now = self.info.started_at
        job = CallRequest(to=request.to, prompt="x", agent=request.agent)
        return CallRecord(id="6f1c", request=job, created_at=now, updated_at=now)

    async def hang_up(self, call_id: str) -> LiveCall:
        await self._do("hang_up", call_id)
        call = self._call(call_id)
        self.in_progress.remove(call)
        return call

    async def transfer(self, call_id: str, where: Transfer) -> LiveCall:
        await self._do("transfer", call_id, where)
        return self._call(call_id)

    async def listen(self, call_id: str, extension: str) -> str:
        await self._do("listen", call_id, extension)
        return "listener-1"

    async def stop_listening(self, listener: str) -> None:
        await self._do("stop_listening", listener)

    async def whisper(self, call_id: str, text: str) -> None:
        await self._do("whisper", call_id, text)

    async def rooms(self) -> Sequence[Room]:
        await self._answers()
        return list(self.running)

    async def start_room(self, request: RoomRequest) -> Room:
        await self._do("start_room", request)
        name = request.channel or request.agent
        room = Room(id="r1", name=name, agent=request.agent, started_at=self.info.started_at, extension="7001")
        self.running.append(room)
        return room

    async def stop_room(self, room: str) -> Room:
        await self._do("stop_room", room)
        found = next(other for other in self.running if other.id == room)
        self.running.remove(found)
        return found

    async def agents(self) -> Sequence[AgentInfo]:
        await self._answers()
        await self.thinks.wait()
        return list(self.known)

    async def trunks(self) -> Sequence[TrunkState]:
        await self._answers()
        return list(self.states)

    async def reconcile(self) -> Applied:
        await self._do("reconcile")
        return Applied(backend="ari", written=("studio-49301234567",), trunks=tuple(self.states))

    async def events(self) -> AsyncIterator[StudioEvent]:
        with _joined(self._readers) as queue:
            while (event := await queue.get()) is not _END:
                yield event

    async def logs(self, call_id: str = "", *, follow: bool = False) -> AsyncIterator[LogLine]:
        with _joined(self._followers) as queue:
            for line in list(self.written):
                yield line
            while follow and (line := await queue.get()) is not _END:
                yield line

    async def _do(self, *what: Any) -> None:
        await self._answers()
        self.asked.append(what)
        if self.no is not None:
            no, self.no = self.no, None
            raise no

    async def _answers(self) -> None:
        if self.silent:
            await asyncio.get_running_loop().create_future()
        if self.down:
            raise EngineUnreachable(NOWHERE)

    def _call(self, call_id: str) -> LiveCall:
        return next(call for call in self.in_progress if call.call_id == call_id)


@contextmanager
def _joined(queues: list[asyncio.Queue[Any]]) -> Iterator[asyncio.Queue[Any]]:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    queues.append(queue)
    try:
        yield queue
    finally:
        queues.remove(queue)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
