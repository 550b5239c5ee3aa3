"""Calendars of others, read from files, web servers and CalDAV servers, by way of the whole bridge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from ai_engine.calendar.elsewhere import Elsewhere, Source
from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.jobs.settings import CalendarSettings
from tests.calendar.bridge_parts import Clock
from tests.calendar.ics_texts import dentist, ics
from tests.fakes.caldav_server import caldav_server
from tests.waiting import until

LOGIN = {"logins": {"work": {"user": "me", "password": "s3cret"}}}
WALK = dentist("20261202", "walk").replace("Dentist", "Walk")


class Calendar:
    """The embedded one; reads calendars elsewhere when it is told to."""

    def __init__(self, directory: Path, *urls: str, clock: Clock | None = None, **settings: Any) -> None:
        self.clock = clock or Clock()
        known = CalendarSettings.model_validate({"directory": directory, "import_urls": urls, **settings})
        self.embedded = EmbeddedCalendar(known, self.clock, own_zone="Europe/Berlin")
        self.elsewhere: Elsewhere = self.embedded._elsewhere

    async def busy(self, day: int = 1) -> list[str]:
        """What is in the way on that day of December, and from when."""
        day_long = {"start": f"2026-12-{day:02}T00:00", "end": f"2026-12-{day:02}T23:59", "timezone": "Europe/Berlin"}
        answer = await self.embedded.ask("check-slot", {"calendarIds": ["primary"], **day_long})
        return [f"{one['start'][11:16]} {one['summary']}" for one in answer["conflicts"]]

    async def read(self) -> dict[str, Any]:
        """The health of the first one afterwards."""
        await self.elsewhere.read_all()
        first: dict[str, Any] = self.embedded.health()["elsewhere"][0]
        return first


@asynccontextmanager
async def opened(directory: Path, *urls: str, **settings: Any) -> AsyncIterator[Calendar]:
    calendar = Calendar(directory / "own", *urls, **settings)
    try:
        yield calendar
    finally:
        await calendar.embedded.close()


class WebServer:
    """Serves one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.status = 200
        self.auth = ""
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        given = request.headers.get("Authorization")
        if self.auth and given != self.auth:
            return web.Response(status=401)
        if request.path == "/moved":
            raise web.HTTPFound("/calendar.ics")
        return web.Response(status=self.status, text=self.text, content_type="text/calendar")


