"""What is busy in somebody's calendar, from its iCalendar text."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
from icalendar.timezone import tzp

from ai_engine.calendar.slots import Span, first_moment
from ai_engine.calendar.store import Taken
from ai_engine.jobs.times import zone

PRIVATE = "busy"
"""What an appointment is called that is nobody's business, or has no name."""

_MOST = 50_000
_MARGIN = timedelta(days=2)
"""Times without a zone may lie so much apart from what they are in UTC."""
_TOO_OFTEN = frozenset({"SECONDLY", "MINUTELY"})


class UnreadableCalendar(Exception):
    """``str()`` says why, for the operator."""


def busy_in(text: bytes, window: Span, own_zone: ZoneInfo) -> tuple[list[Taken], int]:
    """What is busy within ``window``, in order; and how many appointments could not be understood.

    Whole days, and times without a zone, are those of the calendar's own zone (X-WR-TIMEZONE), or of ``own_zone``.
    Raises UnreadableCalendar.
    """
    taken: list[Taken] = []
    bad = 0
    for calendar in _calendars(text):
        here = _zone_of(calendar, own_zone)
        for series in _series(calendar):
            try:
                taken += _busy(series, window, here)
            except Exception:  # noqa: BLE001 - whatever others wrote, their other appointments still count
                bad += 1
            if len(taken) > _MOST:
                raise UnreadableCalendar(f"more than {_MOST} appointments")
    return sorted(taken, key=lambda one: one.span), bad


def _calendars(text: bytes) -> list[icalendar.Calendar]:
    tzp.use_zoneinfo()  # forgets the zones of other calendars, which may have the same names
    try:
        found = icalendar.Calendar.from_ical(text, multiple=True)
    except Exception as error:  # noqa: BLE001 - what others wrote may break the parser in any way
        raise UnreadableCalendar(f"no iCalendar: {type(error).__name__}") from error
    calendars = [one for one in found if isinstance(one, icalendar.Calendar)]
    if not calendars:
        raise UnreadableCalendar("no iCalendar: there is no VCALENDAR in it")
    return calendars


def _zone_of(calendar: icalendar.Calendar, own_zone: ZoneInfo) -> ZoneInfo:
    try:
        return zone(str(calendar["X-WR-TIMEZONE"]))
    except (KeyError, ValueError):
        return own_zone


def _series(calendar: icalendar.Calendar) -> Iterator[icalendar.Calendar]:
    """Each appointment by itself, with the exceptions to its recurrence."""
    groups: dict[str, list[icalendar.Event]] = {}
    for number, event in enumerate(calendar.events):
        groups.setdefault(str(event.get("UID", number)), []).append(event)
    for group in groups.values():
        series = icalendar.Calendar()
        for event in group:
            series.add_component(event)
        yield series


def _busy(series: icalendar.Calendar, window: Span, here: ZoneInfo) -> list[Taken]:
    if any(_TOO_OFTEN & {str(freq).upper() for freq in _frequencies(event)} for event in series.events):
        raise UnreadableCalendar("an appointment recurs every minute")
    found = recurring_ical_events.of(series).between(window.start - _MARGIN, window.end + _MARGIN)
    taken = (_taken(event, here) for event in found if _counts(event))
    return [one for one in taken if one.span.start < one.span.end and one.span.overlaps(window)]


def _frequencies(event: icalendar.Event) -> list[object]:
    rules = event.get("RRULE", [])
    return [freq for rule in (rules if isinstance(rules, list) else [rules]) for freq in rule.get("FREQ", [])]


def _counts(event: icalendar.Event) -> bool:
    return (
        str(event.get("TRANSP", "OPAQUE")).upper() != "TRANSPARENT"
        and str(event.get("STATUS", "CONFIRMED")).upper() != "CANCELLED"
    )


def _taken(event: icalendar.Event, here: ZoneInfo) -> Taken:
    is_public = str(event.get("CLASS", "PUBLIC")).upper() == "PUBLIC"
    summary = str(event.get("SUMMARY", "")).strip()[:200] if is_public else ""
    return Taken(Span(_moment(event.start, here), _moment(event.end, here)), summary or PRIVATE)


def _moment(given: date, here: ZoneInfo) -> datetime:
    if not isinstance(given, datetime):
        return first_moment(datetime(given.year, given.month, given.day), here)
    return given if given.tzinfo is not None else first_moment(given, here)
