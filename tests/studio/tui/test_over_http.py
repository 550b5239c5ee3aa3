"""The studio on a real server and the real client of it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from pydantic import SecretStr

from ai_engine.studio.client import StudioClient
from ai_engine.studio.tui.app import StudioApp
from ai_engine.studio.tui.sources import Sources
from ai_engine.switchboard.ports import Refused, Switchboard
from ai_engine.web.studio_api import Studio
from tests.fakes.front_door import FrontDoor, front_door
from tests.studio.tui.fakes.scene import INBOUND, NOW, Scene
from tests.studio.tui.fakes.stage import Stage

RUN = "the-token-of-this-run"


@pytest.fixture
async def door(office: Scene) -> AsyncIterator[FrontDoor]:
    async with front_door(studio=Studio(office.engine, SecretStr(RUN))) as door:
        yield door


def _app(office: Scene, door: FrontDoor, token: str = RUN) -> StudioApp:
    def client() -> AbstractAsyncContextManager[Switchboard]:
        return StudioClient(door.url, token)

    return StudioApp(Sources(client, office.numbers, office.agents, lambda: NOW))


async def test_calls_are_watched_and_ended(office: Scene, door: FrontDoor) -> None:
    app = _app(office, door)
    async with app.run_test(size=(80, 24)) as pilot:
        studio = Stage(app, pilot, office)
        await studio.shows("1 in reception +493055512345 talking")
        await studio.until(lambda: office.engine.watched)
        office.talk()
        await studio.press("enter")
        await studio.shows("caller: Thursday would …", "turn 6 of 6 842ms")
        await studio.press("h", "y")
        await studio.shows("Hung up on +493055512345.")
        await studio.press("escape", "4")
        await studio.shows("bound to channel in-1f0c")
    assert office.engine.asked == [("hang_up", INBOUND)]


async def test_refusals_arrive_word_for_word(office: Scene, door: FrontDoor) -> None:
    app = _app(office, door)
    office.engine.no = Refused("asterisk", "Asterisk knows no extension 4711; dial one of from-internal")
    async with app.run_test(size=(80, 24)) as pilot:
        studio = Stage(app, pilot, office)
        await studio.shows("+493055512345")
        await studio.press("l")
        await studio.type("4711")
        await studio.press("enter")
        await studio.shows("Not done (listening in): Asterisk knows no extension 4711; dial one of from-internal")


async def test_a_server_that_stops_is_missed(office: Scene, door: FrontDoor) -> None:
    app = _app(office, door)
    async with app.run_test(size=(80, 24)) as pilot:
        studio = Stage(app, pilot, office)
        await studio.until(lambda: office.engine.watched)
        await door.server.stop()
        await studio.shows("no engine since 14:30:42", "no engine answers at http://127.0.0.1")


async def test_a_wrong_token_is_told(office: Scene, door: FrontDoor) -> None:
    app = _app(office, door, "somebody-else-s")
    async with app.run_test(size=(80, 24)) as pilot:
        await Stage(app, pilot, office).shows("does not take this token")