@asynccontextmanager
async def serving(server: WebServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    async with TestServer(app, host="127.0.0.1") as listening:
        yield str(listening.make_url("/"))


# -- files and web servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_file(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "my calendar.ics"
    path.write_text(ics(dentist()))
    url = f"file://{str(path).replace(' ', '%20')}" if scheme else str(path)
    async with opened(tmp_path, url) as calendar:
        assert await calendar.busy() == []
        health = await calendar.read()
        assert await calendar.busy() == ["10:00 Dentist"]
        assert health == {
            "calendar": str(path) if not scheme else url,
            "ok": True,
            "read_at": "2026-11-30T07:00:00+00:00",
            "appointments": 1,
        }


async def test_what_is_busy_there_cannot_be_booked_here(tmp_path: Path) -> None:
    (tmp_path / "a.ics").write_text(ics(dentist()))
    async with opened(tmp_path, str(tmp_path / "a.ics")) as calendar:
        await calendar.read()
        body = {"calendarId": "any", "timezone": "Europe/Berlin", "title": "Visit", "idempotencyKey": "a"}
        times = {"start": "2026-12-01T10:30", "end": "2026-12-01T11:00"}
        answer = await calendar.embedded.ask("create-event", body | times)
        assert (answer["ok"], "Dentist" in answer["error"]) == (False, True)
        window = {"windowStart": "2026-12-01T09:00", "windowEnd": "2026-12-01T12:00", "durationMinutes": 60}
        found = await calendar.embedded.ask(
            "find-slots", {"calendarIds": ["any"], "timezone": "Europe/Berlin", **window}
        )
        assert [slot["start"][11:16] for slot in found["slots"]] == ["09:00", "11:00"]


async def test_what_changes_there_changes_here(tmp_path: Path) -> None:
    path = tmp_path / "a.ics"
    path.write_text(ics(dentist()))
    async with opened(tmp_path, str(path)) as calendar:
        await calendar.read()
        path.write_text(ics(WALK))
        await calendar.read()
        assert (await calendar.busy(1), await calendar.busy(2)) == ([], ["10:00 Walk"])


async def test_what_has_not_changed_is_worked_out_again_as_time_goes_by(tmp_path: Path) -> None:
    path = tmp_path / "a.ics"
    path.write_text(ics(dentist("20280104", "later")))
    async with opened(tmp_path, str(path)) as calendar:
        assert (await calendar.read())["appointments"] == 0
        calendar.clock.now += 30 * 24 * 3600
        assert (await calendar.read())["appointments"] == 1


async def test_a_web_server(tmp_path: Path) -> None:
    server = WebServer(ics(dentist()))
    async with serving(server) as url, opened(tmp_path, f"{url}moved?secret=1") as calendar:
        health = await calendar.read()
        assert await calendar.busy() == ["10:00 Dentist"]
        # The path of a private calendar is its password.
        assert (health["ok"], health["calendar"]) == (True, "http://127.0.0.1/\u2026")


async def test_a_web_server_that_wants_a_password(tmp_path: Path) -> None:
    server = WebServer(ics(dentist()))
    server.auth = encode_basic_auth("me", "s3cret")
    async with serving(server) as url:
        named = url.replace("http://", "http://work@")
        async with opened(tmp_path, f"{named}a.ics", **LOGIN) as calendar:
            assert (await calendar.read())["ok"]
        async with opened(tmp_path / "2", f"{url}a.ics", **LOGIN) as calendar:
            assert (await calendar.read())["error"] == "the server answers 401"


# -- what cannot be read ---------------------------------------------------------------------------------------


async def test_the_last_that_was_known_goes_on_to_count(tmp_path: Path) -> None:
    server = WebServer(ics(dentist()))
    async with serving(server) as url:
        async with opened(tmp_path, f"{url}a.ics") as calendar:
            await calendar.read()
            for status, text in ((500, ""), (200, "<html>Please log in</html>"), (200, "")):
                server.status, server.text = status, text
                with capture_logs() as logs:
                    health = await calendar.read()
                assert not health["ok"]
                assert health["appointments"] == 1
                assert await calendar.busy() == ["10:00 Dentist"]
                [line] = [line for line in logs if line["log_level"] == "error"]
                assert (line["calendar"], line["reason"]) == ("http://127.0.0.1/\u2026", health["error"])
            assert health["failures"] == 3
            assert not calendar.embedded.health()["ok"]
        # And after a restart.
        async with opened(tmp_path, f"{url}a.ics") as calendar:
            assert not (await calendar.read())["ok"]
            assert await calendar.busy() == ["10:00 Dentist"]
            server.status, server.text = 200, ics(WALK)
            assert (await calendar.read())["ok"]
            assert (await calendar.busy(1), await calendar.busy(2)) == ([], ["10:00 Walk"])
            assert calendar.embedded.health()["ok"]


async def test_one_that_is_not_named_any_more_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.ics").write_text(ics(dentist()))
    async with opened(tmp_path, str(tmp_path / "a.ics")) as calendar:
        await calendar.read()
    async with opened(tmp_path) as calendar:
        assert await calendar.busy() == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("/nowhere/a.ics", "the file cannot be read: No such file or directory"),
        ("ftp://127.0.0.1/a.ics", "nobody knows how to read ftp://"),
        ("http://127.0.0.1:1/a.ics", "the server cannot be reached: ConnectError"),
        ("caldav://127.0.0.1:1/dav/", "the server cannot be reached: ConnectionError"),
    ],
)
async def test_why_it_cannot_be_read(tmp_path: Path, url: str, error: str) -> None:
    (tmp_path / "b.ics").write_text(ics(dentist()))
    async with opened(tmp_path, url, str(tmp_path / "b.ics")) as calendar:
        health = await calendar.read()
        assert (health["ok"], health["error"]) == (False, error)
        # The others are read all the same.
        assert await calendar.busy() == ["10:00 Dentist"]


async def test_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.calendar.elsewhere._MOST_BYTES", 100)
    async with serving(WebServer(ics(dentist()))) as url, opened(tmp_path, url) as calendar:
        assert (await calendar.read())["error"] == "it has more than 100 bytes"


async def test_what_was_not_understood_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.ics").write_text(ics(dentist(), "UID:bad\nSUMMARY:No beginning"))
    async with opened(tmp_path, str(tmp_path / "a.ics")) as calendar:
        health = await calendar.read()
        assert (health["ok"], health["appointments"], health["misunderstood"]) == (True, 1, 1)


