"""The HTTP API of whoever looks after numbers, agents and calls: the switchboard, a route for each of its methods."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import SecretStr

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import Wire
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
from ai_engine.switchboard.ports import Refused, Switchboard
from ai_engine.web.doorkeeper import Doorkeeper
from ai_engine.web.guard import PROBLEM, guarded, json_only
from ai_engine.web.lines import as_lines
from ai_engine.web.problems import Problem

_MOST_READERS = 32
"""Who look on at the same time: each of them costs work with every event."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What is served below `/studio`."""

    switchboard: Switchboard
    token: SecretStr = field(repr=False)
    """Of this run of the engine; those of the configuration are as good."""


class LiveCalls(Wire):
    """Calls in progress, the oldest first."""

    calls: tuple[LiveCall, ...]


class Rooms(Wire):
    """Agents that run without a telephone."""

    rooms: tuple[Room, ...]


class Agents(Wire):
    """The agents of the configuration."""

    agents: tuple[AgentInfo, ...]


class Trunks(Wire):
    """Our numbers' trunks."""

    trunks: tuple[TrunkState, ...]


class Listening(Wire):
    """Somebody listens in."""

    listener: str
    """For `DELETE /studio/listeners/{id}`."""


class Done(Wire):
    """It is done."""

    ok: bool = True


Id = Annotated[str, Path(max_length=200)]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {**PROBLEM, "description": "No token, or a wrong one"},
    403: {**PROBLEM, "description": "The rules of the house forbid it"},
    404: {**PROBLEM, "description": "There is no such thing"},
    409: {**PROBLEM, "description": "It cannot be done as things stand"},
    422: {**PROBLEM, "description": "A key is wrong"},
    429: {**PROBLEM, "description": "Too many wrong tokens, or readers, at once"},
    502: {**PROBLEM, "description": "Asterisk does not answer, or says no"},
}
_NDJSON: dict[str, Any] = {"application/x-ndjson": {}}


def studio_router(switchboard: Switchboard, doorkeeper: Doorkeeper) -> APIRouter:
    """Its routes; what they raise as Problem is to be answered with."""
    router = APIRouter(
        prefix="/studio",
        route_class=guarded(doorkeeper.demand_token),
        tags=["studio"],
        responses=_REFUSALS,
        dependencies=[Depends(_known_refusals)],
    )
    _engine_routes(router, switchboard)
    _call_routes(router, switchboard)
    _room_routes(router, switchboard)
    _stream_routes(router, switchboard)
    return router


def _known_refusals(
    _: Annotated[Any, Depends(HTTPBearer(auto_error=False, description="CALL_AGENT_TOKEN, or the token of the run"))],
) -> None:
    """For the OpenAPI document; who may ask is decided before."""


def _engine_routes(router: APIRouter, switchboard: Switchboard) -> None:
    @router.get("/engine", response_model=EngineInfo)
    async def show_engine() -> Response:
        """Show the engine, and how it is."""
        with _told():
            return _answer(await switchboard.engine())

    @router.get("/agents", response_model=Agents)
    async def list_agents() -> Response:
        """List the agents, with what they can do and why not."""
        with _told():
            return _answer(Agents(agents=tuple(await switchboard.agents())))

    @router.get("/trunks", response_model=Trunks)
    async def list_trunks() -> Response:
        """Say how the trunk of each number stands in Asterisk."""
        with _told():
            return _answer(Trunks(trunks=tuple(await switchboard.trunks())))

    @router.post("/reconcile", response_model=Applied)
    async def reconcile() -> Response:
        """Make Asterisk's trunks those of the store, and read the agents anew."""
        with _told():
            return _answer(await switchboard.reconcile())


