"""What a bridge answers."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.calendar.bridge import MOST_SLOTS
from ai_engine.calendar.refusals import Refused
from ai_engine.jobs.request import WorkingHours
from tests.calendar.bridge_parts import NOW, Desk, open_desk

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


# -- what is wrong is named ------------------------------------------------------------------------------------

CHECK = {"calendarIds": ["primary"], "start": TEN, "end": HALF_PAST, "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timezone": "Europe/Atlantis"}, "there is no time zone 'Europe/Atlantis'; write it like Europe/Berlin"),
        ({"timezone": "../../etc/passwd"}, "there is no time zone"),
        ({"workingHours": {"start": "9"}}, "workingHours.start: '9' is no time of day; write it like 09:30"),
        ({"workingHours": {"end": "24:30"}}, "'24:30' is no time of day"),
        ({"workingHours": {"days": [7]}}, "workingHours.days.0: "),
        ({"workingHours": {"from": "09:00"}}, "there is no 'workingHours.from' in check-slot"),
        ({"calendarId": "primary"}, "there is no 'calendarId' in check-slot (did you mean 'calendarIds'?)"),
        ({"calendar_ids": ["primary"]}, "there is no 'calendar_ids' in check-slot (did you mean 'calendarIds'?)"),
        ({"calendarIds": []}, "calendarIds: "),
        ({"start": None}, "start: is no time"),
        ({"start": 1764579600}, "start: is no time; write it like 2026-12-01T10:00:00+01:00"),
        ({"start": "ten"}, "start: "),
        ({"start": HALF_PAST}, "end must be after start"),
        ({"start": "0001-01-01T00:00:00"}, "start: the year 1 is out of reach"),
        ({"end": "9999-12-31T00:00:00"}, "end: the year 9999 is out of reach"),
        ({"end": "2027-12-01T10:00:00"}, "an appointment takes a month at most"),
        ({"start": "2027-03-28T02:30:00", "end": "2027-03-28T04:00"}, "start: there is no 02:30 on 2027-03-28"),
        ({"bufferBeforeMinutes": -1}, "bufferBeforeMinutes: "),
        ({"bufferBeforeMinutes": float("nan")}, "bufferBeforeMinutes: "),
        ({"hold": {"seconds": 5}}, "hold.key is missing"),
        ({"hold": {"key": "A", "seconds": 10**6}}, "hold.seconds: "),
    ],
)
def test_a_wrong_question(desk: Desk, change: dict[str, Any], reason: str) -> None:
    status, told = desk.refused("check-slot", CHECK | change)
    assert status == 422
    assert reason in told


def test_all_that_is_wrong_at_once(desk: Desk) -> None:
    status, told = desk.refused("find-slots", {"timezone": "X", "when": "now"})
    assert status == 422
    for name in ("calendarIds", "windowStart", "windowEnd", "durationMinutes"):
        assert f"{name} is missing" in told
    assert "there is no 'when' in find-slots" in told
    assert "there is no time zone 'X'" in told


def test_an_operation_that_nobody_knows(desk: Desk) -> None:
    assert desk.refused("delete-all", {}) == (
        404,
        "there is no operation 'delete-all'; there are find-slots, check-slot, create-event, release-hold, list-events,"
        " cancel-event",
    )


# -- find-slots ------------------------------------------------------------------------------------------------


def test_times_have_the_offset_of_the_zone_that_is_asked_for(desk: Desk) -> None:
    found = desk.find("2026-12-01T08:00:00Z", "2026-12-01T09:00:00Z", 60, timezone="America/New_York")
    assert found == [("2026-12-01T03:00:00-05:00", "2026-12-01T04:00:00-05:00")]
    answer = desk.ask(
        "find-slots",
        calendarIds=["primary"],
        windowStart="2026-12-01T09:00",
        windowEnd="2026-12-01T09:20",
        durationMinutes=30,
        timezone="Asia/Tokyo",
    )
    assert answer == {
        "ok": True,
        "timezone": "Asia/Tokyo",
        "slots": [],
        "windowStart": "2026-12-01T09:00:00+09:00",
        "windowEnd": "2026-12-01T09:20:00+09:00",
    }


def test_what_is_busy_in_any_of_the_calendars(desk: Desk) -> None:
    desk.create("2026-12-01T09:00", "2026-12-01T09:30", "a")
    desk.create("2026-12-01T10:00", "2026-12-01T10:30", "b", calendarId="other")
    window = ("2026-12-01T09:00", "2026-12-01T11:00")
    starts = [start[11:16] for start, _ in desk.find(*window, calendarIds=["primary", "other"])]
    assert starts == ["09:30", "10:30"]
    assert len(desk.find(*window, calendarIds=["third"])) == 4


def test_buffers_reach_over_the_edge_of_the_window(desk: Desk) -> None:
    desk.create("2026-12-01T08:30", "2026-12-01T09:00", "a")
    found = desk.find("2026-12-01T09:00", "2026-12-01T10:00", bufferBeforeMinutes=15)
    assert [start[11:16] for start, _ in found] == ["09:30"]


def test_granularity(desk: Desk) -> None:
    window = ("2026-12-01T09:00", "2026-12-01T10:00")
    assert [start[14:16] for start, _ in desk.find(*window, 30, granularityMinutes=10)] == ["00", "10", "20", "30"]
    assert len(desk.find(*window, 0.5)) == 60, "at least a minute"


def test_no_more_than_anybody_would_read(desk: Desk) -> None:
    found = desk.find("2026-12-01T00:00", "2027-11-30T00:00", 5, granularityMinutes=5)
    assert len(found) == MOST_SLOTS
    assert found[0][0] == "2026-12-01T00:00:00+01:00"


def test_a_window_is_a_year_at_most_and_not_upside_down(desk: Desk) -> None:
    body = {"calendarIds": ["primary"], "timezone": "UTC", "durationMinutes": 30, "windowStart": "2026-12-01T00:00"}
    assert "a window is a year at most" in desk.refused("find-slots", body | {"windowEnd": "2028-01-01T00:00"})[1]
    assert "windowEnd must be after windowStart" in desk.refused("find-slots", body | {"windowEnd": "2026-12-01"})[1]


# -- check-slot ------------------------------------------------------------------------------------------------


def test_alternatives_for_a_time_that_is_taken(desk: Desk) -> None:
    desk.create(TEN, HALF_PAST, "a")
    checked = desk.check("2026-12-01T10:15", "2026-12-01T10:45")
    assert [slot["start"][11:16] for slot in checked["alternatives"]] == ["10:30", "11:00", "09:30"]
    for slot in checked["alternatives"]:
        assert desk.check(slot["start"], slot["end"])["conflicts"] == []


def test_beyond_working_hours_is_a_conflict_of_its_own(desk: Desk) -> None:
    hours = {"start": "09:00", "end": "17:00", "days": [1, 2, 3, 4, 5]}
    late = ("2026-12-01T16:45:00+01:00", "2026-12-01T17:15:00+01:00")
    checked = desk.check(*late, workingHours=hours, hold={"key": "A"})
    reason = "outside working hours"
    assert checked["conflicts"] == [{"start": late[0], "end": late[1], "summary": reason, "reason": reason}]
    assert [slot["start"][11:16] for slot in checked["alternatives"]] == ["16:30", "16:00", "15:30"]
    assert "heldUntil" not in checked
    assert desk.check(*late)["conflicts"] == []


def test_alternatives_keep_to_the_usual_hours_where_the_question_does(tmp_path: Path) -> None:
    with open_desk(tmp_path / "hours.sqlite", hours=WorkingHours()) as desk:
        for hour in (9, 20):
            desk.create(f"2026-12-01T{hour:02}:00", f"2026-12-01T{hour:02}:30", f"{hour}")
        morning = desk.check("2026-12-01T09:00", "2026-12-01T09:30")
        assert [slot["start"][11:16] for slot in morning["alternatives"]] == ["09:30", "10:00", "10:30"]
        evening = desk.check("2026-12-01T20:00", "2026-12-01T20:30")
        assert [slot["start"][11:16] for slot in evening["alternatives"]] == ["20:30", "19:30", "21:00"]


def test_no_alternative_has_passed(desk: Desk) -> None:
    """It is eight o'clock on 30 November."""
    desk.create("2026-11-30T08:15", "2026-11-30T08:45", "a")
    checked = desk.check("2026-11-30T08:15", "2026-11-30T08:45")
    assert [slot["start"][11:16] for slot in checked["alternatives"]] == ["08:45", "09:15", "09:45"]


