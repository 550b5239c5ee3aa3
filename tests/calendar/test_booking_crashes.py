"""Wherever a booking is cut off there is all of it or nothing, and asking again makes it one."""

import multiprocessing
from pathlib import Path
from typing import Any

import icalendar
import pytest

from ai_engine.calendar.slots import Span
from ai_engine.calendar.store import Store
from tests.calendar.bridge_parts import BERLIN, NOW
from tests.calendar.crashes import CutOff, bridge_with_files, cut_off_at, fail, kill

FORK = multiprocessing.get_context("fork")

BODY = {
    "calendarId": "primary",
    "start": "2026-12-01T10:00:00",
    "end": "2026-12-01T10:30:00",
    "timezone": BERLIN,
    "title": "Visit",
    "idempotencyKey": "call-1:2026-12-01T09:00:00Z",
    "holdKey": "call-1",
}
HOLD = {
    "calendarIds": ["primary"],
    **{name: BODY[name] for name in ("start", "end", "timezone")},
    "hold": {"key": "call-1", "seconds": 60},
}
DAY = Span(*(NOW.replace(day=1, month=12, hour=hour) for hour in (0, 23)))


def book(directory: Path) -> dict[str, Any]:
    with bridge_with_files(directory) as (bridge, _):
        return bridge.carry_out("create-event", BODY)


def in_a_child(directory: Path, step: int) -> int | None:
    """The exit code of a process that books, and is killed at ``step``."""

    def die() -> None:
        with cut_off_at(step, kill):
            book(directory)

    child = FORK.Process(target=die)
    child.start()
    child.join()
    return child.exitcode


def steps(tmp_path: Path) -> list[str]:
    with cut_off_at(0, fail) as taken:
        prepare(tmp_path / "whole")
        before = len(taken)
        book(tmp_path / "whole")
    return taken[before:]


def prepare(directory: Path) -> None:
    """The time is held for the call."""
    with bridge_with_files(directory) as (bridge, _):
        assert "heldUntil" in bridge.carry_out("check-slot", HOLD)


def check_all_or_nothing(directory: Path) -> None:
    with bridge_with_files(directory) as (bridge, store):
        found = store.events(["primary"], DAY)
        held = store.taken(["primary"], DAY)
        # Either the appointment stands, or the hold does.
        assert len(found) <= 1
        assert len(held) == 1
        first = bridge.carry_out("create-event", BODY)
        again = bridge.carry_out("create-event", BODY)
        assert first == again
        assert not found or found[0].id == first["eventId"]
        check_one_event(store, first["eventId"])
    files = [path for path in (directory / "primary").iterdir() if path.suffix == ".ics"]
    assert [path.name for path in files] == [f"{first['eventId']}.ics"]
    [event] = icalendar.Calendar.from_ical(files[0].read_bytes()).events
    assert event["UID"] == f"{first['eventId']}@offhook"


def check_one_event(store: Store, event_id: str) -> None:
    assert [event.id for event in store.events(["primary"], DAY)] == [event_id]
    assert [taken.summary for taken in store.taken(["primary"], DAY)] == ["Visit"]


def test_the_steps_of_a_booking(tmp_path: Path) -> None:
    """So that the tests below are known to reach all that matters."""
    taken = steps(tmp_path)
    assert taken.count("before INSERT") == 1
    assert taken.count("before DELETE") == 1
    assert "before commit" in taken
    assert taken[-2:] == ["before replace", "after replace"]


def test_failing_at_any_step(tmp_path: Path) -> None:
    for step in range(1, len(steps(tmp_path)) + 1):
        directory = tmp_path / str(step)
        prepare(directory)
        with cut_off_at(step, fail), pytest.raises(CutOff):
            book(directory)
        check_all_or_nothing(directory)


def test_killed_at_any_step(tmp_path: Path) -> None:
    for step in range(1, len(steps(tmp_path)) + 1):
        directory = tmp_path / str(step)
        prepare(directory)
        assert in_a_child(directory, step) == -9
        check_all_or_nothing(directory)
