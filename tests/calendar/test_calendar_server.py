"""The bridge over HTTP: a real server on loopback, and our client or any other."""

import base64
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import icalendar
import pytest

from ai_engine.calendar.client import BridgeClient
from ai_engine.calendar.embedded import STORE_FILE, EmbeddedCalendar
from ai_engine.calendar.server import CalendarServer
from ai_engine.jobs.ports import CalendarUnreachable
from ai_engine.jobs.settings import CalendarSettings
from tests.calendar.bridge_parts import Clock

TOKEN = "t0ken-of-the-calendar"
CHECK = {
    "calendarIds": ["primary"],
    "start": "2026-12-01T10:00:00+01:00",
    "end": "2026-12-01T10:30:00+01:00",
    "timezone": "Europe/Berlin",
}
CREATE = {
    **{name: CHECK[name] for name in ("start", "end", "timezone")},
    "calendarId": "primary",
    "title": "Visit",
    "idempotencyKey": "call-1:10",
}


@asynccontextmanager
async def serving(directory: Path, token: str = "", **more: Any) -> AsyncIterator[str]:
    """Its base URL."""
    settings = CalendarSettings.model_validate({"directory": directory, "port": 0, "token": token, **more})
    calendar = EmbeddedCalendar(settings, Clock())
    server = CalendarServer(calendar, settings)
    await calendar.open()
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()
        await calendar.close()


@asynccontextmanager
async def asking(base_url: str, token: str = "") -> AsyncIterator[BridgeClient]:
    client = BridgeClient(base_url, token, 5.0)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def anybody(directory: Path, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    async with serving(directory, token) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


async def test_our_client_and_our_server(tmp_path: Path) -> None:
    async with serving(tmp_path, TOKEN) as url, asking(url, TOKEN) as client:
        held = await client.ask("check-slot", CHECK | {"hold": {"key": "call-1"}})
        assert held["heldUntil"]
        created = await client.ask("create-event", CREATE | {"holdKey": "call-1"})
        assert (created["ok"], created["start"]) == (True, CREATE["start"])
        assert await client.ask("create-event", CREATE) == created
        refused = await client.ask("create-event", CREATE | {"idempotencyKey": "another"})
        assert (refused["ok"], "is not free any more" in refused["error"]) == (False, True)
        assert (await client.ask("release-hold", {"key": "call-1"})) == {"ok": True, "released": False}
        assert client.health() == {"ok": True, "asked": 5, "failed": 0}


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        ("{", 400, "the body is no JSON"),
        ("[]", 400, "the body must be a JSON object"),
        ("[" * 100_000, 400, "the body is no JSON"),
        ("{}", 422, "calendarIds is missing"),
        (" " * 300_000, 413, "a body has 262144 bytes at most"),
    ],
)
async def test_bodies_that_are_none(tmp_path: Path, content: str, status: int, error: str) -> None:
    async with anybody(tmp_path) as client:
        response = await client.post("/calendar/check-slot", content=content)
        answer = response.json()
        assert (response.status_code, answer["ok"]) == (status, False)
        assert error in answer["error"]


async def test_refusals_have_a_status(tmp_path: Path) -> None:
    async with anybody(tmp_path) as client:
        assert (await client.post("/calendar/create-event", json=CREATE)).status_code == 200
        taken = await client.post("/calendar/create-event", json=CREATE | {"idempotencyKey": "b"})
        assert (taken.status_code, taken.json()["ok"]) == (409, False)
        unknown = await client.post("/calendar/wipe", json={})
        assert (unknown.status_code, unknown.json()["ok"]) == (404, False)
        nowhere = await client.post("/elsewhere", json={})
        assert (nowhere.status_code, nowhere.json()) == (404, {"ok": False, "error": "Not Found"})
        assert (await client.get("/health")).json() == {"ok": True}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {base64.b64encode(b'x:' + TOKEN.encode()).decode()}", TOKEN]
)
async def test_without_the_token(tmp_path: Path, header: str) -> None:
    async with anybody(tmp_path, TOKEN) as client:
        response = await client.post("/calendar/check-slot", json=CHECK, headers={"Authorization": header})
        assert (response.status_code, response.json()["ok"]) == (401, False)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "calendar.example:9100"},
        {"Host": "[::1"},
        {"Origin": "https://page.example"},
        {"X-Forwarded-For": "192.0.2.1"},
    ],
)
async def test_without_a_token_only_this_machine_is_answered(tmp_path: Path, headers: dict[str, str]) -> None:
    async with anybody(tmp_path) as client:
        assert (await client.post("/calendar/check-slot", json=CHECK)).status_code == 200
        response = await client.post("/calendar/check-slot", json=CHECK, headers=headers)
        assert (response.status_code, "CALENDAR_TOKEN" in response.json()["error"]) == (403, True)


async def test_with_the_token_others_are_answered_too(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with anybody(tmp_path, TOKEN) as client:
        headers = bearer | {"Host": "calendar.example", "X-Forwarded-For": "192.0.2.1"}
        assert (await client.post("/calendar/check-slot", json=CHECK, headers=headers)).status_code == 200


async def test_the_feed(tmp_path: Path, bearer: dict[str, str]) -> None:
    async with anybody(tmp_path, TOKEN) as client:
        for name in ("me@example.org", "a/b"):
            body = CREATE | {"calendarId": name, "idempotencyKey": name, "title": f"With {name}"}
            assert (await client.post("/calendar/create-event", json=body, headers=bearer)).status_code == 200
        for path, title in (("me@example.org", "With me@example.org"), ("a%2Fb", "With a/b")):
            # Calendar programs know users and passwords only.
            response = await client.get(f"/calendar/{path}.ics", auth=("anybody", TOKEN))
            assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
            [event] = icalendar.Calendar.from_ical(response.content).events
            assert event["SUMMARY"] == title
        assert (await client.get("/calendar/me@example.org.ics")).status_code == 401
        assert (await client.get("/calendar/me@example.org.ics", auth=("x", "wrong"))).status_code == 401
        empty = await client.get("/calendar/nobody.ics", headers=bearer)
        assert icalendar.Calendar.from_ical(empty.content).events == []


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as url:
        settings = CalendarSettings(directory=tmp_path / "other", port=int(url.rpartition(":")[2]))
        calendar = EmbeddedCalendar(settings, Clock())
        server = CalendarServer(calendar, settings)
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.stop()
        await calendar.close()


async def test_a_store_that_somebody_keeps_locked_is_a_503(tmp_path: Path) -> None:
    """What only reads is answered all the same."""
    async with serving(tmp_path, timeout_seconds=0.1) as url, asking(url) as client:
        async with httpx.AsyncClient(base_url=url) as anyone:
            with closing(sqlite3.connect(tmp_path / STORE_FILE, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                response = await anyone.post("/calendar/create-event", json=CREATE)
                assert response.status_code == 503
                assert response.json() == {
                    "ok": False,
                    "error": "the calendar's store cannot be used: database is locked",
                }
                with pytest.raises(CalendarUnreachable, match="answers 503: the calendar's store cannot be used"):
                    await client.ask("create-event", CREATE)
                assert (await client.ask("check-slot", CHECK))["conflicts"] == []
                assert (await anyone.get("/calendar/primary.ics")).status_code == 200
        assert (await client.ask("create-event", CREATE))["ok"]
