"""Rooms that a browser joins: whoever opens the page talks with the room's agent, in a session of their own."""

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Annotated
from urllib.parse import urlencode
from uuid import uuid4

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from ai_engine.errors import PeerError
from ai_engine.jobs.ports import Assignment, Attempt, RouteContext, SignedRequest
from ai_engine.jobs.request import Wire
from ai_engine.jobs.settings import Server
from ai_engine.protocol.media_streams import StreamStarted
from ai_engine.telephony.mock_routes import PAGE_HEADERS
from ai_engine.telephony.streams import NORMAL, StreamDoor, StreamLeg, add_stream_route

_MAX_SECONDS = 4 * 3600.0
_MOST_GUESTS = 20
"""In one room at the same time, and as many who are about to come in."""

_OURS = {"page.html": "text/html", "room.js": "text/javascript"}
_OF_THE_MOCK = {
    "phone.js": "text/javascript",
    "stream.js": "text/javascript",
    "sound.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
}


class Knock(Wire):
    """Somebody wants to come in."""

    room: Annotated[str, Field(max_length=100)]
    token: Annotated[str, Field(max_length=200)]


class Welcome(Wire):
    """What the stream of somebody who comes in must say."""

    call_id: str
    token: str


@dataclass(slots=True)
class _Room:
    name: str
    agent: str
    token: str = field(repr=False)
    expected: dict[str, Attempt] = field(default_factory=dict)
    """Who may come in, by the ids of their calls."""
    guests: dict[str, Callable[[int], None]] = field(default_factory=dict)
    """What closes the stream of each who is in."""


class RoomPages:
    """The pages of all rooms; whoever knows the address of one may come in. ``open`` and ``close`` may be called on any
    thread, the rest is for the office's loop."""

    def __init__(self, server: Server, door: StreamDoor) -> None:
        """``door`` takes the sound of those who come in."""
        self._server = server
        self._door = door
        self._rooms: dict[str, _Room] = {}
        self._context: RouteContext | None = None

    def open(self, id: str, name: str, agent: str) -> str:
        """The address of the room's page; empty where none is served."""
        if self._context is None:
            return ""
        room = self._rooms[id] = _Room(name, agent, secrets.token_urlsafe(24))
        urls = self._context.urls()
        return f"{urls.public or urls.local}/room?{urlencode({'room': id, 'token': room.token})}"

    def close(self, id: str) -> None:
        """Everybody is sent away."""
        room = self._rooms.pop(id, None)
        for close in list(room.guests.values()) if room is not None else ():
            close(NORMAL)

    def guests(self, id: str) -> int:
        """How many are in it."""
        room = self._rooms.get(id)
        return len(room.guests) if room is not None else 0

    def register_routes(self, router: APIRouter, context: RouteContext) -> None:
        """``GET /room``, its assets, ``POST /room/join``, and the stream's socket."""
        self._context = context
        telephony = files("ai_engine.telephony")
        assets = {name: ((telephony / "room_page" / name).read_bytes(), kind) for name, kind in _OURS.items()}
        assets |= {name: ((telephony / "mock_page" / name).read_bytes(), kind) for name, kind in _OF_THE_MOCK.items()}
        template = assets.pop("page.html")[0].decode()

        @router.get("/room", include_in_schema=False)
        async def page(
            room: Annotated[str, Query(max_length=100)], token: Annotated[str, Query(max_length=200)]
        ) -> Response:
            found = self._known(room, token)
            return HTMLResponse(template.replace("{room}", escape(found.name)), headers=PAGE_HEADERS)

        @router.get("/room/assets/{name}", include_in_schema=False)
        async def asset(name: str) -> Response:
            if name not in assets:
                raise HTTPException(404, "there is no such file")
            return Response(assets[name][0], media_type=assets[name][1], headers=PAGE_HEADERS)

        @router.post("/room/join", include_in_schema=False)
        async def join(knock: Knock) -> Welcome:
            return self._welcome(self._known(knock.room, knock.token))

        own = RouteContext(context.urls, self._find, lambda *_: None, lambda *_: None)
        add_stream_route(router, own, _Doorway(self), self._server, _anybody, ended=self._ended)

    def let_in(
        self, attempt: Attempt, start: StreamStarted, send: Callable[[str], None], close: Callable[[int], None]
    ) -> StreamLeg:
        """Raises OffhookError when no call can be taken."""
        room = next((room for room in self._all if attempt.call_id in room.expected), None)
        if room is None:
            raise PeerError("the room was stopped meanwhile")
        leg = self._door.open(attempt, start, send, close)
        del room.expected[attempt.call_id]
        room.guests[attempt.call_id] = close
        return leg

    async def _ended(self, attempt: Attempt, _: StreamStarted, __: bool) -> None:
        for room in self._all:
            room.guests.pop(attempt.call_id, None)

    @property
    def _all(self) -> list[_Room]:
        """As they are now: another thread opens and closes them."""
        return list(self._rooms.values())

    def _known(self, id: str, token: str) -> _Room:
        room = self._rooms.get(id)
        if room is None or not secrets.compare_digest(token.encode(), room.token.encode()):
            raise HTTPException(404, "there is no such room, or it was stopped")
        return room

    def _welcome(self, room: _Room) -> Welcome:
        if len(room.guests) >= _MOST_GUESTS:
            raise HTTPException(429, "the room is full")
        while len(room.expected) >= _MOST_GUESTS:  # the page was opened, and nobody came in
            del room.expected[next(iter(room.expected))]
        id, token = f"room-{uuid4()}", secrets.token_urlsafe(24)
        errand = Assignment(id, 1, room.agent, {"room": room.name}, own_words=True, max_seconds=_MAX_SECONDS)
        room.expected[id] = Attempt(id, 1, "", token, errand)
        return Welcome(call_id=id, token=token)

    def _find(self, call_id: str) -> Attempt | None:
        return next((room.expected[call_id] for room in self._all if call_id in room.expected), None)


class _Doorway:
    """A ``StreamDoor`` that notes who goes through."""

    def __init__(self, pages: RoomPages) -> None:
        self._pages = pages

    def open(
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> StreamLeg:
        return self._pages.let_in(attempt, start, send, close)


def _anybody(_: SignedRequest, __: str) -> bool:
    return True
