"""What counts as busy in calendars of others."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.calendar.ics_import import UnreadableCalendar, busy_in
from ai_engine.calendar.slots import Span
from tests.calendar.ics_texts import dentist, ics

BERLIN = ZoneInfo("Europe/Berlin")
DECEMBER = Span(datetime(2026, 12, 1, tzinfo=BERLIN), datetime(2027, 1, 1, tzinfo=BERLIN))


def busy(*events: str, window: Span = DECEMBER, zone: str = "Europe/Berlin", head: str = "") -> list[str]:
    """``DD HH:MM-HH:MM summary``, in Berlin."""
    found, bad = busy_in(ics(*events, head=head).encode(), window, ZoneInfo(zone))
    assert bad == 0
    return [
        f"{one.span.start.astimezone(BERLIN):%d %H:%M}-{one.span.end.astimezone(BERLIN):%d %H:%M} {one.summary}"
        for one in found
    ]


def test_an_appointment() -> None:
    assert busy(dentist()) == ["01 10:00-01 11:00 Dentist"]


def test_what_recurs_with_its_exceptions() -> None:
    weekly = dentist("20261124") + "\nRRULE:FREQ=WEEKLY;COUNT=6\nEXDATE;TZID=Europe/Berlin:20261208T100000"
    moved = dentist("20261216").replace("T100000", "T150000").replace("T110000", "T160000")
    moved += "\nRECURRENCE-ID;TZID=Europe/Berlin:20261215T100000"
    canceled = dentist("20261222") + "\nRECURRENCE-ID;TZID=Europe/Berlin:20261222T100000\nSTATUS:CANCELLED"
    assert busy(weekly, moved, canceled) == [
        "01 10:00-01 11:00 Dentist",
        "16 15:00-16 16:00 Dentist",
        "29 10:00-29 11:00 Dentist",
    ]


def test_what_recurs_stays_on_the_clock_when_that_is_changed() -> None:
    window = Span(datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    daily = dentist("20261020") + "\nRRULE:FREQ=WEEKLY"
    assert busy(daily, window=window) == ["20 10:00-20 11:00 Dentist", "27 10:00-27 11:00 Dentist"]


def test_whole_days_are_those_of_the_place() -> None:
    one = "UID:1\nDTSTART;VALUE=DATE:20261203\nSUMMARY:Fair"
    three = "UID:2\nDTSTART;VALUE=DATE:20261210\nDTEND;VALUE=DATE:20261213\nSUMMARY:Holiday"
    assert busy(one, three) == ["03 00:00-04 00:00 Fair", "10 00:00-13 00:00 Holiday"]
    assert busy(one, zone="America/New_York") == ["03 06:00-04 06:00 Fair"]
    assert busy(one, head="X-WR-TIMEZONE:Asia/Tokyo\n") == ["02 16:00-03 16:00 Fair"]


def test_times_without_a_zone_are_those_of_the_place() -> None:
    floating = "UID:1\nDTSTART:20261203T100000\nDURATION:PT90M\nSUMMARY:Walk"
    assert busy(floating) == ["03 10:00-03 11:30 Walk"]
    assert busy(floating, zone="America/New_York") == ["03 16:00-03 17:30 Walk"]
    assert busy(floating, zone="America/New_York", head="X-WR-TIMEZONE:Europe/Berlin\n") == ["03 10:00-03 11:30 Walk"]
    assert busy(floating, head="X-WR-TIMEZONE:Mars/Base\n") == ["03 10:00-03 11:30 Walk"]


@pytest.mark.parametrize("line", ["TRANSP:TRANSPARENT", "TRANSP:transparent", "STATUS:CANCELLED"])
def test_what_keeps_nobody_busy(line: str) -> None:
    assert busy(f"{dentist()}\n{line}") == []


@pytest.mark.parametrize("line", ["TRANSP:OPAQUE", "STATUS:TENTATIVE", "STATUS:CONFIRMED"])
def test_what_does(line: str) -> None:
    assert busy(f"{dentist()}\n{line}") == ["01 10:00-01 11:00 Dentist"]


def test_what_takes_no_time() -> None:
    assert busy("UID:1\nDTSTART:20261203T100000Z\nSUMMARY:Reminder") == []


@pytest.mark.parametrize("line", ["CLASS:PRIVATE", "CLASS:CONFIDENTIAL"])
def test_what_is_nobodys_business(line: str) -> None:
    assert busy(f"{dentist()}\n{line}") == ["01 10:00-01 11:00 busy"]
    assert busy(dentist().replace("\nSUMMARY:Dentist", "")) == ["01 10:00-01 11:00 busy"]


def test_only_what_reaches_into_the_window() -> None:
    over = "UID:1\nDTSTART:20261130T220000Z\nDTEND:20261130T233000Z\nSUMMARY:Over midnight"
    until = "UID:2\nDTSTART:20261130T220000Z\nDTEND:20261130T230000Z\nSUMMARY:Until midnight"
    after = "UID:3\nDTSTART:20261231T230000Z\nDTEND:20270101T000000Z\nSUMMARY:Next year"
    assert busy(over, until, after) == ["30 23:00-01 00:30 Over midnight"]


ZONE = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:{offset}
TZOFFSETTO:{offset}
END:STANDARD
END:VTIMEZONE
"""