def test_a_hold(desk: Desk) -> None:
    held = desk.check(TEN, HALF_PAST, hold={"key": "A", "seconds": 60})
    assert held == {"ok": True, "conflicts": [], "alternatives": [], "heldUntil": "2026-11-30T08:01:00+01:00"}
    assert desk.check(TEN, HALF_PAST)["conflicts"][0]["summary"] == "held for somebody else"
    assert desk.check(TEN, HALF_PAST, hold={"key": "A"})["heldUntil"] == "2026-11-30T08:03:00+01:00"
    assert (TEN, HALF_PAST) not in desk.find("2026-12-01T09:00:00", "2026-12-01T11:00:00", 30)
    assert desk.ask("release-hold", key="A") == {"ok": True, "released": True}
    assert desk.ask("release-hold", key="A") == {"ok": True, "released": False}
    assert desk.check(TEN, HALF_PAST)["conflicts"] == []


def test_a_hold_is_not_in_the_way_of_its_own_alternatives(desk: Desk) -> None:
    desk.check("2026-12-01T10:30", "2026-12-01T11:00", hold={"key": "A"})
    desk.create(TEN, HALF_PAST, "a")
    checked = desk.check(TEN, HALF_PAST, hold={"key": "A"})
    assert checked["alternatives"][0]["start"] == HALF_PAST


