import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

from ai_engine.audio.g711 import pcm_to_ulaw
from ai_engine.errors import OffhookError
from ai_engine.jobs.ports import Attempt, CannotCall, Urls
from ai_engine.jobs.settings import Server
from ai_engine.jobs.status import Status
from ai_engine.protocol.media_streams import StreamStarted
from ai_engine.telephony.mock import MockTelephony, TranscriptBoard
from tests.fakes.stream_caller import StreamCaller, token_of_page
from tests.telephony.mock_world import Door, Leg, World, mock_world
from tests.waiting import until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with mock_world() as made:
        yield made


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        yield client


def _tone(seconds: float) -> bytes:
    """PCM16 of 1 kHz."""
    return (8000 * np.sin(2 * np.pi * np.arange(int(8000 * seconds)) / 8)).astype("<i2").tobytes()


class Pages:
    """What one page is told, by Server-Sent Events."""

    def __init__(self, http: httpx.AsyncClient, call_id: str, token: str) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._reading = asyncio.create_task(self._read(http, {"callId": call_id, "token": token}))

    async def _read(self, http: httpx.AsyncClient, query: dict[str, str]) -> None:
        async with http.stream("GET", "/mock/events", params=query, timeout=None) as response:
            assert response.status_code == 200
            name = ""
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    self.told.append((name, json.loads(value)))

    def last(self, name: str) -> dict[str, Any]:
        return next((data for kind, data in reversed(self.told) if kind == name), {})

    async def until_phase(self, phase: str) -> None:
        await until(lambda: self.last("state").get("phase") == phase)

    async def end(self) -> None:
        """The server has to end it."""
        await asyncio.wait_for(self._reading, 10)


# -- dialling ---------------------------------------------------------------------------------------------------


async def test_a_call_waits_for_somebody_who_opens_the_page(world: World) -> None:
    record = await world.ring()
    assert record.user_hint == f"open {world.url}/mock?callId={record.id} to start"
    assert record.status is Status.DIALING
    assert record.provider_call_id is None


async def test_the_page_is_named_where_the_outside_finds_it(world: World) -> None:
    record = await world.ring()
    started = await world.network.start_call(
        world.desk.attempts[record.id], Urls("http://127.0.0.1:1", "https://calls.example"), again=True
    )
    assert started.user_hint == f"open https://calls.example/mock?callId={record.id} to start"


async def test_nobody_answers_and_it_rings_again(world: World) -> None:
    record = await world.ring()
    calls = world.desk
    calls.attempts.pop(record.id)
    await calls.dial(record.id, ring_seconds=0.01)
    await until(lambda: calls.news)
    assert calls.news[0][1:] == (2, calls.news[0][2])
    assert calls.news[0][2].status is Status.NO_ANSWER
    await until(lambda: calls.records[record.id].attempt == 3)
    assert calls.records[record.id].status is Status.DIALING


async def test_without_its_page_nothing_is_dialled() -> None:
    network = MockTelephony(Server(), Door(), lambda: pytest.fail("nobody to ask"), TranscriptBoard())
    async with mock_world() as world:
        record = await world.ring()
        with pytest.raises(CannotCall):
            await network.start_call(world.desk.attempts[record.id], Urls("http://127.0.0.1:1"), again=False)


# -- talking ------------------------------------------------------------------------------------------------------


async def test_a_caller_answers_talks_and_hangs_up(world: World) -> None:
    record = await world.ring()
    ringing = world.network.line(record.id)
    assert ringing is not None
    async with StreamCaller.answering(world.url, record.id) as caller:
        await until(lambda: world.desk.records[record.id].status is Status.IN_PROGRESS)
        leg = world.door.legs[0]
        await caller.say(_tone(0.1))
        await caller.press("7")
        leg.play(pcm_to_ulaw(_tone(0.1)))
        leg.mark("played")
        await until(lambda: "played" in leg.marks)
        await until(lambda: leg.digits == ["7"])
        assert caller.heard_ms == 100
        assert pcm_to_ulaw(_tone(0.1)) in b"".join(leg.sound)
    await until(lambda: world.desk.records[record.id].settled)
    assert world.desk.records[record.id].status is Status.COMPLETED
    assert leg.over == "stopped"
    assert ringing.ringing is not None
    assert ringing.ringing.cancelled()


