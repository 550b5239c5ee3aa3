"""When people may be called: in three zones, over both changes of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.jobs.settings import CallingWindow
from ai_engine.jobs.windows import next_open

DAYTIME = CallingWindow(start="09:00", end="17:00", days=(1, 2, 3, 4, 5))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        ("Europe/Berlin", "2026-12-01T10:00:00+01:00", "2026-12-01T10:00:00+01:00"),  # Tuesday
        ("Europe/Berlin", "2026-12-01T08:59:59+01:00", "2026-12-01T09:00:00+01:00"),
        ("Europe/Berlin", "2026-12-01T17:00:00+01:00", "2026-12-02T09:00:00+01:00"),
        ("Europe/Berlin", "2026-12-04T17:00:00+01:00", "2026-12-07T09:00:00+01:00"),  # over the weekend
        ("America/New_York", "2026-12-01T10:00:00+01:00", "2026-12-01T09:00:00-05:00"),
        ("Asia/Tokyo", "2026-12-01T10:00:00+01:00", "2026-12-02T09:00:00+09:00"),
        ("Europe/Berlin", "2026-03-27T18:00:00+01:00", "2026-03-30T09:00:00+02:00"),  # summer time began between
        ("Europe/Berlin", "2026-10-23T18:00:00+02:00", "2026-10-26T09:00:00+01:00"),  # and ended
        ("America/New_York", "2026-03-06T18:00:00-05:00", "2026-03-09T09:00:00-04:00"),
        ("Australia/Lord_Howe", "2026-10-02T18:00:00+10:30", "2026-10-05T09:00:00+11:00"),
    ],
)
def test_it_opens_on_the_wall_clock_of_the_place(zone: str, now: str, opens: str) -> None:
    assert next_open((DAYTIME,), zone, at(now)) == at(opens)


def test_a_window_may_go_past_midnight() -> None:
    night = CallingWindow(start="22:00", end="02:00", days=(5,))
    assert next_open((night,), "Europe/Berlin", at("2026-12-05T01:00:00+01:00")) == at("2026-12-05T01:00:00+01:00")
    assert next_open((night,), "Europe/Berlin", at("2026-12-05T03:00:00+01:00")) == at("2026-12-11T22:00:00+01:00")


def test_nobody_is_called_on_a_holiday() -> None:
    window = DAYTIME.model_copy(update={"except_on": (at("2026-12-25").date(),)})
    assert next_open((window,), "Europe/Berlin", at("2026-12-25T10:00:00+01:00")) == at("2026-12-28T09:00:00+01:00")


def test_the_first_of_several_windows_counts() -> None:
    evening = CallingWindow(start="18:00", end="20:00")
    assert next_open((DAYTIME, evening), "UTC", at("2026-12-01T17:30:00Z")) == at("2026-12-01T18:00:00Z")


def test_without_windows_at_any_time_and_without_days_never() -> None:
    now = datetime.now(UTC)
    assert next_open((), "UTC", now) == now
    assert next_open((CallingWindow(days=()),), "UTC", now) is None


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_where_it_opens_it_is_open(now: datetime, zone: str) -> None:
    moment = next_open((DAYTIME,), zone, now.replace(tzinfo=UTC))
    assert moment is not None
    assert moment >= now.replace(tzinfo=UTC)
    wall = moment.astimezone(ZoneInfo(zone))
    assert wall.isoweekday() <= 5
    assert timedelta(hours=9) <= timedelta(hours=wall.hour, minutes=wall.minute) < timedelta(hours=17)
    assert next_open((DAYTIME,), zone, moment) == moment
