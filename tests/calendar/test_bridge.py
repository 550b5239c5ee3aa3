"""What a bridge answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.calendar.bridge_parts import Desk, open_desk

TEN, HALF_PAST = "2026-12-01T10:00:00+01:00", "2026-12-01T10:30:00+01:00"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "calendar.sqlite") as opened:
        yield opened


def test_a_time_is_found_checked_booked_and_then_taken(desk: Desk) -> None:
    found = desk.find("2026-12-01T09:00:00", "2026-12-01T11:00:00", 30)
    assert (TEN, HALF_PAST) in found
    assert len(found) == 4
    assert desk.check(TEN, HALF_PAST) == {"ok": True, "conflicts": [], "alternatives": []}
    created = desk.create(TEN, HALF_PAST, "call-1:10")
    assert created == {
        "ok": True,
        "eventId": created["eventId"],
        "calendarId": "primary",
        "start": TEN,
        "end": HALF_PAST,
        "timezone": "Europe/Berlin",
    }
    checked = desk.check(TEN, HALF_PAST)
    assert checked["conflicts"] == [{"summary": "Visit", "start": TEN, "end": HALF_PAST}]
    assert (TEN, HALF_PAST) not in desk.find("2026-12-01T09:00:00", "2026-12-01T11:00:00", 30)