async def test_a_caller_returns_marks_when_what_is_queued_is_cleared(world: World) -> None:
    record = await world.ring()
    async with StreamCaller.answering(world.url, record.id) as caller:
        await until(lambda: world.door.legs)
        leg = world.door.legs[0]
        leg.play(pcm_to_ulaw(_tone(60)))
        leg.mark("never heard")
        await until(lambda: caller.heard_ms > 0)
        leg.clear()
        await until(lambda: leg.marks)
        assert caller.heard_ms < 30_000
        assert caller.clears == 1


async def test_hanging_up_closes_the_stream(world: World) -> None:
    record = await world.ring()
    async with StreamCaller.answering(world.url, record.id) as caller:
        await until(lambda: world.desk.records[record.id].status is Status.IN_PROGRESS)
        attempt = world.desk.attempts[record.id]
        await world.network.end_call(attempt, "")
        await world.network.end_call(attempt, "")
        await asyncio.wait_for(caller.closed.wait(), 10)
    await until(lambda: world.desk.records[record.id].settled)
    assert world.desk.records[record.id].status is Status.COMPLETED


async def test_nobody_answers_a_call_that_was_canceled(world: World, http: httpx.AsyncClient) -> None:
    record = await world.ring()
    page = Pages(http, record.id, "token-1")
    await page.until_phase("ringing")
    attempt = world.desk.attempts[record.id]
    await world.network.end_call(attempt, "")
    await page.until_phase("ending")
    refused = await http.post("/mock/outcome", json={"callId": record.id, "token": "token-1", "outcome": "busy"})
    assert refused.status_code == 403
    async with StreamCaller.calling(f"{world.url.replace('http', 'ws')}/voice/stream", record.id, "token-1") as caller:
        await asyncio.wait_for(caller.closed.wait(), 10)
    assert world.door.legs == []
    world.desk.settle(record.id, status=Status.CANCELED)
    await page.end()


async def test_a_stream_needs_the_token_and_only_once(world: World) -> None:
    record = await world.ring()
    stream = f"{world.url.replace('http', 'ws')}/voice/stream"
    async with StreamCaller.calling(stream, record.id, "guessed") as caller:
        await asyncio.wait_for(caller.closed.wait(), 10)
    assert world.door.legs == []
    async with StreamCaller.answering(world.url, record.id):
        await until(lambda: world.door.legs)
        async with StreamCaller.calling(stream, record.id, "token-1") as second:
            await asyncio.wait_for(second.closed.wait(), 10)
    assert len(world.door.legs) == 1


async def test_a_call_of_another_network_is_not_taken_over(world: World, http: httpx.AsyncClient) -> None:
    """Its token is no secret of ours, and our door has no lock."""
    record = await world.ring()
    world.network._lines.clear()
    world.desk.change(record.id, provider="twilio")
    stream = f"{world.url.replace('http', 'ws')}/voice/stream"
    async with StreamCaller.calling(stream, record.id, "token-1") as caller:
        await asyncio.wait_for(caller.closed.wait(), 10)
    assert world.door.legs == []
    page = await http.get("/mock", params={"callId": record.id})
    assert page.status_code == 404
    assert "token-1" not in page.text


async def test_an_engine_that_can_take_no_call_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(attempt: Attempt, start: StreamStarted, *_: object) -> Leg:
        raise OffhookError("no line is free")

    monkeypatch.setattr(world.door, "open", full)
    record = await world.ring()
    async with StreamCaller.answering(world.url, record.id) as caller:
        await asyncio.wait_for(caller.closed.wait(), 10)
    await until(lambda: world.desk.news)
    assert world.desk.news[0][2].status is Status.FAILED


