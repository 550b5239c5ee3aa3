"""Who gets into a room by its page, and who does not."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from ai_engine.errors import PeerError
from ai_engine.jobs.ports import Attempt, RouteContext, Urls
from ai_engine.jobs.settings import Server
from ai_engine.protocol.media_streams import StreamStarted
from ai_engine.telephony.rooms import RoomPages
from ai_engine.telephony.streams import StreamDoor, StreamLeg

BASE = "http://engine:4545"


class Door:
    """Implements ``StreamDoor``."""

    def __init__(self) -> None:
        self.opened: list[Attempt] = []

    def open(self, attempt: Attempt, *_: object) -> StreamLeg:
        self.opened.append(attempt)
        return object()  # type: ignore[return-value]


class House:
    """The pages, and a browser."""

    def __init__(self, pages: RoomPages, browser: httpx.AsyncClient, door: Door) -> None:
        self.pages = pages
        self.browser = browser
        self.door = door

    async def knock(self, url: str) -> httpx.Response:
        return await self.browser.post("/room/join", json=dict(parse_qsl(url.split("?")[1])))

    async def enter(self, url: str, closed: list[int]) -> Attempt:
        welcome = (await self.knock(url)).json()
        attempt = self.pages._find(welcome["callId"])
        assert attempt is not None
        assert attempt.token == welcome["token"]
        self.pages.let_in(attempt, StreamStarted("MZ1"), lambda _: None, closed.append)
        return attempt


@pytest.fixture
async def house() -> AsyncIterator[House]:
    door = Door()
    taker: StreamDoor = door
    pages = RoomPages(Server(), taker)
    assert pages.open("0", "early", "reception") == "", "nobody serves it yet"
    app, router = FastAPI(), APIRouter()
    pages.register_routes(router, RouteContext(lambda: Urls(BASE), lambda _: None, lambda *_: None, lambda *_: None))
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as browser:
        yield House(pages, browser, door)


async def test_whoever_has_the_address_talks_with_the_agent_of_the_room(house: House) -> None:
    url = house.pages.open("1", "demo", "reception")
    page = await house.browser.get(url)
    assert "Room demo" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    attempt = await house.enter(url, [])
    assert (attempt.assignment.agent, attempt.assignment.facts, attempt.assignment.own_words) == (
        "reception",
        {"room": "demo"},
        True,
    )
    assert house.pages.guests("1") == 1
    await house.pages._ended(attempt, StreamStarted("MZ1"), False)
    assert house.pages.guests("1") == 0


async def test_nobody_else_does(house: House) -> None:
    url = house.pages.open("1", "demo", "reception")
    other = house.pages.open("2", "other", "booking")
    assert (await house.knock(url + "x")).status_code == 404
    assert (
        await house.knock(f"{BASE}/room?room=2&token={dict(parse_qsl(url.split('?')[1]))['token']}")
    ).status_code == 404
    assert (await house.knock(f"{BASE}/room?room=2&token=\u00e9")).status_code == 404
    assert (await house.browser.get(url.replace("room=1", "room=3"))).status_code == 404
    assert (await house.knock(other)).status_code == 200


async def test_a_room_that_is_stopped_sends_everybody_away(house: House) -> None:
    url = house.pages.open("1", "demo", "reception")
    closed: list[int] = []
    attempt = await house.enter(url, closed)
    late = (await house.knock(url)).json()["callId"]
    waiting = house.pages._find(late)
    assert waiting is not None
    house.pages.close("1")
    house.pages.close("1")
    assert closed == [1000]
    assert (await house.knock(url)).status_code == 404
    assert house.pages._find(late) is None
    with pytest.raises(PeerError, match="stopped meanwhile"):
        house.pages.let_in(waiting, StreamStarted("MZ2"), lambda _: None, closed.append)
    assert house.door.opened == [attempt]


async def test_a_room_has_an_end(house: House) -> None:
    url = house.pages.open("1", "demo", "reception")
    first = (await house.knock(url)).json()["callId"]
    for _ in range(20):
        await house.knock(url)
    assert house.pages._find(first) is None, "who knocks and does not come in is forgotten"
    for _ in range(20):
        await house.enter(url, [])
    assert (await house.knock(url)).status_code == 429
