"""Times found, checked, held and booked in a call, with the engine's own calendar."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ai_engine.jobs.briefing import CALENDAR_TOOLS
from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.settings import Defaults
from ai_engine.session.toolbox import Toolbox
from ai_engine.text import when
from ai_engine.tools import calendar as tools
from ai_engine.tools.appointment import Slot, is_open, nearest, spread
from ai_engine.tools.calendar import Checked, Held, calendar_tools
from ai_engine.tools.schema import refusal
from tests.fakes.bookings import OwnCalendar
from tests.fakes.tool_call import ToolCall

NOW = datetime.fromisoformat("2026-11-30T08:00:00+01:00")
"""A Monday morning."""
TUESDAY_TEN = "2026-12-01T10:00:00+01:00"

JOB = {
    "job": "job-1",
    "goal": "a visit of the garden",
    "callee": "Ada",
    "user": "Robert",
    "calendar_id": "garden",
    "timezone": "Europe/Berlin",
    "working_hours": '{"start": "10:00", "end": "12:00", "days": [2, 3]}',
    "window_start": "2026-12-01T00:00:00+01:00",
    "window_end": "2026-12-04T00:00:00+01:00",
    "duration_minutes": "45",
}


class Desk:
    """The tools, and what calls they are used in."""

    def __init__(self, directory: Path) -> None:
        self.bookings = OwnCalendar(directory, NOW)
        self.now = NOW
        made = calendar_tools(
            self.bookings, self.bookings.settings, Defaults(), "Europe/Berlin", lambda: self.now.astimezone(UTC)
        )
        self.toolbox = Toolbox(made)
        self.call = ToolCall()

    async def use(self, name: str, call: ToolCall | None = None, **arguments: Any) -> Mapping[str, Any]:
        result, _ = await self.toolbox.use(f"calendar_{name}", arguments, call or self.call)
        return result


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    await desk.bookings.calendar.close()


def said(start: str) -> str:
    return when.spoken(datetime.fromisoformat(start), NOW)


def starts(times: list[Mapping[str, str]]) -> list[str]:
    return [each["start"][:16] for each in times]


def test_they_are_what_an_assignment_names(desk: Desk) -> None:
    assert tuple(spec.name for spec in desk.toolbox.specs) == CALENDAR_TOOLS
    assert [refusal(spec.parameters) for spec in desk.toolbox.specs] == [None, None, None]


async def test_a_time_is_checked_held_and_booked(desk: Desk) -> None:
    checked = await desk.use("check_slot", day="tuesday", time="ten")
    assert checked["available"] is True
    assert checked["start"] == TUESDAY_TEN
    assert checked["spoken"] == said(TUESDAY_TEN)
    assert checked["day"] == "2026-12-01"
    assert "wait for a clear yes" in checked["instruction"]
    other = await desk.use("check_slot", OtherCall(), start=TUESDAY_TEN)
    assert other["available"] is False
    booked = await desk.use("create_event", start=TUESDAY_TEN, title="Garden visit", idempotencyKey="mine")
    assert (booked["ok"], booked["start"], booked["spoken"]) == (True, TUESDAY_TEN, said(TUESDAY_TEN))
    assert "use hangup" in booked["instruction"]
    [event] = await desk.bookings.events()
    assert (event["eventId"], event["title"], event["end"]) == (
        booked["eventId"],
        "Garden visit",
        "2026-12-01T10:30:00+01:00",
    )
    assert "Number: +15551234" in event["description"]


class OtherCall(ToolCall):
    call_id = "call-2"


async def test_what_was_checked_last_is_booked_where_no_time_is_named(desk: Desk) -> None:
    await desk.use("check_slot", day="2026-12-02", time="10:00")
    await desk.use("check_slot", start=TUESDAY_TEN)
    assert (await desk.use("create_event"))["start"] == TUESDAY_TEN
    [event] = await desk.bookings.events()
    assert event["title"] == "Appointment"


async def test_only_what_was_checked_in_this_call_is_booked(desk: Desk) -> None:
    await desk.use("check_slot", OtherCall(), start=TUESDAY_TEN)
    for arguments in ({"start": TUESDAY_TEN}, {"day": "tuesday", "time": "ten"}, {}):
        refused = await desk.use("create_event", **arguments)
        assert refused["ok"] is False
        assert "use calendar_check_slot first" in refused["error"]
    assert await desk.bookings.events() == []


async def test_the_same_moment_may_be_written_otherwise(desk: Desk) -> None:
    await desk.use("check_slot", start=TUESDAY_TEN)
    assert (await desk.use("create_event", start="2026-12-01T09:00:00Z"))["ok"] is True


async def test_booked_twice_it_is_one_appointment(desk: Desk) -> None:
    await desk.use("check_slot", start=TUESDAY_TEN)
    first = await desk.use("create_event", start=TUESDAY_TEN, title="Visit", idempotencyKey="a")
    again = await desk.use("create_event", start=TUESDAY_TEN, title="A visit of the garden", idempotencyKey="b")
    assert again == first
    assert len(await desk.bookings.events()) == 1
    [body, _] = [body for operation, body in desk.bookings.asked if operation == "create-event"]
    assert body["idempotencyKey"] == "call-1:2026-12-01T09:00:00Z"


async def test_a_time_that_is_taken_has_two_others_and_keeps_the_secret_of_whose_it_is(desk: Desk) -> None:
    await desk.bookings.take(TUESDAY_TEN, "2026-12-01T10:30:00+01:00")
    checked = await desk.use("check_slot", day="tuesday", time="ten")
    assert checked["available"] is False
    assert checked["reason"] == "that time is taken"
    assert starts(checked["alternatives"]) == ["2026-12-01T09:30", "2026-12-01T10:30"]
    assert checked["offer"] == "tomorrow at nine thirty, or tomorrow at ten thirty"
    assert [each["start"] for each in checked["conflicts"]] == [TUESDAY_TEN]
    assert "Miller" not in json.dumps(checked)
    refused = await desk.use("create_event", start=TUESDAY_TEN)
    assert refused["ok"] is False


async def test_a_time_that_was_taken_meanwhile_must_be_checked_again(desk: Desk) -> None:
    checked = await desk.use("check_slot", start=TUESDAY_TEN)
    assert checked["available"] is True
    await desk.bookings.calendar.ask("release-hold", {"key": "call-1"})
    await desk.bookings.take(TUESDAY_TEN, "2026-12-01T10:30:00+01:00")
    refused = await desk.use("create_event", start=TUESDAY_TEN)
    assert refused["ok"] is False
    assert "could not be booked" in refused["error"]
    assert "Miller" not in json.dumps(refused)
    assert "was not checked" in (await desk.use("create_event", start=TUESDAY_TEN))["error"]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("2026-11-30T07:30:00+01:00", "that time has passed"),
        ("2026-12-01T20:00:00+01:00", "that is outside working hours"),
        ("2026-12-01T16:45:00+01:00", "that is outside working hours"),
        ("2026-12-06T10:00:00+01:00", "that is outside working hours"),
    ],
)
async def test_times_at_which_nothing_can_be(desk: Desk, start: str, reason: str) -> None:
    checked = await desk.use("check_slot", start=start)
    assert (checked["available"], checked["reason"]) == (False, reason)
    assert len(checked["alternatives"]) == 2
    for each in checked["alternatives"]:
        begin = datetime.fromisoformat(each["start"])
        assert begin >= NOW
        assert begin.isoweekday() <= 5
        assert 9 <= begin.hour < 17
        again = await desk.use("check_slot", OtherCall(), start=each["start"])
        assert again["available"] is True


async def test_what_the_order_of_the_call_says_comes_first(desk: Desk) -> None:
    call = ToolCall(JOB)
    checked = await desk.use(
        "check_slot", call, start="2026-12-01T10:00:00", timezone="America/New_York", calendarIds=["primary"]
    )
    assert (checked["start"], checked["end"]) == (TUESDAY_TEN, "2026-12-01T10:45:00+01:00")
    booked = await desk.use("create_event", call, calendarId="boss")
    assert booked["ok"] is True
    [event] = await desk.bookings.events("garden")
    assert event["title"] == "a visit of the garden"
    assert event["description"].splitlines()[1:3] == ["With: Ada", "For: Robert"]
    assert desk.bookings.asked[-1][1]["idempotencyKey"] == "job-1:2026-12-01T09:00:00Z"
    assert desk.bookings.asked[0][1]["hold"]["key"] == "job-1"


@pytest.mark.parametrize("start", ["2026-12-08T10:00:00+01:00", "2026-12-01T14:00:00+01:00"])
async def test_the_order_says_when_it_may_be(desk: Desk, start: str) -> None:
    checked = await desk.use("check_slot", ToolCall(JOB), start=start)
    assert checked["available"] is False
    assert checked["reason"].startswith("that is outside ")
    assert len(checked["alternatives"]) == 2
    for each in checked["alternatives"]:
        assert each["start"][:10] in ("2026-12-01", "2026-12-02")
        assert each["start"][11:13] in ("10", "11")


async def test_free_times_of_a_day(desk: Desk) -> None:
    await desk.bookings.take("2026-12-01T09:00:00+01:00", "2026-12-01T16:00:00+01:00")
    assert starts((await desk.use("find_slots", day="today"))["slots"])[0] == "2026-11-30T09:00"
    found = await desk.use("find_slots", day="tuesday")
    assert starts(found["slots"]) == ["2026-12-01T16:00", "2026-12-01T16:30"]
    assert (found["day"], found["more"]) == ("2026-12-01", 0)
    assert found["offer"] == f"{found['slots'][0]['spoken']}, or {found['slots'][1]['spoken']}"
    nothing = await desk.use("find_slots", day="2026-12-05")
    assert (nothing["ok"], nothing["slots"], nothing["offer"]) == (True, [], "")


async def test_of_many_free_times_some_are_told(desk: Desk) -> None:
    found = await desk.use("find_slots")
    assert starts(found["slots"])[0] == "2026-11-30T09:00"
    assert starts(found["slots"])[-1] == "2026-12-11T16:30"
    assert len(found["slots"]) == 3
    assert found["more"] == 10 * 16 - 3


async def test_a_window_and_hours_of_the_agents_own(desk: Desk) -> None:
    found = await desk.use(
        "find_slots",
        windowStart="2026-11-01T00:00:00",
        windowEnd="2026-12-02T00:00:00",
        durationMinutes=60,
        workingHours={"start": "15:00", "end": "20:00", "days": [1, 2]},
    )
    assert starts(found["slots"]) == ["2026-11-30T15:00", "2026-11-30T16:00", "2026-12-01T16:00"]
    refused = await desk.use("find_slots", workingHours={"start": "soon"})
    assert "workingHours are like" in refused["error"]


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"time": "ten"}, {"missing": "day"}),
        ({"day": "tuesday"}, {"missing": "time", "day": "2026-12-01"}),
        ({"start": "yesterday"}, {}),
        ({"start": TUESDAY_TEN, "end": TUESDAY_TEN}, {}),
        ({"start": TUESDAY_TEN, "timezone": "Mars/Base"}, {"error": "there is no time zone 'Mars/Base'; write"}),
        ({"day": "bananaday", "time": "ten"}, {}),
    ],
)
async def test_what_cannot_be_looked_up(desk: Desk, arguments: dict[str, Any], result: dict[str, Any]) -> None:
    refused = await desk.use("check_slot", **arguments)
    assert refused["ok"] is False
    for name, value in result.items():
        assert str(refused[name]).startswith(value)
    assert desk.bookings.asked == []


async def test_a_calendar_out_of_reach(desk: Desk) -> None:
    await desk.use("check_slot", start=TUESDAY_TEN)
    desk.bookings.lost = True
    for name in ("find_slots", "check_slot"):
        failed = await desk.use(name, day="tuesday", time="ten") if name == "check_slot" else await desk.use(name)
        assert failed["ok"] is False
        assert "cannot be reached" in failed["error"]
        assert "secret" not in failed["error"]
    pending = await desk.use("create_event", start=TUESDAY_TEN)
    assert (pending["ok"], pending["pending"], pending["spoken"]) == (False, True, said(TUESDAY_TEN))
    assert "do not offer another time" in pending["instruction"]
    desk.bookings.lost = False
    assert (await desk.use("create_event", start=TUESDAY_TEN))["ok"] is True


async def test_who_said_yes_is_booked_though_they_hang_up(desk: Desk) -> None:
    await desk.use("check_slot", start=TUESDAY_TEN)
    desk.bookings.late = asyncio.Event()
    call = asyncio.create_task(desk.use("create_event"))
    await desk.bookings.begun.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    desk.bookings.late.set()
    await desk.bookings.done.wait()
    assert len(await desk.bookings.events()) == 1


async def test_a_booking_that_takes_too_long_is_noted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "BOOKING_SECONDS", 0.01)
    await desk.use("check_slot", start=TUESDAY_TEN)
    desk.bookings.late = asyncio.Event()
    assert (await desk.use("create_event"))["pending"] is True
    desk.bookings.late.set()
    await desk.bookings.done.wait()
    assert len(await desk.bookings.events()) == 1


def slot(start: str, minutes: int = 30) -> Slot:
    begin = datetime.fromisoformat(start)
    return Slot(begin, begin + timedelta(minutes=minutes))


def test_what_is_remembered_of_calls_has_an_end() -> None:
    held = Held()
    times = [slot(f"2026-12-01T{hour:02}:{minute}:00+01:00") for hour in range(24) for minute in ("00", "30")]
    for each in times:
        held.add("a", Checked(each, "primary"))
    assert held.find("a", times[0]) is None
    latest = held.find("a", None)
    assert latest is not None
    assert latest.slot == times[-1]
    for number in range(2000):
        held.add(f"call-{number}", Checked(times[0], "primary"))
    assert held.find("a", times[-1]) is None
    assert held.find("call-1999", times[0]) is not None


@pytest.mark.parametrize(
    ("hours", "start", "is_so"),
    [
        (WorkingHours(), "2026-12-01T09:00", True),
        (WorkingHours(), "2026-12-01T16:30", True),
        (WorkingHours(), "2026-12-01T08:59", False),
        (WorkingHours(), "2026-12-01T16:31", False),
        (WorkingHours(), "2026-12-06T10:00", False),
        (WorkingHours(start="20:00", end="24:00", days=(0,)), "2026-12-06T23:30", True),
        (WorkingHours(start="20:00", end="02:00", days=(2,)), "2026-12-02T01:30", True),
        (WorkingHours(start="20:00", end="02:00", days=(2,)), "2026-12-02T01:45", False),
        (WorkingHours(start="20:00", end="02:00", days=(2,)), "2026-12-01T01:00", False),
        (WorkingHours(start="20:00", end="02:00", days=(2,)), "2026-12-01T23:45", True),
    ],
)
def test_working_hours(hours: WorkingHours, start: str, is_so: bool) -> None:
    assert is_open(hours, slot(start)) is is_so


def test_some_of_many() -> None:
    many = [slot(f"2026-12-01T{hour:02}:00") for hour in range(10)]
    assert [each.start.hour for each in spread(many, 3)] == [0, 4, 9]
    assert spread(many[:2], 3) == many[:2]
    assert [each.start.hour for each in nearest([*many, *many], slot("2026-12-01T04:10"), 2)] == [4, 5]