# -- the buttons ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status"), [("busy", Status.BUSY), ("no-answer", Status.NO_ANSWER), ("reject", Status.FAILED)]
)
async def test_a_button_ends_the_attempt_and_the_next_one_rings_on_the_same_page(
    world: World, http: httpx.AsyncClient, outcome: str, status: Status
) -> None:
    record = await world.ring()
    page = Pages(http, record.id, "token-1")
    await page.until_phase("ringing")
    pressed = {"callId": record.id, "token": "token-1", "outcome": outcome}
    assert (await http.post("/mock/outcome", json=pressed)).json() == {"ok": True}
    assert [(number, news.status) for _, number, news in world.desk.news] == [(1, status)]
    await until(lambda: page.last("state").get("attempt") == 2)
    await page.until_phase("ringing")
    assert page.last("state")["token"] == "token-2"
    # The attempt it was pressed for is over.
    assert (await http.post("/mock/outcome", json=pressed)).status_code == 403
    assert (await http.post("/mock/outcome", json={**pressed, "token": "token-2"})).status_code == 200
    await until(lambda: page.last("state").get("attempt") == 3)
    await page.until_phase("ringing")
    assert (await http.post("/mock/outcome", json={**pressed, "token": "token-3"})).status_code == 200
    await page.until_phase("over")
    await page.end()
    assert page.last("state")["status"] == status.value


async def test_who_talks_is_not_busy(world: World, http: httpx.AsyncClient) -> None:
    record = await world.ring()
    async with StreamCaller.answering(world.url, record.id):
        await until(lambda: world.desk.records[record.id].status is Status.IN_PROGRESS)
        pressed = {"callId": record.id, "token": "token-1", "outcome": "busy"}
        assert (await http.post("/mock/outcome", json=pressed)).status_code == 403
    assert Status.BUSY not in [news.status for _, _, news in world.desk.news]


@pytest.mark.parametrize("wrong", [{"token": "guessed"}, {"callId": "unknown"}, {"token": "ü"}])
async def test_only_the_page_of_the_call_may_refuse_it(
    world: World, http: httpx.AsyncClient, wrong: dict[str, str]
) -> None:
    record = await world.ring()
    pressed = {"callId": record.id, "token": "token-1", "outcome": "busy", **wrong}
    assert (await http.post("/mock/outcome", json=pressed)).status_code == 403
    assert world.desk.news == []


async def test_there_are_three_outcomes(world: World, http: httpx.AsyncClient) -> None:
    record = await world.ring()
    pressed = {"callId": record.id, "token": "token-1", "outcome": "completed"}
    assert (await http.post("/mock/outcome", json=pressed)).status_code == 422


# -- the page ----------------------------------------------------------------------------------------------------


async def test_the_page_of_a_call_that_rings_has_its_token_and_keeps_strangers_out(
    world: World, http: httpx.AsyncClient
) -> None:
    record = await world.ring()
    page = await http.get("/mock", params={"callId": record.id})
    assert page.status_code == 200
    assert await token_of_page(world.url, record.id) == "token-1"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "://" not in page.text.replace("http://www.w3.org", "")


async def test_a_page_for_no_call_asks_for_one(http: httpx.AsyncClient) -> None:
    page = await http.get("/mock")
    assert page.status_code == 200
    assert "Enter the id of a call" in page.text


async def test_a_page_for_a_call_that_is_unknown_over_or_not_dialled_yet_says_so(
    world: World, http: httpx.AsyncClient
) -> None:
    unknown = await http.get("/mock", params={"callId": '"><script>alert(1)</script>'})
    assert unknown.status_code == 404
    assert "No such call" in unknown.text
    assert "<script>alert" not in unknown.text
    record = await world.ring()
    world.network._lines.clear()
    waiting = await http.get("/mock", params={"callId": record.id})
    assert "not been dialled yet" in waiting.text
    world.desk.settle(record.id, status=Status.NO_ANSWER)
    over = await http.get("/mock", params={"callId": record.id})
    assert over.status_code == 410
    assert "This call is over: no answer." in over.text
    assert 'data-token=""' in over.text


async def test_all_that_the_page_loads_is_ours(http: httpx.AsyncClient) -> None:
    for name in ("page.js", "phone.js", "stream.js", "sound.js", "page.css", "icon.svg"):
        asset = await http.get(f"/mock/assets/{name}")
        assert asset.status_code == 200, name
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in asset.text


async def test_nothing_else_is_served(http: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "..%2fmock.py", "page.html"):
        assert (await http.get(f"/mock/assets/{name}")).status_code == 404, name


async def test_the_page_reads_along(world: World, http: httpx.AsyncClient) -> None:
    record = await world.ring()
    world.board.said(record.id, "agent", "Hello.")
    page = Pages(http, record.id, "token-1")
    await page.until_phase("ringing")
    world.board.said(record.id, "caller", "Who is it?")
    await until(lambda: page.last("line") == {"speaker": "caller", "text": "Who is it?"})
    lines = [data["text"] for kind, data in page.told if kind == "line"]
    assert lines == ["Hello.", "Who is it?"]
    assert [data["kind"] for kind, data in page.told if kind == "note"] == ["dialing"]
    shown = page.last("state")["request"]
    assert shown == {"to": "+14155550123", "goal": "a dentist's appointment", "calleeName": "Dr. Lee"}
    world.desk.settle(record.id, status=Status.COMPLETED, outcome="scheduled")
    await page.end()
    assert page.last("state")["outcome"] == "scheduled"


@pytest.mark.parametrize("query", [{"token": "guessed"}, {"callId": "unknown"}])
async def test_strangers_do_not_read_along(world: World, http: httpx.AsyncClient, query: dict[str, str]) -> None:
    record = await world.ring()
    answer = await http.get("/mock/events", params={"callId": record.id, "token": "token-1", **query})
    assert answer.status_code == 403


async def test_closing_lets_go_of_the_pages(world: World, http: httpx.AsyncClient) -> None:
    record = await world.ring()
    page = Pages(http, record.id, "token-1")
    await page.until_phase("ringing")
    await world.network.close()
    await page.end()
    assert world.desk.news == []


# -- after a restart ----------------------------------------------------------------------------------------------


async def test_a_call_that_rang_rings_again_after_a_restart(world: World) -> None:
    record = await world.ring()
    attempt = world.desk.attempts[record.id]
    world.network._lines.clear()  # as a new engine begins
    await world.network.watch_call(attempt, "")
    line = world.network.line(record.id)
    assert line is not None
    await world.network.watch_call(attempt, "")
    assert world.network.line(record.id) is line
    async with StreamCaller.answering(world.url, record.id):
        await until(lambda: world.desk.records[record.id].status is Status.IN_PROGRESS)


async def test_a_conversation_has_not_survived_a_restart(world: World) -> None:
    record = await world.ring()
    attempt = world.desk.attempts[record.id]
    world.desk.change(record.id, status=Status.IN_PROGRESS)
    world.network._lines.clear()
    await world.network.watch_call(attempt, "")
    assert [(number, news.status) for _, number, news in world.desk.news] == [(1, Status.FAILED)]


# -- the rest of the port -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("ringing", Status.DIALING),
        ("in-progress", Status.IN_PROGRESS),
        ("no-answer", Status.NO_ANSWER),
        ("no_answer", Status.NO_ANSWER),
        ("Busy", Status.BUSY),
        ("canceled", Status.CANCELED),
    ],
)
async def test_words_of_a_network_are_ours(world: World, word: str, status: Status) -> None:
    news = world.network.map_status({"CallStatus": word})
    assert news is not None
    assert news.status is status


async def test_other_words_say_nothing(world: World) -> None:
    assert world.network.map_status({"CallStatus": "perplexed"}) is None
    assert world.network.map_status({}) is None


async def test_there_is_a_stub_of_an_answer(world: World) -> None:
    record = await world.ring()
    answer = world.network.build_voice_response(world.desk.attempts[record.id], world.desk.urls)
    assert ElementTree.fromstring(answer).find("Say") is not None


def test_many_threads_write_on_the_board() -> None:
    board = TranscriptBoard()

    def talk(speaker: int) -> None:
        for line in range(50):
            board.said("call", "agent", f"{speaker}:{line}")

    threads = [threading.Thread(target=talk, args=(speaker,)) for speaker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line.text for line in board.lines("call", 0)]
    assert len(said) == 200
    for speaker in range(4):
        assert [text for text in said if text.startswith(f"{speaker}:")] == [f"{speaker}:{n}" for n in range(50)]


def test_the_board_holds_the_latest_calls_and_no_empty_lines() -> None:
    board = TranscriptBoard(calls_kept=2)
    for call_id in ("one", "two", "three"):
        board.said(call_id, "caller", "hello")
    board.said("three", "caller", "  ")
    assert board.lines("one", 0) == ()
    assert [line.text for line in board.lines("three", 0)] == ["hello"]
    assert board.lines("three", 1) == ()
