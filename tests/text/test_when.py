"""What is said of a time, and how a time is said."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.text.when import resolve, spoken

BERLIN = ZoneInfo("Europe/Berlin")
SATURDAY_NOON = datetime(2026, 11, 28, 12, 0, tzinfo=BERLIN)

DAYS = [
    ("", "2026-11-29"),
    ("today", "2026-11-28"),
    ("Tomorrow", "2026-11-29"),
    ("the day after tomorrow", "2026-11-30"),
    ("in three days", "2026-12-01"),
    ("in a week", "2026-12-05"),
    ("a week from today", "2026-12-05"),
    ("two weeks from now", "2026-12-12"),
    ("monday", "2026-11-30"),
    ("on Monday,", "2026-11-30"),
    ("this Monday", "2026-11-30"),
    ("Mon.", "2026-11-30"),
    ("next tuesday", "2026-12-01"),
    ("next week Tuesday", "2026-12-01"),
    ("Tuesday next week", "2026-12-01"),
    ("2026-12-01", "2026-12-01"),
    ("2026-12-01T09:00:00+01:00", "2026-12-01"),
    ("december first", "2026-12-01"),
    ("December 1st", "2026-12-01"),
    ("Dec. 1, 2026", "2026-12-01"),
    ("1 December", "2026-12-01"),
    ("the first of December", "2026-12-01"),
    ("Tuesday, December the first", "2026-12-01"),
    ("december first, twenty twenty-seven", "2027-12-01"),
    ("January second", "2027-01-02"),
    ("february 29", "2028-02-29"),
    ("the third", "2026-12-03"),
    ("Thursday the third", "2026-12-03"),
    ("the twenty-first", "2026-12-21"),
    ("the 31st", "2026-12-31"),
    ("the thirtieth", "2026-11-30"),
    ("12/25", "2026-12-25"),
    ("25/12/2026", "2026-12-25"),
    ("12/12/2026", "2026-12-12"),
]


@pytest.mark.parametrize(("said", "day"), DAYS)
def test_a_day(said: str, day: str) -> None:
    assert (
        resolve(said, "11:59 pm" if said == "today" else "ten", "Europe/Berlin", SATURDAY_NOON).date().isoformat()
        == day
    )


TIMES = [
    ("ten", "10:00"),
    ("10", "10:00"),
    ("10:00", "10:00"),
    ("10.30", "10:30"),
    ("10:00:00", "10:00"),
    ("ten thirty", "10:30"),
    ("half past ten", "10:30"),
    ("half ten", "10:30"),
    ("ten o'clock", "10:00"),
    ("ten o\u2019clock", "10:00"),
    ("at ten o'clock sharp", "10:00"),
    ("around ten", "10:00"),
    ("ten oh five", "10:05"),
    ("ten forty-five", "10:45"),
    ("quarter past nine", "09:15"),
    ("a quarter past nine", "09:15"),
    ("quarter to ten", "09:45"),
    ("twenty-five minutes past nine", "09:25"),
    ("five to ten", "09:55"),
    ("two pm", "14:00"),
    ("2 pm", "14:00"),
    ("2pm", "14:00"),
    ("2 p.m.", "14:00"),
    ("2:15 P.M.", "14:15"),
    ("fourteen thirty", "14:30"),
    ("14:30", "14:30"),
    ("1430", "14:30"),
    ("14:30 pm", "14:30"),
    ("fourteen hundred", "14:00"),
    ("two", "14:00"),
    ("seven thirty", "19:30"),
    ("seven", "19:00"),
    ("eight", "08:00"),
    ("eleven", "11:00"),
    ("twelve", "12:00"),
    ("twelve thirty", "12:30"),
    ("quarter to one", "12:45"),
    ("noon", "12:00"),
    ("12 noon", "12:00"),
    ("seven in the morning", "07:00"),
    ("three in the afternoon", "15:00"),
    ("eight in the evening", "20:00"),
    ("ten at night", "22:00"),
    ("02:00", "02:00"),
    ("0730", "07:30"),
    ("00:15", "00:15"),
    ("twelve am", "00:00"),
    ("12:30 am", "00:30"),
]


@pytest.mark.parametrize(("said", "time"), TIMES)
def test_a_time_of_day(said: str, time: str) -> None:
    assert resolve("tomorrow", said, "Europe/Berlin", SATURDAY_NOON).strftime("%d %H:%M") == f"29 {time}"


@pytest.mark.parametrize(
    ("day", "time", "moment"),
    [
        # the weekday of today: today while it is still to come
        ("saturday", "one", "2026-11-28T13:00"),
        ("saturday", "ten", "2026-12-05T10:00"),
        ("next saturday", "one", "2026-12-05T13:00"),
        # what has passed today comes in the evening
        ("today", "eight", "2026-11-28T20:00"),
        ("tonight", "eight", "2026-11-28T20:00"),
        ("this afternoon", "three", "2026-11-28T15:00"),
        ("tomorrow evening", "eight", "2026-11-29T20:00"),
        ("monday morning", "seven", "2026-11-30T07:00"),
        ("monday morning", "2 pm", "2026-11-30T14:00"),
        ("", "three", "2026-11-28T15:00"),
        ("", "nine", "2026-11-29T09:00"),
        ("monday", "midnight", "2026-12-01T00:00"),
    ],
)
def test_day_and_time_together(day: str, time: str, moment: str) -> None:
    assert resolve(day, time, "Europe/Berlin", SATURDAY_NOON).strftime("%Y-%m-%dT%H:%M") == moment


def test_next_is_the_week_that_begins_on_monday() -> None:
    thursday = datetime(2026, 11, 26, 9, 0, tzinfo=BERLIN)
    assert resolve("friday", "ten", "Europe/Berlin", thursday).day == 27
    assert resolve("next friday", "ten", "Europe/Berlin", thursday).strftime("%d.%m.") == "04.12."
    assert resolve("next monday", "ten", "Europe/Berlin", thursday).day == 30


def test_the_zone_decides_which_day_it_is() -> None:
    late = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)
    assert resolve("today", "three", "Asia/Tokyo", late).isoformat() == "2026-11-29T15:00:00+09:00"
    with pytest.raises(ValueError, match="is in the past"):
        resolve("today", "three", "UTC", late)


@pytest.mark.parametrize(
    ("day", "time", "reason"),
    [
        ("someday", "ten", "'someday' is no day; say it like"),
        ("next week", "ten", "is no day"),
        ("monday", "", "'' is no time of day; say it like"),
        ("monday", "morning", "is no time of day"),
        ("monday", "25:00", "is no time of day"),
        ("monday", "10:75", "is no time of day"),
        ("9999-12-31", "midnight", "there is no such day"),
        ("monday", "14 am", "both before noon and after it"),
        ("2026-02-30", "ten", "there is no such day"),
        ("february 30", "ten", "there is no such day"),
        ("the 32nd", "ten", "there is no such day"),
        ("0/0", "ten", "there is no such day"),
        ("monday, december first", "ten", "December 1, 2026 is a Tuesday"),
        ("12/1", "ten", "may be in December or in January"),
        ("2026-11-27", "ten", "2026-11-27 at ten is in the past; it is Saturday, 2026-11-28 12:00 now"),
        ("today", "four a.m.", "is in the past"),
        ("2027-03-28", "02:30", "there is no 02:30 on 2027-03-28 in Europe/Berlin"),
    ],
)
def test_what_nobody_can_mean(day: str, time: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        resolve(day, time, "Europe/Berlin", SATURDAY_NOON)


def test_an_unknown_zone() -> None:
    with pytest.raises(ValueError, match="there is no time zone 'Mars/Base'"):
        resolve("monday", "ten", "Mars/Base", SATURDAY_NOON)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2026-12-01T10:30", "Tuesday at ten thirty"),
        ("2026-11-29T14:00", "tomorrow at two p.m."),
        ("2026-11-28T18:05", "today at six oh five p.m."),
        ("2026-11-30T12:00", "Monday at noon"),
        ("2026-11-30T12:30", "Monday at twelve thirty p.m."),
        ("2026-11-30T07:00", "Monday at seven a.m."),
        ("2026-12-04T00:00", "Friday at twelve a.m."),
        ("2026-12-05T09:00", "Saturday, December fifth, at nine"),
        ("2027-01-02T10:00", "Saturday, January second, twenty twenty-seven, at ten"),
        ("2026-11-27T10:00", "Friday, November twenty-seventh, at ten"),
    ],
)
def test_a_moment_as_it_is_said(moment: str, said: str) -> None:
    assert spoken(datetime.fromisoformat(moment).replace(tzinfo=BERLIN), SATURDAY_NOON) == said


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1)),
    minutes=st.integers(1, 500 * 24 * 60),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/Phoenix"]),
)
def test_what_is_said_is_understood_again(now: datetime, minutes: int, zone: str) -> None:
    """In zones whose clocks are never changed; with the date, where a weekday alone would be another one."""
    here = ZoneInfo(zone)
    before = now.replace(second=0, microsecond=0, tzinfo=here)
    moment = before + timedelta(minutes=minutes)
    day, _, time = spoken(moment, before).rpartition(" at ")
    assert resolve(day, time, zone, before) == moment


ODD_WORDS = {"0", "00", "99", ":", "/", "-", "9999", "9999-12-31", "0001-01-01", "midnight", "tonight", "minus"}
WORDS = sorted({word for said, _ in (*DAYS, *TIMES) for word in said.split()} | ODD_WORDS)


@given(*[st.one_of(st.text(max_size=20), st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join))] * 2)
def test_whatever_is_said_is_a_moment_to_come_or_no_time(day: str, time: str) -> None:
    with suppress(ValueError):
        assert resolve(day, time, "Europe/Berlin", SATURDAY_NOON) > SATURDAY_NOON
