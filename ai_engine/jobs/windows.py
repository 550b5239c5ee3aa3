"""When people may be called."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ai_engine.jobs.settings import CallingWindow
from ai_engine.jobs.times import day_of_week, minutes_of, zone

_DAYS_AHEAD = 370
"""A window that does not open within a year never does."""


def next_open(windows: Sequence[CallingWindow], zone_name: str, now: datetime) -> datetime | None:
    """The earliest moment from ``now`` on at which somebody in that zone may be called; None: never.

    Without ``windows`` it is ``now``.
    """
    if not windows:
        return now
    here = zone(zone_name)
    today = now.astimezone(here).date()
    # A window of yesterday may go on past midnight.
    openings = (
        opening
        for window in windows
        for opening in _openings(window, today - timedelta(days=1), here)
        if opening[1] > now
    )
    return min((max(begin, now) for begin, _ in openings), default=None)


def _openings(window: CallingWindow, first: date, here: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    for ahead in range(_DAYS_AHEAD):
        day = first + timedelta(days=ahead)
        if day_of_week(datetime.combine(day, time())) not in window.days or day in window.except_on:
            continue
        begin, end = minutes_of(window.start), minutes_of(window.end)
        yield _moment(day, begin, here), _moment(day, end if end > begin else end + 24 * 60, here)


def _moment(day: date, minutes: int, here: ZoneInfo) -> datetime:
    """On the wall clock of that place, whatever the day does to it."""
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    return wall.replace(tzinfo=here).astimezone(UTC)