def _call_routes(router: APIRouter, switchboard: Switchboard) -> None:
    @router.get("/calls", response_model=LiveCalls)
    async def list_live_calls() -> Response:
        """List calls that are in progress, or about to be; `GET /calls` has those of the past, too."""
        with _told():
            return _answer(LiveCalls(calls=tuple(await switchboard.calls())))

    @router.post("/calls", status_code=202, response_model=CallRecord, dependencies=[Depends(json_only)])
    async def have_called(request: StudioCall) -> Response:
        """Have an agent call somebody.

        Answers as soon as it is dialled.
        """
        with _told():
            return _answer(await switchboard.call(request), 202)

    @router.delete("/calls/{id}", response_model=LiveCall)
    async def hang_up(id: Id) -> Response:
        """Hang up, and dial no more; `id` is that of the call, or of what was asked for."""
        with _told():
            return _answer(await switchboard.hang_up(id))

    @router.post("/calls/{id}/transfer", response_model=LiveCall, dependencies=[Depends(json_only)])
    async def transfer(id: Id, where: Transfer) -> Response:
        """Send the caller somewhere else in the dialplan, or to the human."""
        with _told():
            return _answer(await switchboard.transfer(id, where))

    @router.post("/calls/{id}/listen", response_model=Listening, dependencies=[Depends(json_only)])
    async def listen(id: Id, who: Listen) -> Response:
        """Have a telephone of this PBX called, and let it hear both sides."""
        with _told():
            return _answer(Listening(listener=await switchboard.listen(id, who.extension)))

    @router.delete("/listeners/{id}", response_model=Done)
    async def stop_listening(id: Id) -> Response:
        """Hang up on a listener."""
        with _told():
            await switchboard.stop_listening(id)
            return _answer(Done())

    @router.post("/calls/{id}/whisper", response_model=Done, dependencies=[Depends(json_only)])
    async def whisper(id: Id, what: Whisper) -> Response:
        """Tell the agent something that the caller does not hear."""
        with _told():
            await switchboard.whisper(id, what.text)
            return _answer(Done())


def _room_routes(router: APIRouter, switchboard: Switchboard) -> None:
    @router.get("/rooms", response_model=Rooms)
    async def list_rooms() -> Response:
        """List agents that run without a telephone."""
        with _told():
            return _answer(Rooms(rooms=tuple(await switchboard.rooms())))

    @router.post("/rooms", status_code=201, response_model=Room, dependencies=[Depends(json_only)])
    async def start_room(request: RoomRequest) -> Response:
        """Start an agent without a telephone."""
        with _told():
            return _answer(await switchboard.start_room(request), 201)

    @router.delete("/rooms/{id}", response_model=Room)
    async def stop_room(id: Id) -> Response:
        """Stop it: everybody in it is hung up on. `id`, or the name of the room, or of its agent."""
        with _told():
            return _answer(await switchboard.stop_room(id))


def _stream_routes(router: APIRouter, switchboard: Switchboard) -> None:
    readers: set[object] = set()

    def stream(begin: Callable[[], AsyncIterator[Wire]]) -> Response:
        if len(readers) >= _MOST_READERS:
            raise Problem(429, "refused", f"{_MOST_READERS} look on already: close some.")
        reader = object()
        readers.add(reader)
        return _Lines(as_lines(begin()), lambda: readers.discard(reader))

    @router.get("/events", responses={200: {"content": _NDJSON, "model": StudioEvent}})
    async def follow_events() -> Response:
        """Tell what happens, as it happens: a line of JSON for each event, an empty one as a sign of life."""
        return stream(switchboard.events)

    @router.get("/logs", responses={200: {"content": _NDJSON, "model": LogLine}})
    async def read_logs(
        call: Annotated[str, Query(max_length=200, description="Only lines about this call.")] = "",
        follow: Annotated[bool, Query(description="Go on with the lines that come.")] = False,
    ) -> Response:
        """Tell the latest lines of the engine's log, and those that come: a line of JSON for each."""
        return stream(lambda: switchboard.logs(call, follow=follow))


class _Lines(StreamingResponse):
    """Says when nobody reads it any more."""

    def __init__(self, lines: AsyncIterator[bytes], done: Callable[[], None]) -> None:
        super().__init__(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})
        self._done = done

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


@contextmanager
def _told() -> Iterator[None]:
    """Refusals as problems."""
    try:
        yield
    except Refused as refusal:
        raise _problem(refusal) from refusal


def _problem(refusal: Refused) -> Problem:
    match refusal.kind:
        case "not-found":
            return Problem(404, "not-found", str(refusal))
        case "not-capable":
            return Problem(409, "not-capable", str(refusal))
        case "asterisk":
            return Problem(502, "asterisk", str(refusal))
        case _:
            return Problem(403, "refused", str(refusal))


def _answer(body: Wire, status: int = 200) -> Response:
    return JSONResponse(body.as_json(), status)
