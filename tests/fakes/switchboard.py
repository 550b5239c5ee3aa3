"""A ``Switchboard`` that answers what a test says, and writes down what it is asked.

board = ScriptedSwitchboard()
board.answers["hang_up"] = Refused("not-found", "…")    # or what it is to return
board.asked                                             # [("hang_up", "call-1"), …]
await board.happen(event)                               # to everybody who reads events()
"""

# mypy: disable-error-code="no-any-return"

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.switchboard.models import (
    AgentInfo,
    Applied,
    Capability,
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

NOW = datetime(2026, 11, 28, 21, 0, tzinfo=UTC)

ENGINE = EngineInfo(
    id="host-1", host="host", pid=1, version="1.2", started_at=NOW, url="http://127.0.0.1:1", asterisk_up=True,
    health={"clock": {"late": 1.5}, "none": None},
)  # fmt: skip
CALL = LiveCall(
    call_id="job-1-1", direction="outbound", agent="reception", number="+15550100", did="+15550199", state="talking",
    floor="agent", provider="local", since=NOW, answered_at=NOW, channel="chan", job="job-1", turns=2,
    last_turn_ms=812.5,
)  # fmt: skip
ROOM = Room(id="room-1", name="lobby", agent="reception", started_at=NOW, joined=1, extension="600")
AGENT = AgentInfo(
    name="reception", source="config/agents/reception.toml", version="abc", numbers=("+15550199",),
    capabilities=(Capability(name="recording", present=False, reason="recording.enabled is off"),),
)  # fmt: skip
TRUNK = TrunkState(number="+15550199", object_id="studio-15550199", state="online")
RECORD = CallRecord(
    id="job-1", request=CallRequest(to="+15550100", prompt="Talk."), created_at=NOW, updated_at=NOW, provider="asterisk"
)  # fmt: skip
LINE = LogLine(at=NOW, level="info", event="call started", call_id="job-1-1", fields={"agent": "reception"})


class ScriptedSwitchboard:
    """Implements ``Switchboard``."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {
            "engine": ENGINE, "calls": [CALL], "call": RECORD, "hang_up": CALL, "transfer": CALL, "listen": "ear-1",
            "stop_listening": None, "whisper": None, "rooms": [ROOM], "start_room": ROOM, "stop_room": ROOM,
            "agents": [AGENT], "trunks": [TRUNK], "reconcile": Applied(backend="ari", written=("studio-1",)),
        }  # fmt: skip
        self.lines: list[LogLine] = [LINE]
        self.readers: list[asyncio.Queue[Any]] = []

    async def engine(self) -> EngineInfo:
        return self._answer("engine")

    async def calls(self) -> Sequence[LiveCall]:
        return self._answer("calls")

    async def call(self, request: StudioCall) -> CallRecord:
        return self._answer("call", request)

    async def hang_up(self, call_id: str) -> LiveCall:
        return self._answer("hang_up", call_id)

    async def transfer(self, call_id: str, where: Transfer) -> LiveCall:
        return self._answer("transfer", call_id, where)

    async def listen(self, call_id: str, extension: str) -> str:
        return self._answer("listen", call_id, extension)

    async def stop_listening(self, listener: str) -> None:
        return self._answer("stop_listening", listener)

    async def whisper(self, call_id: str, text: str) -> None:
        return self._answer("whisper", call_id, text)

    async def rooms(self) -> Sequence[Room]:
        return self._answer("rooms")

    async def start_room(self, request: RoomRequest) -> Room:
        return self._answer("start_room", request)

    async def stop_room(self, room: str) -> Room:
        return self._answer("stop_room", room)

    async def agents(self) -> Sequence[AgentInfo]:
        return self._answer("agents")

    async def trunks(self) -> Sequence[TrunkState]:
        return self._answer("trunks")

    async def reconcile(self) -> Applied:
        return self._answer("reconcile")

    def events(self) -> AsyncIterator[StudioEvent]:
        return self._stream([])

    def logs(self, call_id: str = "", *, follow: bool = False) -> AsyncIterator[LogLine]:
        self.asked.append(("logs", call_id, follow))
        return self._stream(self.lines, follow=follow)

    # -- what a test says ------------------------------------------------------------------------------------

    async def happen(self, event: StudioEvent | LogLine) -> None:
        for reader in self.readers:
            await reader.put(event)

    async def _stream(self, first: Sequence[Any], *, follow: bool = True) -> AsyncIterator[Any]:
        news: asyncio.Queue[Any] = asyncio.Queue()
        self.readers.append(news)
        try:
            for value in first:
                yield value
            while follow:
                yield await news.get()
        finally:
            self.readers.remove(news)

    def _answer(self, name: str, *given: Any) -> Any:
        self.asked.append((name, *given))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer
