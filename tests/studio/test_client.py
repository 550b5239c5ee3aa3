"""The client of the switchboard against a real server, and against what is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from ai_engine.jobs.request import CallRequest
from ai_engine.studio.client import StudioClient
from ai_engine.switchboard.models import RoomRequest, StudioCall, StudioEvent, Transfer
from ai_engine.switchboard.ports import Refused, Switchboard
from ai_engine.web.connection import EngineUnreachable
from ai_engine.web.studio_api import Studio
from tests.fakes.front_door import TOKEN, FrontDoor, front_door
from tests.fakes.switchboard import AGENT, CALL, ENGINE, LINE, NOW, RECORD, ROOM, TRUNK, ScriptedSwitchboard
from tests.fakes.tool_servers import HttpTarget, Reply
from tests.waiting import until

RUN = "the-token-of-this-run"


@asynccontextmanager
async def studio(board: ScriptedSwitchboard, **settings: Any) -> AsyncIterator[tuple[FrontDoor, StudioClient]]:
    async with (
        front_door(studio=Studio(board, SecretStr(RUN)), **settings) as door,
        StudioClient(door.url + "/", RUN) as client,
    ):
        yield door, client


async def test_every_question_and_its_answer() -> None:
    board = ScriptedSwitchboard()
    call = StudioCall(agent="a", to="+1", variables={"name": "Ann"})
    room = RoomRequest(agent="a", channel="lobby")
    async with studio(board) as (_, client):
        switchboard: Switchboard = client
        assert await switchboard.engine() == ENGINE
        assert (list(await switchboard.calls()), list(await switchboard.rooms())) == ([CALL], [ROOM])
        assert (list(await switchboard.agents()), list(await switchboard.trunks())) == ([AGENT], [TRUNK])
        assert await switchboard.call(call) == RECORD
        assert await switchboard.hang_up("a b?c") == CALL
        assert await switchboard.transfer("x", Transfer()) == CALL
        assert await switchboard.transfer("x", Transfer(extension="7000", context="office")) == CALL
        assert await switchboard.listen("x", "1000@office") == "ear-1"
        await switchboard.stop_listening("ear-1")
        await switchboard.whisper("x", "Be brief.")
        assert await switchboard.start_room(room) == ROOM
        assert await switchboard.stop_room("lobby") == ROOM
        assert (await switchboard.reconcile()).written == ("studio-1",)
    assert board.asked[5:] == [
        ("call", call),
        ("hang_up", "a b?c"),
        ("transfer", "x", Transfer()),
        ("transfer", "x", Transfer(extension="7000", context="office")),
        ("listen", "x", "1000@office"),
        ("stop_listening", "ear-1"),
        ("whisper", "x", "Be brief."),
        ("start_room", room),
        ("stop_room", "lobby"),
        ("reconcile",),
    ]


async def test_what_was_asked_for() -> None:
    async with studio(ScriptedSwitchboard()) as (door, client):
        record = await door.desk.call_agent(CallRequest(to="+1", prompt="Talk."))
        assert await client.job(record.id) == record
        assert list(await client.jobs(limit=1)) == [record]
        assert list(await client.timeline(record.id)) == list(await door.desk.timeline(record.id))
        assert await client.job("nobody") is None
        assert list(await client.timeline("nobody")) == []


@pytest.mark.parametrize("kind", ["not-found", "not-capable", "refused", "asterisk"])
async def test_what_is_refused(kind: str) -> None:
    board = ScriptedSwitchboard()
    board.answers["hang_up"] = Refused(kind, "It cannot be.")
    async with studio(board) as (_, client):
        with pytest.raises(Refused, match=r"^It cannot be\.$") as met:
            await client.hang_up("x")
    assert met.value.kind == kind


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../engine", "x" * 300])
async def test_what_can_be_no_id(id: str) -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (_, client):
        with pytest.raises(Refused):
            await client.hang_up(id)
        with pytest.raises(Refused):
            await client.stop_room(id)
    assert board.asked == []


async def test_events_until_the_engine_ends() -> None:
    board = ScriptedSwitchboard()
    seen: list[StudioEvent] = []

    async def follow(client: StudioClient) -> None:
        async for event in client.events():
            seen.append(event)  # noqa: PERF401 - as they come

    async with studio(board) as (door, client):
        following = [asyncio.create_task(follow(client)) for _ in range(5)]
        await until(lambda: len(board.readers) == 5)
        event = StudioEvent(at=NOW, kind="levels", call_id="x", data={"caller": -20.5, "none": None})
        await board.happen(event)
        await until(lambda: len(seen) == 5)
        following.pop().cancel()
        await until(lambda: len(board.readers) == 4)
        await door.server.stop()
        for one in following:
            with pytest.raises(EngineUnreachable):
                await one
    assert {one.at for one in seen} == {NOW}
    assert seen[0].data["caller"] == -20.5


async def test_the_log_and_a_reader_who_leaves_early() -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (_, client):
        assert [line async for line in client.logs("call-1")] == [LINE]
        async with aclosing(client.logs("call-1", follow=True)) as lines:
            async for line in lines:
                assert line == LINE
                break
        await until(lambda: not board.readers)
    assert board.asked == [("logs", "call-1", False), ("logs", "call-1", True)]


async def test_nobody_is_there() -> None:
    async with front_door() as door:
        url = door.url
    async with StudioClient(url, RUN) as client:
        for question in (client.engine(), client.job("x"), anext(client.events()), anext(client.logs())):
            with pytest.raises(EngineUnreachable, match="no engine answers at"):
                await question


@pytest.mark.parametrize("token", ["", "of-another-run-or-engine", "schlüssel", "\udce4"])
async def test_a_token_that_is_not_the_engines(token: str) -> None:
    async with studio(ScriptedSwitchboard(), tokens=[TOKEN]) as (door, _), StudioClient(door.url, token) as client:
        for question in (client.engine(), client.job("x"), anext(client.events())):
            with pytest.raises(EngineUnreachable, match=r"does not take this token: .*studio\.directory") as met:
                await question
            assert not token or token not in str(met.value)
        assert RUN not in repr(client)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "127.0.0.1:4545", "http://[::1", "ftp://x", "", "http://x:y"]
)
async def test_what_is_no_url(url: str) -> None:
    async with StudioClient(url, RUN) as client:
        for question in (client.engine(), anext(client.events())):
            with pytest.raises(EngineUnreachable):
                await question


async def test_an_engine_without_a_studio() -> None:
    async with front_door() as door, StudioClient(door.url, RUN) as client:
        with pytest.raises(EngineUnreachable, match="needs a section 'studio'"):
            await client.engine()


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(body={"calls": [{"id": 7}]}), "another version"),
        (Reply(body={}), "another version"),
        (Reply(body=[]), "no engine"),
        (Reply(raw=b"<html>", content_type="text/html"), "no engine"),
        (Reply(404, {"error": "not found"}), "no engine"),
        (Reply(302, location="http://127.0.0.1:9/calls"), "no engine"),
    ],
)
async def test_what_answers_is_no_engine(reply: Reply, says: str) -> None:
    async with HttpTarget({"/studio/calls": reply}).listening() as target, StudioClient(target.url, RUN) as client:
        with pytest.raises(EngineUnreachable, match=says):
            await client.calls()


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(raw=b'{"no": "event"}\n', content_type="application/x-ndjson"), "another version"),
        (Reply(raw=b"<html>\n", content_type="text/html"), "another version"),
        (Reply(raw=b"x" * 1_000_001, content_type="text/html"), "no engine"),
        (Reply(raw=b"", content_type="application/x-ndjson"), "ended the connection"),
    ],
)
async def test_what_streams_is_no_engine(reply: Reply, says: str) -> None:
    async with HttpTarget({"/studio/events": reply}).listening() as target, StudioClient(target.url, RUN) as client:
        with pytest.raises(EngineUnreachable, match=says):
            await anext(client.events())


async def test_it_does_not_wait_for_ever() -> None:
    slow = HttpTarget({"/studio/calls": Reply(delay_seconds=60)})
    async with slow.listening() as target, StudioClient(target.url, RUN, timeout_seconds=0.05) as client:
        with pytest.raises(EngineUnreachable, match="ReadTimeout"):
            await client.calls()


async def test_a_connection_that_is_cut_in_the_middle_of_a_line() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"at": "\r\n')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with StudioClient(f"http://127.0.0.1:{port}", RUN) as client:
            with pytest.raises(EngineUnreachable, match="no engine answers"):
                await anext(client.events())