# -- create-event ----------------------------------------------------------------------------------------------

CREATE = {
    "calendarId": "primary",
    "start": TEN,
    "end": HALF_PAST,
    "timezone": "Europe/Berlin",
    "title": "Visit",
    "idempotencyKey": "call-1:10",
}


def test_what_is_taken_is_refused_with_a_sentence(desk: Desk) -> None:
    desk.create(TEN, HALF_PAST, "a", title="Dentist")
    assert desk.refused("create-event", CREATE) == (
        409,
        f"{TEN} to {HALF_PAST} is not free any more: Dentist, {TEN} to {HALF_PAST}",
    )


def test_the_same_key_again(desk: Desk) -> None:
    first = desk.ask("create-event", **CREATE)
    assert desk.ask("create-event", **CREATE) == first
    in_utc = {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T09:30:00Z"}
    assert desk.ask("create-event", **CREATE | in_utc) == first
    naive = {"start": "2026-12-01T10:00", "end": "2026-12-01T10:30"}
    assert desk.ask("create-event", **CREATE | naive | {"holdKey": "A"}) == first
    assert [event.id for event in desk.written] == [first["eventId"]] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Other"},
        {"description": "more"},
        {"location": "there"},
        {"attendees": [{"email": "a@example.org"}]},
        {"timezone": "Europe/Paris"},
        {"end": "2026-12-01T10:45:00+01:00"},
    ],
)
def test_the_same_key_for_something_else(desk: Desk, change: dict[str, Any]) -> None:
    first = desk.ask("create-event", **CREATE)
    status, told = desk.refused("create-event", CREATE | change)
    assert status == 409
    assert told.startswith(f"idempotencyKey 'call-1:10' is that of another appointment: event {first['eventId']}")


def test_the_key_of_what_was_canceled(desk: Desk) -> None:
    event_id = desk.ask("create-event", **CREATE)["eventId"]
    canceled = {"ok": True, "calendarId": "primary", "eventId": event_id}
    assert desk.ask("cancel-event", calendarId="primary", eventId=event_id) == canceled
    status, told = desk.refused("create-event", CREATE)
    assert (status, "which was canceled" in told) == (409, True)
    assert desk.written[-1].canceled
    assert desk.refused("cancel-event", {"calendarId": "other", "eventId": event_id})[0] == 404


def test_the_hold_ends_with_the_appointment(desk: Desk) -> None:
    desk.check("2026-12-01T12:00", "2026-12-01T12:30", hold={"key": "A"})
    desk.ask("create-event", **CREATE, holdKey="A")
    assert desk.check("2026-12-01T12:00", "2026-12-01T12:30")["conflicts"] == []


@pytest.mark.parametrize("email", ["nobody", "a b@example.org", "a@example.org\r\nX-EVIL:1", "@", "a@"])
def test_what_is_no_mail_address(desk: Desk, email: str) -> None:
    status, told = desk.refused("create-event", CREATE | {"attendees": [{"email": email}]})
    assert (status, "is no e-mail address" in told) == (422, True)


