"""A time zone as iCalendar wants it written out (RFC 5545, 3.6.5).

The icalendar library can do that too, but gives the beginning of summer time by the clock of after the change, where
the RFC wants that of before.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard

_STRIDE = timedelta(days=1)
"""No clock is changed twice within so long."""

_Observance = tuple[timedelta, timedelta, str, bool]
"""Offset before, offset from then on, the zone's name then, whether that is summer time."""


@lru_cache(maxsize=128)
def zone_component(here: ZoneInfo, first_year: int, last_year: int) -> Timezone:
    """What the clocks of ``here`` do from ``first_year`` to ``last_year``, both included; not to be changed."""
    begin, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    offset = _offset(begin, here)
    onsets: dict[_Observance, list[datetime]] = {_observance(begin, offset, here): [begin.replace(tzinfo=None)]}
    for change in _changes(here, begin, end):
        before = _offset(change - timedelta(seconds=1), here)
        onsets.setdefault(_observance(change, before, here), []).append((change + before).replace(tzinfo=None))
    component = Timezone()
    component.add("tzid", here.key)
    for observance, at in onsets.items():
        component.add_component(_written(observance, at))
    return component


def _changes(here: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """When the clocks are set, or the zone changes its name."""
    while begin < end:
        after = begin + _STRIDE
        if _state(begin, here) != _state(after, here):
            yield _change(begin, after, here)
        begin = after


def _change(before: datetime, after: datetime, here: ZoneInfo) -> datetime:
    old = _state(before, here)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _state(middle, here) == old:
            before = middle
        else:
            after = middle
    return after


def _state(at: datetime, here: ZoneInfo) -> tuple[timedelta | None, str | None, timedelta | None]:
    local = at.astimezone(here)
    return local.utcoffset(), local.tzname(), local.dst()


def _offset(at: datetime, here: ZoneInfo) -> timedelta:
    return at.astimezone(here).utcoffset() or timedelta()


def _observance(at: datetime, before: timedelta, here: ZoneInfo) -> _Observance:
    local, offset = at.astimezone(here), _offset(at, here)
    # By the clocks alone: in Ireland, by law, it is winter time that is not the standard.
    is_summer = offset > before or (offset == before and (local.dst() or timedelta()) > timedelta())
    return before, offset, local.tzname() or here.key, is_summer


def _written(observance: _Observance, at: list[datetime]) -> TimezoneDaylight | TimezoneStandard:
    before, offset, name, is_summer = observance
    component = TimezoneDaylight() if is_summer else TimezoneStandard()
    component.add("dtstart", at[0])
    if at[1:]:
        component.add("rdate", at[1:])
    component.add("tzoffsetfrom", before)
    component.add("tzoffsetto", offset)
    component.add("tzname", name)
    return component
