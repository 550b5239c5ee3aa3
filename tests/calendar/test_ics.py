"""Appointments as .ics, read back by another's eyes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar.timezone import tzp

from ai_engine.calendar.ics import calendar_ics, event_ics
from ai_engine.calendar.ics_folder import IcsFolder, folder_name
from ai_engine.calendar.ics_import import busy_in
from ai_engine.calendar.ics_zone import zone_component
from ai_engine.calendar.slots import Span
from ai_engine.calendar.store import Event, Guest, Taken

MADE = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Europe/Dublin")


def event(start: datetime = datetime(2026, 12, 1, 9, 0, tzinfo=UTC), minutes: int = 30, **more: object) -> Event:
    fields = {
        "calendar_id": "primary",
        "span": Span(start, start + timedelta(minutes=minutes)),
        "timezone": "Europe/Berlin",
        "title": "Visit",
        "id": "e1",
        "canceled": False,
        "sequence": 0,
        "created_at": MADE,
        "changed_at": MADE,
        **more,
    }
    return Event(**fields)  # type: ignore[arg-type]


def read(text: bytes) -> icalendar.Event:
    [found] = icalendar.Calendar.from_ical(text).events
    return found


def test_an_appointment_line_by_line() -> None:
    guests = (Guest("a@example.org"), Guest("b@example.org", optional=True))
    text = event_ics(event(description="About the roof", location="Office", guests=guests)).decode()
    head, _, zone_and_rest = text.partition("BEGIN:VTIMEZONE")
    zone, _, rest = zone_and_rest.partition("END:VTIMEZONE")
    assert sorted(head.splitlines()) == [
        "BEGIN:VCALENDAR",
        "METHOD:PUBLISH",
        "PRODID:-//Offhook//calendar bridge//EN",
        "UID:e1@offhook",
        "VERSION:2.0",
    ]
    assert "TZID:Europe/Berlin" in zone
    assert sorted(rest.strip().splitlines()) == sorted(
        [
            "BEGIN:VEVENT",
            "UID:e1@offhook",
            "DTSTAMP:20261130T070000Z",
            "CREATED:20261130T070000Z",
            "LAST-MODIFIED:20261130T070000Z",
            "SEQUENCE:0",
            "STATUS:CONFIRMED",
            "SUMMARY:Visit",
            "DESCRIPTION:About the roof",
            "LOCATION:Office",
            "DTSTART;TZID=Europe/Berlin:20261201T100000",
            "DTEND;TZID=Europe/Berlin:20261201T103000",
            "ATTENDEE;ROLE=REQ-PARTICIPANT:mailto:a@example.org",
            "ATTENDEE;ROLE=OPT-PARTICIPANT:mailto:b@example.org",
            "END:VEVENT",
            "END:VCALENDAR",
        ]
    )


def test_lines_are_folded_and_end_as_they_must() -> None:
    text = event_ics(event(title="\u00fc" * 300))
    assert text.endswith(b"END:VCALENDAR\r\n")
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))
    assert b"\n" not in text.replace(b"\r\n", b"")


def test_what_would_be_read_as_something_else() -> None:
    title = "a; b, c\\ \nEND:VEVENT\r\nX-EVIL:1"
    text = event_ics(event(title=title, description="tab\there\x00\x07"))
    assert read(text)["SUMMARY"] == title.replace("\r\n", "\n")
    assert read(text)["DESCRIPTION"] == "tab\there"
    assert b"X-EVIL:1\r\n" not in text.replace(b"\\nX-EVIL:1", b"")


def test_one_that_was_canceled() -> None:
    text = event_ics(event(canceled=True, sequence=1, changed_at=MADE + timedelta(hours=1)))
    found = read(text)
    assert (found["STATUS"], found["SEQUENCE"], found["UID"]) == ("CANCELLED", 1, "e1@offhook")
    assert found["DTSTAMP"].dt == MADE + timedelta(hours=1)


def test_the_same_appointment_is_the_same_text() -> None:
    assert event_ics(event()) == event_ics(event())


def test_a_calendar_of_several_zones() -> None:
    events = [event(id=zone, timezone=zone) for zone in ZONES]
    calendar = icalendar.Calendar.from_ical(calendar_ics("me@example.org", events))
    assert calendar["X-WR-CALNAME"] == "me@example.org"
    assert [str(zone["TZID"]) for zone in calendar.timezones] == [zone for zone in ZONES if zone != "UTC"]
    assert {found["UID"] for found in calendar.events} == {f"{zone}@offhook" for zone in ZONES}
    assert {found.start.astimezone(UTC) for found in calendar.events} == {datetime(2026, 12, 1, 9, 0, tzinfo=UTC)}


def test_a_time_that_the_clocks_show_twice() -> None:
    """The second one cannot be said on the clock of the place."""
    first = read(event_ics(event(datetime(2026, 10, 25, 0, 15, tzinfo=UTC))))
    second = read(event_ics(event(datetime(2026, 10, 25, 1, 15, tzinfo=UTC))))
    assert first["DTSTART"].to_ical() == b"20261025T021500"
    assert second["DTSTART"].to_ical() == b"20261025T011500Z"


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_there_and_back(zone: str, start: datetime, title: str, description: str) -> None:
    start = start.replace(second=0, microsecond=0)
    written = event_ics(event(start, timezone=zone, title=title, description=description))
    found = read(written)
    assert (found.start.astimezone(UTC), found.end.astimezone(UTC)) == (start, start + timedelta(minutes=30))
    around = Span(start - timedelta(days=1), start + timedelta(days=1))
    [taken], bad = busy_in(written, around, ZoneInfo("Asia/Tokyo"))
    assert (taken.span, bad) == (Span(start, start + timedelta(minutes=30)), 0)


# -- time zones ------------------------------------------------------------------------------------------------


def test_the_zone_of_berlin_as_the_rfc_has_it() -> None:
    """A change is written by the clock of before it: 02:00 becomes summer, 03:00 winter."""
    text = zone_component(ZoneInfo("Europe/Berlin"), 2026, 2027).to_ical().decode().replace("\r\n", "\n")
    assert (
        "BEGIN:DAYLIGHT\nDTSTART:20260329T020000\nRDATE:20270328T020000\nTZNAME:CEST\n"
        "TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\n"
    ) in text
    assert (
        "BEGIN:STANDARD\nDTSTART:20261025T030000\nRDATE:20271031T030000\nTZNAME:CET\n"
        "TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\n"
    ) in text


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone != "UTC"])
def test_a_zone_is_read_as_it_was_meant(zone: str) -> None:
    """By icalendar, under a name that it does not know, so that what is written counts."""
    here = ZoneInfo(zone)
    text = zone_component(here, 2026, 2028).to_ical().replace(zone.encode(), b"Nowhere/Known")
    tzp.use_zoneinfo()
    understood = icalendar.Timezone.from_ical(text).to_tz(lookup_tzid=False)
    for hours in range(24, 700 * 24, 5):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        assert moment.astimezone(understood).utcoffset() == moment.astimezone(here).utcoffset(), moment


# -- files -----------------------------------------------------------------------------------------------------


def test_a_file_for_each(tmp_path: Path) -> None:
    folder = IcsFolder(tmp_path)
    folder.write(event())
    folder.write(event(id="e2", calendar_id="me@example.org"))
    assert read((tmp_path / "primary" / "e1.ics").read_bytes())["UID"] == "e1@offhook"
    assert [path.name for path in (tmp_path / "me@example.org").iterdir()] == ["e2.ics"]
    folder.write(replace(event(), canceled=True, sequence=1))
    assert read((tmp_path / "primary" / "e1.ics").read_bytes())["STATUS"] == "CANCELLED"
    assert [path.name for path in (tmp_path / "primary").iterdir()] == ["e1.ics"]


@pytest.mark.parametrize(
    "calendar_id",
    ["..", ".", "../../etc", "/etc", "a/b", "calendar.sqlite", "calendar.sqlite-wal", "\0", "x" * 200, "\u00fc" * 200],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, calendar_id: str) -> None:
    name = folder_name(calendar_id)
    assert "/" not in name
    assert not name.startswith(".")
    assert not name.startswith("calendar.sqlite")
    IcsFolder(tmp_path).write(event(calendar_id=calendar_id))
    assert [path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.ics")] == [(name, "e1.ics")]


def test_every_calendar_has_a_folder_of_its_own() -> None:
    names = ["a/b", "a%2Fb", "..", "%2E.", "x" * 200, "\u00fc" * 199, "\u00fc" * 200, "\u00e4" * 200]
    assert len({folder_name(name) for name in names}) == len(names)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "primary").write_text("in the way")
    folder = IcsFolder(tmp_path)
    folder.write(event())
    assert folder.failures == 1
    (tmp_path / "primary").unlink()
    folder.write_missing([event(), event(id="e2")])
    assert folder.failures == 1
    assert sorted(path.name for path in (tmp_path / "primary").iterdir()) == ["e1.ics", "e2.ics"]


def test_what_is_out_of_date_is_written_anew(tmp_path: Path) -> None:
    folder = IcsFolder(tmp_path)
    folder.write(event())
    folder.write_missing([event(canceled=True)])
    assert read((tmp_path / "primary" / "e1.ics").read_bytes())["STATUS"] == "CANCELLED"


def test_what_we_write_can_be_imported(tmp_path: Path) -> None:
    text = calendar_ics("primary", [event(), event(id="e2", start=datetime(2026, 12, 2, 9, 0, tzinfo=UTC), title="")])
    window = Span(MADE, MADE + timedelta(days=7))
    assert busy_in(text, window, ZoneInfo("UTC")) == (
        [
            Taken(event().span, "Visit"),
            Taken(event(datetime(2026, 12, 2, 9, 0, tzinfo=UTC)).span, "busy"),
        ],
        0,
    )
