"""Asks an engine for what is alive: its switchboard, over HTTP."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.switchboard.models import (
    AgentInfo,
    Applied,
    EngineInfo,
    Listen,
    LiveCall,
    LogLine,
    Room,
    RoomRequest,
    StudioCall,
    StudioEvent,
    Transfer,
    TrunkState,
    Whisper,
)
from ai_engine.switchboard.ports import Refused
from ai_engine.web.connection import EngineConnection, EngineUnreachable
from ai_engine.web.problems import Problem

T = TypeVar("T")

_REFUSALS = ("not-found", "not-capable", "refused", "asterisk")
_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY = 401, 404, 429


class StudioClient:
    """Implements ``Switchboard``: every method of it raises Refused, or EngineUnreachable, whose ``str()`` says what
    is wrong: nobody there, another version, a token that is none of this engine's."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 30.0) -> None:
        """``url`` like http://127.0.0.1:4545, ``token`` that of its entry in the registry, or CALL_AGENT_TOKEN. To be
        used in ``async with``."""
        self._engine = EngineConnection(url, token, timeout_seconds)
        self.url = self._engine.url

    async def __aenter__(self) -> "StudioClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.close()

    # -- Switchboard -----------------------------------------------------------------------------------------

    async def engine(self) -> EngineInfo:
        return await self._one(EngineInfo, "GET", "/engine")

    async def calls(self) -> Sequence[LiveCall]:
        return await self._many(LiveCall, "calls")

    async def call(self, request: StudioCall) -> CallRecord:
        return await self._one(CallRecord, "POST", "/calls", json=request.as_json())

    async def hang_up(self, call_id: str) -> LiveCall:
        return await self._one(LiveCall, "DELETE", _place("calls", call_id))

    async def transfer(self, call_id: str, where: Transfer) -> LiveCall:
        return await self._one(LiveCall, "POST", f"{_place('calls', call_id)}/transfer", json=where.as_json())

    async def listen(self, call_id: str, extension: str) -> str:
        body = await self._ask(
            "POST", f"/studio{_place('calls', call_id)}/listen", json=Listen(extension=extension).as_json()
        )
        return self._engine.read(TypeAdapter(str), body.get("listener"))

    async def stop_listening(self, listener: str) -> None:
        await self._ask("DELETE", f"/studio{_place('listeners', listener)}")

    async def whisper(self, call_id: str, text: str) -> None:
        await self._ask("POST", f"/studio{_place('calls', call_id)}/whisper", json=Whisper(text=text).as_json())

    async def rooms(self) -> Sequence[Room]:
        return await self._many(Room, "rooms")

    async def start_room(self, request: RoomRequest) -> Room:
        return await self._one(Room, "POST", "/rooms", json=request.as_json())

    async def stop_room(self, room: str) -> Room:
        return await self._one(Room, "DELETE", _place("rooms", room))

    async def agents(self) -> Sequence[AgentInfo]:
        return await self._many(AgentInfo, "agents")

    async def trunks(self) -> Sequence[TrunkState]:
        return await self._many(TrunkState, "trunks")

    async def reconcile(self) -> Applied:
        return await self._one(Applied, "POST", "/reconcile")

    async def events(self) -> AsyncGenerator[StudioEvent, None]:
        """Ends with EngineUnreachable when the engine does; close it (``contextlib.aclosing``) where it is left
        earlier."""
        async with aclosing(self._stream(StudioEvent, "/events", {})) as events:
            async for event in events:
                yield event
        raise self._ended()

    async def logs(self, call_id: str = "", *, follow: bool = False) -> AsyncGenerator[LogLine, None]:
        """Likewise with ``follow``; without, it ends with the latest line."""
        params = {**({"call": call_id} if call_id else {}), **({"follow": "1"} if follow else {})}
        async with aclosing(self._stream(LogLine, "/logs", params)) as lines:
            async for line in lines:
                yield line
        if follow:
            raise self._ended()

    # -- the calls that were asked for -----------------------------------------------------------------------

    async def job(self, call_id: str) -> CallRecord | None:
        """The record of a call that was asked for, by the id of the job; None when there is none."""
        try:
            body = await self._ask("GET", _place("calls", call_id))
        except Refused as refusal:
            if refusal.kind == "not-found":
                return None
            raise
        return self._engine.read(TypeAdapter(CallRecord), body)

    async def jobs(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        """Those that were asked for, the newest first; ``status`` like ``no_answer``."""
        params = {"limit": str(limit)} | ({"status": status} if status else {})
        body = await self._ask("GET", "/calls", params=params)
        return self._engine.read(TypeAdapter(tuple[CallRecord, ...]), body.get("calls"))

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        """What happened to a call that was asked for; none at all where there is no such call."""
        try:
            body = await self._ask("GET", f"{_place('calls', call_id)}/timeline")
        except Refused as refusal:
            if refusal.kind == "not-found":
                return ()
            raise
        return self._engine.read(TypeAdapter(tuple[TimelineEntry, ...]), body.get("entries"))

    # --------------------------------------------------------------------------------------------------------

    async def _one(self, shape: type[T], method: str, path: str, **options: Any) -> T:
        return self._engine.read(TypeAdapter(shape), await self._ask(method, f"/studio{path}", **options))

    async def _many(self, shape: type[T], name: str) -> Sequence[T]:
        body = await self._ask("GET", f"/studio/{name}")
        return self._engine.read(TypeAdapter(tuple[shape, ...]), body.get(name))  # type: ignore[valid-type]

    async def _stream(self, shape: type[T], path: str, params: dict[str, str]) -> AsyncGenerator[T, None]:
        adapter = TypeAdapter(shape)
        try:
            async with aclosing(self._engine.lines(f"/studio{path}", params=params)) as lines:
                async for line in lines:
                    yield self._engine.read_line(adapter, line)
        except Problem as problem:
            raise self._told(problem) from problem

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            return await self._engine.ask(method, path, **options)
        except Problem as problem:
            raise self._told(problem) from problem

    def _told(self, problem: Problem) -> Exception:
        """What a problem of HTTP means here."""
        if isinstance(problem, EngineUnreachable):
            return problem
        if problem.kind in _REFUSALS:
            return Refused(problem.kind, str(problem))
        if problem.kind == "no-such-call":
            return Refused("not-found", str(problem))
        if problem.status in (_UNAUTHORIZED, _TOO_MANY):
            return EngineUnreachable(
                f"the engine at {self.url} does not take this token: {problem} It is CALL_AGENT_TOKEN, or that of the"
                " engine's file in the folder 'run' of studio.directory."
            )
        if problem.status == _NOT_FOUND:
            return EngineUnreachable(
                f"the engine at {self.url} has no studio ({problem}); its configuration needs a section 'studio'"
            )
        return Refused("refused", str(problem))

    def _ended(self) -> EngineUnreachable:
        return EngineUnreachable(f"the engine at {self.url} has ended the connection; is it being stopped?")


def _place(kind: str, id: str) -> str:
    """Raises Refused for what no id is, and leads somewhere else."""
    if "/" in id or id in ("", ".", ".."):
        raise Refused("not-found", f"there is no {id!r}")
    return f"/{kind}/{quote(id, safe='')}"
