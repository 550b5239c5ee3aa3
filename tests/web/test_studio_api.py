"""The studio API, over real HTTP: who may ask, what is refused, and streams that nobody, or somebody slow, reads."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from openapi_spec_validator import validate
from pydantic import SecretStr

from ai_engine.jobs.request import Wire
from ai_engine.observe.live import LiveCalls
from ai_engine.switchboard.models import EventKind, LogLine, StudioCall, StudioEvent
from ai_engine.switchboard.ports import Refused
from ai_engine.web.lines import as_lines
from ai_engine.web.studio_api import Studio
from tests.fakes.front_door import TOKEN, FrontDoor, front_door
from tests.fakes.switchboard import CALL, ENGINE, LINE, NOW, ScriptedSwitchboard
from tests.waiting import until

RUN = "the-token-of-this-run"
ROUTES = [
    ("GET", "/studio/engine"), ("GET", "/studio/calls"), ("POST", "/studio/calls"), ("DELETE", "/studio/calls/x"),
    ("POST", "/studio/calls/x/transfer"), ("POST", "/studio/calls/x/listen"), ("POST", "/studio/calls/x/whisper"),
    ("DELETE", "/studio/listeners/x"), ("GET", "/studio/rooms"), ("POST", "/studio/rooms"),
    ("DELETE", "/studio/rooms/x"), ("GET", "/studio/agents"), ("GET", "/studio/trunks"), ("POST", "/studio/reconcile"),
    ("GET", "/studio/events"), ("GET", "/studio/logs"),
]  # fmt: skip


@asynccontextmanager
async def studio(
    board: ScriptedSwitchboard, token: str = RUN, **settings: Any
) -> AsyncIterator[tuple[FrontDoor, httpx.AsyncClient]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        front_door(studio=Studio(board, SecretStr(RUN)), **settings) as door,
        httpx.AsyncClient(base_url=door.url, headers=headers, trust_env=False) as http,
    ):
        yield door, http


@pytest.mark.parametrize("tokens", [[], [TOKEN]])
@pytest.mark.parametrize("given", ["", "a-guess"])
async def test_nobody_passes_without_a_token_not_even_from_this_machine(tokens: list[str], given: str) -> None:
    board = ScriptedSwitchboard()
    async with studio(board, given, tokens=tokens) as (_, http):
        for method, path in ROUTES:
            response = await http.request(method, path, json={"nonsense": 1} if method == "POST" else None)
            assert (path, response.status_code) == (path, 401)
            assert RUN not in response.text
    assert (board.asked, board.readers) == ([], [])


@pytest.mark.parametrize("token", [RUN, TOKEN])
async def test_the_token_of_the_run_is_as_good_as_those_of_the_configuration(token: str) -> None:
    async with studio(ScriptedSwitchboard(), token, tokens=[TOKEN]) as (_, http):
        assert (await http.get("/studio/engine")).json() == ENGINE.as_json()
        assert (await http.get("/calls")).status_code == 200
        assert "turned_away" in (await http.get("/health")).json()


async def test_the_token_of_the_run_takes_nothing_from_those_who_need_none() -> None:
    async with studio(ScriptedSwitchboard(), "") as (_, http):
        assert (await http.get("/calls")).status_code == 200
        assert "turned_away" in (await http.get("/health")).json()
        through = {"X-Forwarded-For": "203.0.113.7"}
        assert (await http.get("/calls", headers=through)).status_code == 403
        assert (await http.get("/calls", headers={**through, "Authorization": f"Bearer {RUN}"})).status_code == 200
        assert (await http.get("/calls", headers={**through, "Authorization": "Bearer guess"})).status_code == 403


async def test_without_a_studio_there_is_none() -> None:
    async with front_door() as door, httpx.AsyncClient(base_url=door.url, trust_env=False) as http:
        assert (await http.get("/studio/engine")).status_code == 404
        assert not any("/studio" in path for path in (await http.get("/openapi.json")).json()["paths"])


@pytest.mark.parametrize(
    ("kind", "status"), [("not-found", 404), ("not-capable", 409), ("refused", 403), ("asterisk", 502)]
)
async def test_what_is_refused(kind: str, status: int) -> None:
    board = ScriptedSwitchboard()
    board.answers = {name: Refused(kind, "It cannot be.") for name in board.answers}
    async with studio(board) as (_, http):
        for path in ("/studio/engine", "/studio/agents", "/studio/rooms"):
            response = await http.get(path)
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
            assert (response.json()["type"], response.json()["detail"]) == (f"urn:offhook:{kind}", "It cannot be.")
        assert (await http.delete("/studio/calls/x")).status_code == status


@pytest.mark.parametrize(
    ("path", "body", "pointer", "says"),
    [
        ("/studio/calls", {"agent": "a", "to": "+1", "from": "+2"}, "/from", "fromNumber"),
        ("/studio/calls", {"to": "+1"}, "/agent", "missing"),
        ("/studio/calls", {"agent": "a", "to": "nobody"}, "/to", "no telephone number"),
        ("/studio/calls", {"agent": "a", "to": "+1", "ringSeconds": 0}, "/ringSeconds", "greater"),
        ("/studio/calls", {"agent": "a", "to": "+1", "variables": {"a b": "c"}}, "/variables/a b/[key]", "match"),
        ("/studio/calls/x/transfer", {"extension": "7000,1"}, "/extension", "match"),
        ("/studio/calls/x/listen", {"extension": ""}, "/extension", "match"),
        ("/studio/calls/x/whisper", {"text": ""}, "/text", "at least 1"),
        ("/studio/rooms", {"agent": "a", "channel": "../x"}, "/channel", "match"),
    ],
)
async def test_a_wrong_key_is_told_by_its_name(path: str, body: dict[str, Any], pointer: str, says: str) -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (_, http):
        response = await http.post(path, json=body)
        assert response.status_code == 422
        (wrong,) = response.json()["errors"]
        assert (wrong["pointer"], says in wrong["detail"]) == (pointer, True), wrong
        assert (await http.post(path, content=b"{", headers={"Content-Type": "application/json"})).status_code == 400
        assert (await http.post(path, content=b"{}")).status_code == 415
    assert board.asked == []


async def test_the_document_is_valid_and_has_every_route() -> None:
    async with studio(ScriptedSwitchboard()) as (_, http):
        document = (await http.get("/openapi.json")).json()
    validate(document)
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {(method, path.replace("/x", "/{id}")) for method, path in ROUTES} <= described


def test_the_page_for_programs_names_every_route_and_every_kind_of_event() -> None:
    page = Path("docs/studio_api.md").read_text()
    for method, path in ROUTES:
        plain = path.replace("/x", "/{id}")
        assert re.search(rf"`[A-Z`, ]*{method}[A-Z`, ]* {re.escape(plain)}(?![\w/{{])", page), (method, path)
    for kind in (*get_args(EventKind), "not-found", "not-capable", "refused", "asterisk"):
        assert f"`{kind}`" in page


def _said(text: str) -> StudioEvent:
    return StudioEvent(at=NOW, kind="said", call_id="call-1", data={"who": "caller", "text": text, "none": None})


async def test_five_look_on_and_one_is_cut_off() -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (door, _), AsyncExitStack() as open_ones:
        readers = [await open_ones.enter_async_context(_reading(door, "/studio/events")) for _ in range(5)]
        await until(lambda: len(board.readers) == 5)
        await board.happen(_said("hello"))
        for reader, _ in readers:
            assert json.loads(await _line(reader)) == _said("hello").as_json()
        readers[0][1].close()
        await until(lambda: len(board.readers) == 4)
        await board.happen(_said("again"))
        for reader, writer in readers[1:]:
            assert json.loads(await _line(reader))["data"]["text"] == "again"
            writer.close()
        await until(lambda: not board.readers)


async def test_who_looks_on_and_leaves_is_let_go() -> None:
    """With the engine's own readers: one that stays behind would have levels measured with nobody looking."""

    class Watched(ScriptedSwitchboard):
        def events(self) -> AsyncIterator[StudioEvent]:
            return live.events()

    live = LiveCalls(lambda _: None)
    async with studio(Watched()) as (_, http):
        for _ in range(3):
            async with http.stream("GET", "/studio/events") as response:
                async for _ in response.aiter_raw():
                    break
                await until(lambda: live.watched)
            await until(lambda: not live.watched)


