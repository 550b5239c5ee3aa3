"""What the page of the mock telephone asks of us over HTTP."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from html import escape
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import Wire
from ai_engine.jobs.status import Status

if TYPE_CHECKING:
    from ai_engine.telephony.mock import MockLine, MockTelephony

_ASSETS = {
    "page.js": "text/javascript",
    "phone.js": "text/javascript",
    "stream.js": "text/javascript",
    "sound.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
}

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_RECONNECT = "retry: 500\n"
"""Milliseconds after which a page asks again that was cut off."""
_TICK_SECONDS = 0.1
_TICKS_PER_LOOK = 5
"""The transcript lies in memory, the record in a database."""
_TICKS_PER_SIGN_OF_LIFE = 150

_NOT_YET = 202

_SHOWN: Any = {
    "request": {"to", "goal", "callee_name", "user_name"},
    "status": True,
    "attempt": True,
    "last_error": True,
    "outcome": True,
    "next_attempt_at": True,
    "scheduled_event": True,
    "report": True,
}
"""Of the record."""

CallId = Annotated[str, Query(alias="callId", max_length=100)]
Token = Annotated[str, Query(max_length=200)]


class Refusal(Wire):
    """A button of the page: the call is not answered."""

    call_id: str
    token: str
    """Of the attempt that rings."""
    outcome: Literal["busy", "no-answer", "reject"]


def add_mock_routes(router: APIRouter, network: "MockTelephony") -> None:
    """``GET /mock``, its assets and events, and ``POST /mock/outcome``."""
    folder = files("ai_engine.telephony") / "mock_page"
    assets = {name: (folder / name).read_bytes() for name in _ASSETS}
    template = (folder / "page.html").read_text(encoding="utf-8")

    @router.get("/mock", include_in_schema=False)
    async def page(call_id: CallId = "") -> Response:
        status, notice = await _unfit(network, call_id)
        line = None if notice else network.line(call_id)
        token = line.attempt.token if line else ""
        soon = "yes" if status == _NOT_YET else ""
        values = {"call_id": call_id, "token": token, "soon": soon, "notice": notice}
        return HTMLResponse(_filled(template, values), status, headers=PAGE_HEADERS)

    @router.get("/mock/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "there is no such file")
        return Response(assets[name], media_type=_ASSETS[name], headers=PAGE_HEADERS)

    @router.get("/mock/events", include_in_schema=False)
    async def events(call_id: CallId, token: Token) -> Response:
        line = network.line(call_id)
        if line is None or not line.allows(token):
            raise HTTPException(403, "this page is not of a call we know; load it again")
        return StreamingResponse(_events(network, call_id), media_type="text/event-stream", headers=PAGE_HEADERS)

    @router.post("/mock/outcome", include_in_schema=False)
    async def outcome(refusal: Refusal) -> dict[str, bool]:
        line = network.line(refusal.call_id)
        if line is None or not line.rings_for(refusal.token):
            raise HTTPException(403, "this attempt is over, or the page is not of its call")
        await network.refuse(line, refusal.outcome)
        return {"ok": True}


async def _unfit(network: "MockTelephony", call_id: str) -> tuple[int, str]:
    """The HTTP status, and what is wrong with the call; nothing is where the text is empty."""
    if not call_id:
        return 200, "Enter the id of a call that waits to be answered."
    record = await network.desk().status(call_id)
    if record is None or record.provider != network.id:
        return 404, "No such call: it must have been placed with the mock provider."
    if record.settled:
        return 410, f"This call is over: {record.outcome or record.status.value}.".replace("_", " ")
    if network.line(call_id) is None:
        return _NOT_YET, "This call has not been dialled yet."
    return 200, ""


def _filled(template: str, values: Mapping[str, str]) -> str:
    """In one go: what is filled in may look like a place itself."""
    return re.sub(r"{(\w+)}", lambda place: escape(values[place[1]]), template)


async def _events(network: "MockTelephony", call_id: str) -> AsyncIterator[str]:
    """Server-Sent Events: ``hello``, and then ``line``, ``note`` and ``state`` as they come, until the call is over."""
    yield _RECONNECT + _event("hello", {})
    reader = _Reader(network, call_id)
    for tick in count():
        if network.closed or reader.phase == "over":
            return
        for line in reader.lines():
            yield line
        if tick % _TICKS_PER_LOOK == 0 or reader.hung_up:
            for told in await reader.look():
                yield told
        if tick % _TICKS_PER_SIGN_OF_LIFE == 0:
            yield ":\n\n"
        await asyncio.sleep(_TICK_SECONDS)


class _Reader:
    """What one page has been told of its call."""

    def __init__(self, network: "MockTelephony", call_id: str) -> None:
        self._network = network
        self._call_id = call_id
        self._lines = self._notes = 0
        self._state: dict[str, Any] = {}

    @property
    def phase(self) -> str:
        return str(self._state.get("phase", ""))

    @property
    def hung_up(self) -> bool:
        """Whether the page has to be told at once that we did."""
        line = self._network.line(self._call_id)
        return line is not None and line.hung_up and self.phase in ("ringing", "talking")

    def lines(self) -> list[str]:
        """New lines of the transcript."""
        lines = self._network.feed.lines(self._call_id, self._lines)
        self._lines += len(lines)
        return [_event("line", {"speaker": line.speaker, "text": line.text}) for line in lines]

    async def look(self) -> list[str]:
        """What is new in the record."""
        desk = self._network.desk()
        notes = (await desk.timeline(self._call_id))[self._notes :]
        self._notes += len(notes)
        state = _state(await desk.status(self._call_id), self._network.line(self._call_id))
        changed = [] if state == self._state else [_event("state", state)]
        self._state = state
        return [*(_event("note", note.as_json()) for note in notes), *changed]


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _state(record: CallRecord | None, line: "MockLine | None") -> dict[str, Any]:
    if record is None or line is None:
        return {"phase": "over"}
    told = record.model_dump(mode="json", by_alias=True, exclude_none=True, include=_SHOWN)
    return {**told, "phase": _phase(record, line), "token": line.attempt.token}


def _phase(record: CallRecord, line: "MockLine") -> str:
    if record.settled:
        return "over"
    if line.attempt.number != record.attempt:
        return "waiting"
    if line.hung_up:
        return "ending"
    return {Status.DIALING: "ringing", Status.IN_PROGRESS: "talking"}.get(record.status, "waiting")
