"""The engine's own bridge, in its own process and beside another."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import icalendar
import pytest

from ai_engine.calendar.embedded import STORE_FILE, EmbeddedCalendar
from ai_engine.errors import ConfigError
from ai_engine.jobs.ports import Calendar, CalendarUnreachable
from ai_engine.jobs.settings import CalendarSettings
from tests.calendar.bridge_parts import BERLIN, Clock
from tests.waiting import until

CREATE = {
    "calendarId": "primary",
    "start": "2026-12-01T10:00:00+01:00",
    "end": "2026-12-01T10:30:00+01:00",
    "timezone": BERLIN,
    "title": "Visit",
    "idempotencyKey": "a",
}


def embedded(directory: Path, **settings: Any) -> EmbeddedCalendar:
    return EmbeddedCalendar(CalendarSettings.model_validate({"directory": directory, **settings}), Clock())


async def test_it_is_a_calendar(tmp_path: Path) -> None:
    own = embedded(tmp_path)
    calendar: Calendar = own
    await own.open()
    answer = await calendar.ask("create-event", CREATE)
    assert answer["ok"]
    assert (await calendar.ask("create-event", CREATE | {"idempotencyKey": "b"}))["ok"] is False
    assert (await calendar.ask("nothing", {}))["ok"] is False
    assert own.health() == {"ok": True, "asked": 3, "refused": 2, "failed": 0, "ics_failures": 0, "elsewhere": []}
    [event] = icalendar.Calendar.from_ical((tmp_path / "primary" / f"{answer['eventId']}.ics").read_bytes()).events
    assert event["SUMMARY"] == "Visit"
    await own.close()
    await own.close()


async def test_two_engines_of_one_folder(tmp_path: Path) -> None:
    one, other = embedded(tmp_path), embedded(tmp_path)
    wanted = [CREATE | {"idempotencyKey": f"{at}"} for at in range(8)]
    answers = await asyncio.gather(*(own.ask("create-event", body) for body in wanted for own in (one, other)))
    made = [answer["eventId"] for answer in answers if answer["ok"]]
    assert len(made) == 2, "once, and once more with the same key"
    assert len(set(made)) == 1
    await one.close()
    await other.close()


async def test_what_a_crash_left_unwritten_is_written_at_the_start(tmp_path: Path) -> None:
    first = embedded(tmp_path)
    answer = await first.ask("create-event", CREATE)
    path = tmp_path / "primary" / f"{answer['eventId']}.ics"
    path.unlink()
    await first.close()
    again = embedded(tmp_path)
    await again.open()
    assert path.exists()
    await again.close()


async def test_a_booking_holds_though_its_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "primary").write_text("in the way")
    own = embedded(tmp_path)
    assert (await own.ask("create-event", CREATE))["ok"]
    assert own.health()["ics_failures"] == 1
    await own.close()


async def test_the_loop_goes_on_while_the_store_is_waited_for(tmp_path: Path) -> None:
    own, other = embedded(tmp_path), embedded(tmp_path)
    release = asyncio.Event()
    with other._database.transaction():
        asked = asyncio.create_task(own.ask("create-event", CREATE))
        asyncio.get_running_loop().call_soon(release.set)
        await release.wait()
        assert not asked.done()
    assert (await asked)["ok"]
    await own.close()
    await other.close()


async def test_a_store_that_cannot_be_had_in_time(tmp_path: Path) -> None:
    own, other = embedded(tmp_path, timeout_seconds=0.05), embedded(tmp_path)
    with other._database.transaction(), pytest.raises(CalendarUnreachable, match="database is locked"):
        await own.ask("create-event", CREATE)
    assert own.health()["failed"] == 1
    await own.close()
    await other.close()


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"call_agent\.calendar\.directory: .*file cannot hold a calendar: "):
        embedded(tmp_path / "file")


def test_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_bytes(b"something else" * 100)
    with pytest.raises(ConfigError, match="file is not a database"):
        embedded(tmp_path)


# -- on its own ------------------------------------------------------------------------------------------------

ALONE = """
import asyncio, sys, time
from pathlib import Path
from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.calendar.server import serve
from ai_engine.jobs.settings import CalendarSettings

settings = CalendarSettings(directory=Path(sys.argv[1]), port=int(sys.argv[2]))
asyncio.run(serve(EmbeddedCalendar(settings, time.time), settings))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_bridge_alone_until_it_is_told_to_stop(tmp_path: Path, how: signal.Signals) -> None:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    command = [sys.executable, "-W", "error", "-c", ALONE, str(tmp_path), str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as bridge:  # noqa: ASYNC220 - it starts at once
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await until(lambda: _listens(port), 30)
                response = await client.post("/calendar/create-event", json=CREATE)
                assert response.json()["ok"]
        finally:
            bridge.send_signal(how)
        _, said = await asyncio.to_thread(bridge.communicate, timeout=20)
    assert (bridge.returncode, said) == (0, b"")
    assert len(list((tmp_path / "primary").iterdir())) == 1


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