async def test_who_does_not_read_holds_up_nobody() -> None:
    board = ScriptedSwitchboard()
    async with (
        studio(board) as (door, _),
        _reading(door, "/studio/events"),
        _reading(door, "/studio/events") as (reader, _),
    ):
        await until(lambda: len(board.readers) == 2)
        for number in range(200):
            await board.happen(_said(f"{number} " + "x" * 100_000))
        async with asyncio.timeout(10):
            for number in range(200):
                assert json.loads(await _line(reader))["data"]["text"].startswith(f"{number} ")
        assert board.readers[0].qsize() > 0  # it waits there, where whoever fills it has a bound
    await until(lambda: not board.readers)


async def test_too_many_look_on() -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (door, http):
        async with AsyncExitStack() as open_ones:
            for _ in range(32):
                await open_ones.enter_async_context(_reading(door, "/studio/logs?follow=1"))
            await until(lambda: len(board.readers) == 32)
            response = await http.get("/studio/events")
            assert (response.status_code, response.json()["type"]) == (429, "urn:offhook:refused")
        await until(lambda: not board.readers)
        assert (await http.get("/studio/logs")).status_code == 200


async def test_the_log() -> None:
    board = ScriptedSwitchboard()
    async with studio(board) as (_, http):
        response = await http.get("/studio/logs", params={"call": "call-1"})
        assert response.headers["content-type"] == "application/x-ndjson"
        assert [LogLine.model_validate_json(line) for line in response.text.strip().split("\n")] == [LINE]
        assert board.asked == [("logs", "call-1", False)]