async def test_they_are_read_again_and_again(tmp_path: Path) -> None:
    server = WebServer(ics(dentist()))
    async with serving(server) as url, opened(tmp_path, url) as calendar:
        calendar.embedded._settings = calendar.embedded._settings.model_copy(update={"import_seconds": 0.01})
        await calendar.embedded.open()
        await until(lambda: server.asked >= 3)
        assert await calendar.busy() == ["10:00 Dentist"]


# -- CalDAV ----------------------------------------------------------------------------------------------------


def over_caldav(url: str, name: str = "") -> str:
    return url.replace("http://", f"caldav://{name}@" if name else "caldav://")


async def test_a_calendar_on_a_caldav_server(tmp_path: Path) -> None:
    weekly = dentist("20261103") + "\nRRULE:FREQ=WEEKLY"
    async with (
        caldav_server({"work": [ics(weekly), ics(WALK)], "home": [ics(dentist("20261203", "x"))]}) as server,
        opened(tmp_path, over_caldav(server.calendar_url("work"))) as calendar,
    ):
        health = await calendar.read()
        assert health["ok"], health
        days = [await calendar.busy(day) for day in (1, 2, 3, 8)]
        assert days == [["10:00 Dentist"], ["10:00 Walk"], [], ["10:00 Dentist"]]
    # Nothing but a look at what it is, and the query.
    assert [method for method, _ in server.requests] == ["PROPFIND", "REPORT"]


async def test_all_calendars_of_a_user(tmp_path: Path) -> None:
    login = ("me", "s3cret")
    async with (
        caldav_server({"work": [ics(dentist())], "home": [ics(WALK)]}, login) as server,
        opened(tmp_path, over_caldav(server.url, "work"), **LOGIN) as calendar,
    ):
        health = await calendar.read()
        assert health["ok"], health
        assert (await calendar.busy(1), await calendar.busy(2)) == (["10:00 Dentist"], ["10:00 Walk"])


async def test_only_the_time_that_counts_is_asked_for(tmp_path: Path) -> None:
    async with (
        caldav_server({"work": [ics(dentist("20200101")), ics(dentist())]}) as server,
        opened(tmp_path, over_caldav(server.calendar_url("work"))) as calendar,
    ):
        assert (await calendar.read())["appointments"] == 1


async def test_a_server_that_does_not_send_along_what_it_finds(tmp_path: Path) -> None:
    async with caldav_server({"work": [ics(dentist()), ics(WALK)]}) as server:
        server.keeps_data = False
        async with opened(tmp_path, over_caldav(server.calendar_url("work"))) as calendar:
            assert (await calendar.read())["appointments"] == 2
            assert [method for method, _ in server.requests].count("GET") == 2


async def test_an_appointment_that_cannot_be_fetched_is_not_free_time(tmp_path: Path) -> None:
    async with (
        caldav_server({"work": [ics(dentist()), ics(WALK)]}) as server,
        opened(tmp_path, over_caldav(server.calendar_url("work"))) as calendar,
    ):
        await calendar.read()
        server.keeps_data = False
        server.broken["/calendars/me/work/1.ics"] = 500
        health = await calendar.read()
        assert health["error"] == "the server answers 500 to a request for an appointment"
        assert (await calendar.busy(1), await calendar.busy(2)) == (["10:00 Dentist"], ["10:00 Walk"])


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/calendars/me/work/", 403, "the server does not accept the user or password"),
        ("/calendars/me/work/", 500, "the server does not answer as a CalDAV server does"),
        ("/calendars/me/work/", 404, "the server does not answer as a CalDAV server does"),
    ],
)
async def test_a_caldav_server_in_trouble(tmp_path: Path, path: str, status: int, error: str) -> None:
    async with (
        caldav_server({"work": [ics(dentist())]}) as server,
        opened(tmp_path, over_caldav(server.calendar_url("work"))) as calendar,
    ):
        await calendar.read()
        server.broken[path] = status
        health = await calendar.read()
        assert (health["ok"], health["error"].startswith(error)) == (False, True), health
        assert await calendar.busy() == ["10:00 Dentist"]


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with (
        caldav_server({"work": [ics(dentist())]}, ("me", "another")) as server,
        opened(tmp_path, over_caldav(server.calendar_url("work"), "work"), **LOGIN) as calendar,
    ):
        with capture_logs() as logs:
            health = await calendar.read()
        assert health["error"] == "the server does not accept the user or password"
        assert "s3cret" not in str(logs) + str(health)


def test_what_is_told_of_a_calendar_is_no_secret() -> None:
    shown = [Source(url).public_name for url in ("https://work@cal.example/private-abc/basic.ics", "my.ics")]
    assert shown == ["https://cal.example/\u2026", "my.ics"]
