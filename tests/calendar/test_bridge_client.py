"""Our client and bridges of others, good and bad."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ai_engine.calendar.client import BridgeClient
from ai_engine.jobs.ports import CalendarUnreachable

TIMES = {"start": "2026-12-01T10:00:00+01:00", "end": "2026-12-01T10:30:00+01:00"}
CHECK = {"calendarIds": ["primary"], **TIMES, "timezone": "Europe/Berlin"}
CREATE = {"calendarId": "primary", **TIMES, "timezone": "Europe/Berlin", "title": "Visit", "idempotencyKey": "a"}
FOUND = {"ok": True, "timezone": "UTC", "slots": [TIMES], "windowStart": "x", "windowEnd": "y"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ForeignBridge:
    """Answers whatever it is told to; remembers what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, Any], str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json(), request.headers.get("Authorization", "")))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def bridge(answer: Answer, token: str = "", seconds: float = 5.0) -> AsyncIterator[BridgeClient]:
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        client = BridgeClient(str(server.make_url("/prefix/")), token, seconds)
        await client.open()
        yield client
        await client.close()


async def test_what_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    foreign = ForeignBridge((200, FOUND))
    async with bridge(foreign.answer, "s3cret") as client:
        body = {**CHECK, "durationMinutes": 30}
        assert await client.ask("find-slots", body) == FOUND
    assert foreign.asked == [("/prefix/calendar/find-slots", body, "Bearer s3cret")]
    assert "s3cret" not in caplog.text


async def test_without_a_token_none_is_sent() -> None:
    foreign = ForeignBridge((200, {"ok": True}))
    async with bridge(foreign.answer) as client:
        await client.ask("check-slot", CHECK)
    assert foreign.asked[0][2] == ""


@pytest.mark.parametrize(
    ("operation", "status", "answer"),
    [
        ("find-slots", 200, {**FOUND, "more": "than we know"}),
        ("find-slots", 200, {**FOUND, "slots": []}),
        ("check-slot", 200, {"ok": True}),
        ("check-slot", 200, {"ok": True, "conflicts": None, "alternatives": None}),
        ("check-slot", 200, {"ok": True, "conflicts": [{"summary": "x", **TIMES}], "alternatives": [TIMES]}),
        ("create-event", 201, {"ok": True, "eventId": "e", **TIMES, "timezone": "UTC"}),
        ("create-event", 200, {"ok": True}),
        ("create-event", 200, {"ok": False, "error": "taken"}),
        ("create-event", 200, {"ok": False}),
        ("create-event", 409, {"ok": False, "error": "taken"}),
        ("create-event", 422, {"ok": False, "error": "title is missing"}),
        ("cancel-event", 404, {"ok": False, "error": "there is no such event"}),
    ],
)
async def test_what_is_an_answer(operation: str, status: int, answer: dict[str, Any]) -> None:
    async with bridge(ForeignBridge((status, answer)).answer) as client:
        assert await client.ask(operation, CREATE) == answer
        assert client.health() == {"ok": True, "asked": 1, "failed": 0}


@pytest.mark.parametrize(
    ("operation", "status", "answer", "reason"),
    [
        ("check-slot", 200, "<html>", "answers 200, and not in JSON"),
        ("check-slot", 200, "[" * 100_000, "answers 200, and not in JSON"),
        ("check-slot", 200, [], "answers 200, and not with a JSON object"),
        ("check-slot", 200, {}, "answers check-slot with a wrong ok"),
        ("check-slot", 200, {"ok": "yes"}, "answers check-slot with a wrong ok"),
        ("check-slot", 200, {"ok": True, "conflicts": "none"}, "answers check-slot with a wrong conflicts"),
        ("check-slot", 200, {"ok": True, "alternatives": [{"start": 5}]}, "a wrong alternatives.0.start"),
        ("find-slots", 200, {"ok": True}, "answers find-slots with a wrong slots"),
        ("create-event", 200, {"ok": True, "eventId": 5}, "answers create-event with a wrong eventId"),
        ("create-event", 302, {"ok": True}, "answers 302"),
        ("create-event", 400, "bad", "answers 400, and not in JSON"),
        ("create-event", 404, {"detail": "Not Found"}, "answers 404"),
        ("create-event", 409, {"ok": False}, "answers 409"),
        ("create-event", 409, {"ok": True, "eventId": "e"}, "answers 409"),
        ("create-event", 401, {"ok": False, "error": "who are you?"}, "answers 401: who are you?"),
        ("create-event", 429, {"ok": False, "error": "later"}, "answers 429: later"),
        ("create-event", 500, {"ok": False, "error": "oops"}, "answers 500: oops"),
        ("create-event", 503, "", "answers 503, and not in JSON"),
        ("find-slots", 200, "x" * 5_000_000, "answers with more than 4194304 bytes"),
    ],
)
async def test_what_is_none(operation: str, status: int, answer: Any, reason: str) -> None:
    async with bridge(ForeignBridge((status, answer)).answer) as client:
        with pytest.raises(CalendarUnreachable) as caught:
            await client.ask(operation, CREATE)
        assert str(caught.value).startswith("the calendar bridge at 127.0.0.1:")
        assert reason in str(caught.value)
        assert client.health() == {"ok": False, "asked": 1, "failed": 1, "error": str(caught.value)}


async def test_a_bridge_that_takes_too_long() -> None:
    done = asyncio.Event()

    async def begin_and_wait(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"ok": ')
        await done.wait()
        return response

    async with bridge(begin_and_wait, seconds=0.2) as client:
        with pytest.raises(CalendarUnreachable, match=r"does not answer within 0\.2 s"):
            await client.ask("check-slot", CHECK)
        done.set()


async def test_a_bridge_that_is_not_there() -> None:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    client = BridgeClient(f"http://127.0.0.1:{port}", "", 5.0)
    await client.open()
    with pytest.raises(CalendarUnreachable, match="cannot be reached: ConnectError"):
        await client.ask("check-slot", CHECK)
    await client.close()
    await client.close()


# -- what only our bridge knows --------------------------------------------------------------------------------


async def test_a_bridge_without_holds_is_asked_without() -> None:
    refusal = (400, {"ok": False, "error": "unknown key 'hold'"})
    foreign = ForeignBridge(refusal, (200, {"ok": True}))
    async with bridge(foreign.answer) as client:
        body = CHECK | {"hold": {"key": "A"}, "workingHours": {}}
        assert await client.ask("check-slot", body) == {"ok": True}
        assert await client.ask("check-slot", body) == {"ok": True}
        await client.ask("create-event", CREATE | {"holdKey": "A"})
    assert [asked for _, asked, _ in foreign.asked] == [body, CHECK, CHECK, CREATE]


async def test_what_is_wrong_anyway_says_nothing_of_holds() -> None:
    refusal = (422, {"ok": False, "error": "no such zone"})
    foreign = ForeignBridge(refusal, refusal, (200, {"ok": True}))
    async with bridge(foreign.answer) as client:
        body = CHECK | {"hold": {"key": "A"}}
        assert await client.ask("check-slot", body) == refusal[1]
        await client.ask("check-slot", body)
    assert [asked for _, asked, _ in foreign.asked] == [body, CHECK, body]


async def test_what_a_bridge_takes_is_sent() -> None:
    foreign = ForeignBridge((200, {"ok": True, "heldUntil": "2026-12-01T10:00:00Z"}))
    async with bridge(foreign.answer) as client:
        await client.ask("check-slot", CHECK | {"hold": {"key": "A"}})
    assert len(foreign.asked) == 1