async def test_a_sign_of_life_and_what_waits_together() -> None:
    board = ScriptedSwitchboard()
    lines = as_lines(board.events(), quiet_seconds=0.01)
    assert [await anext(lines), await anext(lines)] == [b"\n", b"\n"]
    for text in "ab":
        await board.happen(_said(text))
    assert [json.loads(line)["data"]["text"] for line in (await anext(lines)).splitlines()] == ["a", "b"]
    await lines.aclose()
    assert board.readers == []


async def test_what_breaks_a_stream_ends_it() -> None:
    async def broken() -> AsyncIterator[Wire]:
        yield CALL
        raise RuntimeError("our fault")

    lines = as_lines(broken())
    with pytest.raises(RuntimeError):
        async for _ in lines:
            pass


async def test_a_call_is_asked_for_in_camel_case() -> None:
    board = ScriptedSwitchboard()
    body = {"agent": "a", "to": "+1 (555) 0100", "fromNumber": "+2", "ringSeconds": 5, "variables": {"name": "Ann"}}
    async with studio(board) as (_, http):
        response = await http.post("/studio/calls", json=body)
        assert (response.status_code, response.json()["id"]) == (202, "job-1")
    asked = StudioCall(agent="a", to="+15550100", from_number="+2", ring_seconds=5, variables={"name": "Ann"})
    assert board.asked == [("call", asked)]


@asynccontextmanager
async def _reading(door: FrontDoor, path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has asked, and reads only as it is told; cut off at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port, limit=2**20)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {RUN}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        while (await reader.readline()).strip():
            pass
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line of JSON, out of its chunks."""
    while not (line := await reader.readline()).startswith(b"{"):
        pass
    return line
