"""Times of day and time zones as people and JSON write them."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """Raises ValueError for a name that the time zone database does not have."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write it like Europe/Berlin") from error


def _zone_name(name: str) -> str:
    zone(name)
    return name


def _clock_time(text: str) -> str:
    if not _CLOCK_TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day; write it like 09:30")
    return text


Zone = Annotated[str, AfterValidator(_zone_name)]
"""The name of an IANA time zone."""

ClockTime = Annotated[str, AfterValidator(_clock_time)]
"""``HH:MM``, from ``00:00`` to ``24:00``."""


def minutes_of(text: str) -> int:
    """Minutes since midnight of a ``ClockTime``."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def as_moment(given: datetime, zone_name: str) -> datetime:
    """``given`` with its offset; one without is meant in ``zone_name``."""
    return given if given.tzinfo else given.replace(tzinfo=zone(zone_name))


def day_of_week(moment: datetime) -> int:
    """0 is Sunday, 6 is Saturday."""
    return moment.isoweekday() % 7
