"""What the demos prepare for an appointment, and what they find afterwards."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ai_engine.config import load
from scripts.trial import booking
from scripts.trial.rootfs import TrialError

SECRETS = {"ASTERISK_ARI_USERNAME": "a", "ASTERISK_ARI_PASSWORD": "b"}


def test_the_engine_takes_the_configuration(tmp_path: Path) -> None:
    config = load(booking.write_config(tmp_path, {"server": {"port": 4711}}), SECRETS)
    assert config.call_agent is not None
    assert config.call_agent.enabled
    assert config.call_agent.server.port == 4711
    assert config.call_agent.calendar.directory == tmp_path / "calendar"
    assert "calendar_create_event" in config.tools_of(booking.AGENT)


async def made(folder: Path, start: datetime, title: str = "Garden visit") -> None:
    """An appointment as the engine would make it."""
    body = {
        "calendarId": "primary",
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "timezone": booking.ZONE,
        "title": title,
        "idempotencyKey": f"{title}{start}",
    }
    await booking._ask(folder, "create-event", body)


def recorded(folder: Path, *results: dict[str, Any]) -> Path:
    """The engine's folder of a call in which times were checked."""
    used = [{"speaker": "tool", "tool": {"name": "calendar_check_slot", "result": result}} for result in results]
    folder = folder / "call"
    folder.mkdir()
    (folder / "transcript.json").write_text(json.dumps([{"speaker": "caller", "text": "hello"}, *used]))
    return folder


async def checks(folder: Path, talk: Path, *, was_taken: bool) -> dict[str, bool]:
    outcome = await booking.outcome(folder, talk)
    return {check.what: check.good for check in outcome.checks(was_taken=was_taken)}


async def test_all_is_well(tmp_path: Path) -> None:
    taken = booking.taken_time()
    await booking.take(tmp_path, taken)
    earlier, later = (taken + timedelta(minutes=minutes) for minutes in (-30, 30))
    await made(tmp_path, later)
    talk = recorded(
        tmp_path,
        {"available": False, "alternatives": [{"start": each.isoformat()} for each in (earlier, later)]},
        {"available": True, "start": later.isoformat()},
    )
    found = await checks(tmp_path, talk, was_taken=True)
    assert len(found) == 5
    assert all(found.values()), found
    outcome = await booking.outcome(tmp_path, talk)
    assert "SUMMARY:Garden visit" in outcome.ics
    assert [event["title"] for event in outcome.appointments] == ["Delivery of the spring bulbs", "Garden visit"]


async def test_the_wrong_time(tmp_path: Path) -> None:
    taken = booking.taken_time()
    await made(tmp_path, taken)
    later = (taken + timedelta(hours=1)).isoformat()
    found = await checks(tmp_path, recorded(tmp_path, {"available": True, "start": later}), was_taken=False)
    assert [what for what, good in found.items() if not good] == ["it is at the time that was read back and confirmed"]


async def test_nothing_was_booked(tmp_path: Path) -> None:
    await booking.take(tmp_path, booking.taken_time())
    found = await checks(tmp_path, recorded(tmp_path), was_taken=True)
    assert [what for what, good in found.items() if good] == ["no time is booked twice"]


async def test_a_time_that_is_taken_cannot_be_taken_again(tmp_path: Path) -> None:
    start = booking.taken_time()
    await made(tmp_path, start)
    with pytest.raises(TrialError, match="the calendar does not do create-event: .* is not free any more"):
        await booking.take(tmp_path, start)
