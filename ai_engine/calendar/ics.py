"""Appointments as iCalendar (RFC 5545): for the calendars of people."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event, Timezone, vCalAddress

from ai_engine.calendar import store
from ai_engine.calendar.ics_zone import zone_component
from ai_engine.calendar.slots import moment
from ai_engine.jobs.times import zone

_PRODUCT = "-//Offhook//calendar bridge//EN"
_UTC_NAMES = ("UTC", "Etc/UTC", "Etc/UCT", "Zulu", "Etc/Zulu", "UCT", "Universal", "Etc/Universal")


def event_ics(event: store.Event) -> bytes:
    """A calendar with one appointment; of one that was canceled it says so."""
    return _calendar([event], uid=_uid(event))


def calendar_ics(calendar_id: str, events: Sequence[store.Event]) -> bytes:
    """A calendar to subscribe to."""
    return _calendar(events, uid=f"{calendar_id}@offhook", name=_clean(calendar_id))


def _calendar(events: Sequence[store.Event], uid: str, name: str | None = None) -> bytes:
    calendar = Calendar.new(prodid=_PRODUCT, method="PUBLISH", uid=_clean(uid), name=name)
    for component in _zones(events):
        calendar.add_component(component)
    for event in events:
        calendar.add_component(_event(event))
    written: bytes = calendar.to_ical()
    return written


def _zones(events: Iterable[store.Event]) -> Iterator[Timezone]:
    years: dict[str, list[int]] = {}
    for event in events:
        if event.timezone not in _UTC_NAMES:
            years.setdefault(event.timezone, []).extend((event.span.start.year, event.span.end.year))
    for name, touched in years.items():
        yield zone_component(zone(name), min(touched) - 1, max(touched) + 1)


def _event(event: store.Event) -> Event:
    here = zone(event.timezone)
    written = Event.new(
        uid=_uid(event),
        stamp=event.changed_at,
        created=event.created_at,
        last_modified=event.changed_at,
        sequence=event.sequence,
        start=_time(event.span.start, here),
        end=_time(event.span.end, here),
        summary=_clean(event.title),
        description=_clean(event.description) or None,
        location=_clean(event.location) or None,
    )
    written.add("status", "CANCELLED" if event.canceled else "CONFIRMED")
    for guest in event.guests:
        written.add("attendee", _attendee(guest))
    return written


def _time(at: datetime, here: ZoneInfo) -> datetime:
    """On the clock of the place, where that says which moment is meant."""
    local = at.astimezone(here)
    is_plain = moment(local.replace(tzinfo=None, fold=0), here) == at and here.key not in _UTC_NAMES
    return local if is_plain else at


def _attendee(guest: store.Guest) -> vCalAddress:
    address = vCalAddress(f"mailto:{guest.email}")
    address.params["ROLE"] = "OPT-PARTICIPANT" if guest.optional else "REQ-PARTICIPANT"
    return address


def _uid(event: store.Event) -> str:
    return f"{event.id}@offhook"


def _clean(text: str) -> str:
    """Without what iCalendar cannot say in a text."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c in "\n\t" or (c >= " " and c != "\x7f"))
