"""The calendar of the settings: the engine's own, served to others, or a bridge elsewhere."""

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ai_engine.app.desk_parts import CalendarPart
from ai_engine.errors import ConfigError
from ai_engine.jobs.ports import CalendarUnreachable
from ai_engine.jobs.settings import CalendarSettings, CallAgentSettings
from scripts.trial.programs import free_port

START = (datetime.now(UTC) + timedelta(days=3)).replace(hour=10, minute=0, second=0, microsecond=0)
EVENT: dict[str, Any] = {
    "calendarId": "primary",
    "start": START.isoformat(),
    "end": (START + timedelta(minutes=30)).isoformat(),
    "timezone": "Europe/Berlin",
    "title": "Visit",
    "idempotencyKey": "call:1",
}


def part(**calendar: Any) -> CalendarPart:
    settings = CallAgentSettings(calendar=CalendarSettings(**calendar))
    return CalendarPart(settings, "Europe/Berlin", time.time)


async def test_an_engine_books_in_the_calendar_of_another(tmp_path: Path) -> None:
    port = free_port()
    served = part(directory=tmp_path, port=port)
    elsewhere = part(base_url=f"http://127.0.0.1:{port}")
    await served.open()
    await elsewhere.open()
    try:
        assert (await elsewhere.ask("create-event", EVENT))["ok"] is True
        assert (await served.ask("create-event", EVENT))["ok"] is True, "the same key is the same appointment"
        assert served.health()["embedded"] is True
        assert elsewhere.health() == {"embedded": False, "ok": True, "asked": 1, "failed": 0}
    finally:
        await elsewhere.close()
        await served.close()


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = part(directory=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"call_agent\.calendar\.port: \d+: .*in use"):
            await served.open()
        await served.close()


async def test_a_bridge_that_is_away_is_told_of(tmp_path: Path) -> None:
    away = part(base_url=f"http://127.0.0.1:{free_port()}")
    await away.open()
    with pytest.raises(CalendarUnreachable):
        await away.ask("create-event", EVENT)
    assert away.health()["ok"] is False
    await away.close()


@pytest.mark.parametrize("calendar", [{}, {"base_url": "http://127.0.0.1:9"}])
async def test_what_was_never_opened_can_be_closed(tmp_path: Path, calendar: dict[str, Any]) -> None:
    await part(directory=tmp_path, **calendar).close()
