"""The operator's HTTP API: ask for calls, and see what becomes of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from ai_engine.jobs.ports import CallDesk
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Wire
from ai_engine.jobs.status import Status, normal
from ai_engine.web.doorkeeper import Doorkeeper
from ai_engine.web.guard import NOT_ALLOWED, PROBLEM, guarded, json_only
from ai_engine.web.intake import take
from ai_engine.web.problems import Problem


class PlacedCall(CallRecord):
    """The record of a call that was taken."""

    call_id: str
    """The same as `id`."""


class CallList(Wire):
    """Calls, the newest first."""

    calls: tuple[CallRecord, ...]


class Timeline(Wire):
    """What happened to a call, in order."""

    entries: tuple[TimelineEntry, ...]


CallId = Annotated[str, Path(alias="callId", max_length=100, description="As `POST /calls` gave it.")]

_NO_SUCH_CALL: dict[int | str, dict[str, Any]] = {404: {**PROBLEM, "description": "There is no such call"}}


def api_router(desk: CallDesk, doorkeeper: Doorkeeper) -> APIRouter:
    """Its routes; what they raise as Problem is to be answered with."""
    router = APIRouter(
        route_class=guarded(doorkeeper.admit),
        tags=["calls"],
        responses=NOT_ALLOWED,
        # For the OpenAPI document; who may ask is decided before.
        dependencies=[Depends(HTTPBearer(auto_error=False, description="CALL_AGENT_TOKEN of the engine"))],
    )

    @router.post(
        "/calls",
        status_code=202,
        dependencies=[Depends(json_only)],
        response_model=PlacedCall,
        responses={
            200: {"model": PlacedCall, "description": "It had been asked for before, with this Idempotency-Key"},
            400: {**PROBLEM, "description": "The body is no JSON"},
            413: {**PROBLEM, "description": "The body is too large"},
            415: {**PROBLEM, "description": "The body does not say that it is JSON"},
            422: {**PROBLEM, "description": "A key is wrong, or the Idempotency-Key is another call's"},
        },
    )
    async def place_call(
        request: CallRequest,
        idempotency_key: Annotated[
            str | None, Header(min_length=1, max_length=200, description="A second request with it is the same call.")
        ] = None,
    ) -> Response:
        """Place a call.

        Answers as soon as it is dialled, or waits for its turn; `GET /calls/{callId}` says how it goes. `userHint`,
        where there is one, is for a person: without it the call does not go on.
        """
        taken = await take(desk, _with_key(request, idempotency_key))
        record = taken.record
        body = {"callId": record.id, **record.as_json()}
        return JSONResponse(body, 200 if taken.again else 202, {"Location": f"/calls/{record.id}"})

    @router.get("/calls", response_model=CallList)
    async def list_calls(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        status: Annotated[str | None, Query(description="Only calls with this status: `no_answer`.")] = None,
    ) -> Response:
        """List calls, the newest first."""
        records = await desk.calls(limit=limit, status=_status(status))
        return JSONResponse({"calls": [record.as_json() for record in records]})

    @router.get("/calls/{callId}", response_model=CallRecord, responses=_NO_SUCH_CALL)
    async def show_call(call_id: CallId) -> Response:
        """Show the record of a call."""
        return JSONResponse(_found(call_id, await desk.status(call_id)).as_json())

    @router.get("/calls/{callId}/timeline", response_model=Timeline, responses=_NO_SUCH_CALL)
    async def show_timeline(call_id: CallId) -> Response:
        """Show what happened to a call, in order."""
        _found(call_id, await desk.status(call_id))
        return JSONResponse({"entries": [entry.as_json() for entry in await desk.timeline(call_id)]})

    @router.post("/calls/{callId}/cancel", response_model=CallRecord, responses=_NO_SUCH_CALL)
    async def cancel_call(call_id: CallId) -> Response:
        """Hang up, and dial no more.

        A call that is settled is left as it is.
        """
        return JSONResponse(_found(call_id, await desk.cancel(call_id)).as_json())

    return router


def _with_key(request: CallRequest, key: str | None) -> CallRequest:
    if key is None:
        return request
    if request.idempotency_key not in (None, key):
        raise Problem(422, "bad-request", "Idempotency-Key and idempotencyKey differ: send one of them.")
    return request.model_copy(update={"idempotency_key": key})


def _status(word: str | None) -> str | None:
    if word is None or normal(word) in set(Status):
        return None if word is None else normal(word)
    raise Problem(422, "bad-request", f"status: there is no {word[:50]!r}; there are {', '.join(Status)}.")


def _found(call_id: str, record: CallRecord | None) -> CallRecord:
    if record is None:
        raise Problem(404, "no-such-call", f"There is no call {call_id!r}; GET /calls lists those there are.")
    return record
