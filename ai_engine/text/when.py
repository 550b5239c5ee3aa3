"""What people and models say of a time, as a moment; and a moment as it is said on the telephone. In English."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ai_engine.text.clock_words import minutes_meant, part_of_day, spoken_time
from ai_engine.text.day_words import days_meant, spoken_day


def resolve(day: str, time: str, zone: str, now: datetime) -> datetime:
    """The next moment after ``now`` that is meant by ``day`` ("next tuesday", "the third", "2026-12-01") and ``time``
    ("half past ten", "two pm", "14:30"), with its offset in ``zone`` (IANA).

    Hours from one to seven without a.m. or p.m. are after noon, all others before it; "02:00" says two at night.
    An empty ``day`` is today, or tomorrow. Raises ValueError with a sentence, for people and models.
    """
    here = _zone(zone)
    today = now.astimezone(here).date()
    words, part = part_of_day(day.strip().casefold())
    if words == "tonight":
        part = "pm"
    elif not words and "this" in day.casefold():
        words = "today"
    minutes = minutes_meant(time, part)
    for wall in _tried(words, minutes, today):
        moment = _moment(wall, here)
        if moment.astimezone(UTC) > now.astimezone(UTC):
            return moment
    raise ValueError(f"{day} at {time} is in the past; it is {now.astimezone(here):%A, %Y-%m-%d %H:%M} now")


def spoken(moment: datetime, now: datetime) -> str:
    """``Tuesday at ten thirty``, ``tomorrow at two p.m.``, and with the date what is a week away or more; on the clock
    of ``moment``."""
    today = now.astimezone(moment.tzinfo).date()
    return f"{spoken_day(moment.date(), today)} at {spoken_time(moment.hour, moment.minute)}"


def _tried(day: str, minutes: tuple[int, ...], today: date) -> Iterator[datetime]:
    if not day:
        yield from (_wall(today, minutes[0]), _wall(today + timedelta(days=1), minutes[0]))
        return
    days = list(days_meant(day, today))
    for meant in days:
        yield _wall(meant, minutes[0])
    # Who says today at eight when it is noon means the evening.
    if days == [today]:
        yield from (_wall(today, other) for other in minutes[1:])


def _wall(day: date, minutes: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(minutes=minutes)


def _moment(wall: datetime, here: ZoneInfo) -> datetime:
    moment = wall.replace(tzinfo=here)
    if moment.astimezone(UTC).astimezone(here).replace(tzinfo=None) != wall:
        raise ValueError(f"there is no {wall:%H:%M} on {wall:%Y-%m-%d} in {here.key}: the clocks are set forward")
    return moment


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write it like Europe/Berlin") from error