def test_zones_of_the_same_name_in_two_calendars() -> None:
    """Exchange calls all that it makes up by one name."""
    event = "UID:1\nDTSTART;TZID=Customized Time Zone:20261203T100000\nDURATION:PT1H\nSUMMARY:Call"
    for offset, clock in (("+0300", "08:00"), ("-0500", "16:00")):
        head = ZONE.format(name="Customized Time Zone", offset=offset)
        assert busy(event, head=head)[0].startswith(f"03 {clock}")


def test_zones_as_windows_calls_them() -> None:
    event = "UID:1\nDTSTART;TZID=W. Europe Standard Time:20261203T100000\nDURATION:PT1H\nSUMMARY:Call"
    assert busy(event, zone="Asia/Tokyo") == ["03 10:00-03 11:00 Call"]


def test_several_calendars_in_one_file() -> None:
    text = ics(dentist()) + ics(dentist("20261202"))
    found, _ = busy_in(text.encode(), DECEMBER, BERLIN)
    assert [one.span.start.day for one in found] == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        "UID:bad\nSUMMARY:No beginning",
        "UID:bad\nDTSTART:20261203T100000Z\nRRULE:FREQ=SOMETIMES",
        "UID:bad\nDTSTART:20261203T100000Z\nDTEND:20261203T110000Z\nRRULE:FREQ=SECONDLY",
        "UID:bad\nDTSTART:tomorrow\nSUMMARY:Bad beginning",
    ],
)
def test_what_cannot_be_understood_is_counted_and_the_rest_counts(bad: str) -> None:
    found, misunderstood = busy_in(ics(bad, dentist()).encode(), DECEMBER, BERLIN)
    assert [one.summary for one in found] == ["Dentist"]
    assert misunderstood == 1


def test_appointments_without_a_name_are_several() -> None:
    nameless = dentist().replace("UID:dentist\n", "")
    assert len(busy(nameless, nameless.replace("T10", "T12").replace("T11", "T13"))) == 2


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.calendar.ics_import._MOST", 100)
    often = "UID:1\nDTSTART:20261101T000000Z\nDURATION:PT1M\nRRULE:FREQ=HOURLY"
    with pytest.raises(UnreadableCalendar, match="more than 100 appointments"):
        busy_in(ics(often).encode(), DECEMBER, BERLIN)


@pytest.mark.parametrize(
    "text", ["", "<html>no</html>", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "\0\xff", "BEGIN:VEVENT"]
)
def test_what_is_no_calendar(text: str) -> None:
    with pytest.raises(UnreadableCalendar, match="no iCalendar"):
        busy_in(text.encode(), DECEMBER, BERLIN)


def test_an_empty_calendar_is_one() -> None:
    assert busy_in(ics().encode(), DECEMBER, BERLIN) == ([], 0)


PIECES = ["BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTIMEZONE", "UID:1", "TZID:X", ";",
          "DTSTART:20261203T10", "DTSTART;VALUE=DATE:20261203", "DTEND:20261203T090000Z", "DURATION:-P1D", "\u00fc",
          "RRULE:FREQ=DAILY", "EXDATE:x", "RDATE:20261204", "RECURRENCE-ID:20261203", "X-WR-TIMEZONE:?"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12) | st.text(max_size=50).map(lambda text: [text]))
def test_whatever_others_write(lines: list[str]) -> None:
    try:
        found, _ = busy_in("\r\n".join(lines).encode(), DECEMBER, BERLIN)
    except UnreadableCalendar:
        return
    assert all(one.span.overlaps(DECEMBER) for one in found)