def test_the_buffers_of_the_house_are_the_least(tmp_path: Path) -> None:
    """What is called free can be booked."""
    with open_desk(tmp_path / "b.sqlite", buffer_before_minutes=15, buffer_after_minutes=15) as desk:
        desk.create(TEN, HALF_PAST, "a")
        for buffers in ({}, {"bufferBeforeMinutes": 0, "bufferAfterMinutes": 0}):
            assert desk.check("2026-12-01T10:40", "2026-12-01T11:00", **buffers)["conflicts"]
        assert not desk.check("2026-12-01T10:45", "2026-12-01T11:00")["conflicts"]
        assert desk.check("2026-12-01T10:45", "2026-12-01T11:00", bufferBeforeMinutes=20)["conflicts"]
        soon = CREATE | {"start": "2026-12-01T10:40", "end": "2026-12-01T11:00", "idempotencyKey": "b"}
        assert desk.refused("create-event", soon)[0] == 409


def test_the_granularity_of_the_house(tmp_path: Path) -> None:
    with open_desk(tmp_path / "g.sqlite", granularity_minutes=20) as desk:
        window = ("2026-12-01T09:00", "2026-12-01T10:10")
        assert [start[14:16] for start, _ in desk.find(*window, 30)] == ["00", "20", "40"]
        assert [start[14:16] for start, _ in desk.find(*window, 30, granularityMinutes=30)] == ["00", "30"]


# -- list-events -----------------------------------------------------------------------------------------------


def test_what_was_made_is_listed(desk: Desk) -> None:
    guests = [{"email": "a@example.org"}, {"email": "b@example.org", "optional": True}]
    more = {"description": "About the roof", "location": "Office", "attendees": guests}
    event_id = desk.ask("create-event", **CREATE, **more)["eventId"]
    canceled = desk.create("2026-12-01T12:00", "2026-12-01T12:30", "b")["eventId"]
    desk.ask("cancel-event", calendarId="primary", eventId=canceled)
    window = {"windowStart": "2026-12-01T10:29", "windowEnd": "2026-12-02", "timezone": "Europe/Berlin"}
    listed = desk.ask("list-events", calendarIds=["primary"], **window)
    event = {name: CREATE[name] for name in ("calendarId", "start", "end", "timezone", "title")}
    assert listed == {"ok": True, "timezone": "Europe/Berlin", "events": [{"eventId": event_id, **event, **more}]}
    assert desk.ask("list-events", calendarIds=["other"], **window)["events"] == []


# -- whatever is asked -----------------------------------------------------------------------------------------

TIMES = st.integers(0, 24).map(lambda n: (NOW.replace(day=1, month=12) + timedelta(minutes=15 * n)).isoformat())


@settings(max_examples=30, deadline=None)
@given(
    booked=st.lists(st.tuples(TIMES, st.sampled_from([15, 30, 60])), max_size=8),
    minutes=st.sampled_from([15, 20, 45]),
    buffers=st.tuples(st.sampled_from([0, 10]), st.sampled_from([0, 25])),
    house=st.tuples(st.sampled_from([0, 5]), st.sampled_from([0, 15])),
)
def test_every_time_that_is_found_passes_the_check_and_can_be_booked(
    booked: list[tuple[str, int]], minutes: int, buffers: tuple[int, int], house: tuple[int, int]
) -> None:
    own = {"buffer_before_minutes": house[0], "buffer_after_minutes": house[1]}
    asked = {"bufferBeforeMinutes": buffers[0], "bufferAfterMinutes": buffers[1]}
    with tempfile.TemporaryDirectory() as folder, open_desk(Path(folder) / "c.sqlite", **own) as desk:
        for number, (start, length) in enumerate(booked):
            end = (datetime.fromisoformat(start) + timedelta(minutes=length)).isoformat()
            with suppress(Refused):
                desk.create(start, end, f"booked {number}")
        found = desk.find("2026-12-01T07:00", "2026-12-01T16:00", minutes, **asked)
        for start, end in found:
            assert desk.check(start, end, **asked)["conflicts"] == []
        made = [desk.create(*found[0], "first")] if found else []
        for slot in found[1:]:
            with suppress(Refused):
                made.append(desk.create(*slot, str(slot)))
        assert made or not found
        listed = desk.ask(
            "list-events", calendarIds=["primary"], windowStart="2026-12-01", windowEnd="2026-12-02", timezone="UTC"
        )["events"]
        times = [(event["start"], event["end"]) for event in listed]
        assert all(end <= start for (_, end), (start, _) in pairwise(times))
