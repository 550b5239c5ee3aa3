"""Appointments, holds and what is busy elsewhere, kept so that no time is given away twice."""

import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from ai_engine.calendar.database import Database, events, holds, imported
from ai_engine.calendar.slots import Buffers, Span

HELD = "held for somebody else"


@dataclass(frozen=True, slots=True)
class Taken:
    """A time that is not free, and why."""

    span: Span
    summary: str


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who takes part in an appointment."""

    email: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Appointment:
    """What is to be entered."""

    calendar_id: str
    span: Span
    timezone: str
    title: str
    description: str = ""
    location: str = ""
    guests: tuple[Guest, ...] = ()


@dataclass(frozen=True, slots=True)
class Event(Appointment):
    """What has been entered."""

    id: str = field(kw_only=True)
    canceled: bool = field(kw_only=True)
    sequence: int = field(kw_only=True)
    created_at: datetime = field(kw_only=True)
    changed_at: datetime = field(kw_only=True)


class TimeTaken(Exception):
    """The time is not free any more."""

    def __init__(self, by: Sequence[Taken]) -> None:
        super().__init__(", ".join(taken.summary for taken in by))
        self.by = by


class KeyUsed(Exception):
    """The idempotency key is that of another appointment, or of one that was canceled."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.id)
        self.event = event


class Store:
    """Every method is one transaction, and blocks for as long as that takes: to be called off any event loop.

    They raise sqlalchemy.exc.SQLAlchemyError where the file cannot be read or written.
    """

    def __init__(self, database: Database, clock: Callable[[], float], sources: Collection[str] = ()) -> None:
        """``clock`` is epoch seconds; ``sources`` are the calendars elsewhere that count."""
        self._database = database
        self._clock = clock
        self.sources = sources

    def taken(self, calendar_ids: Sequence[str], window: Span, hold_key: str | None = None) -> list[Taken]:
        """What overlaps ``window``, in order; a hold of ``hold_key`` does not count."""
        with self._database.reading() as connection:
            return self._taken(connection, calendar_ids, window, hold_key)

    def hold(
        self, calendar_ids: Sequence[str], span: Span, buffers: Buffers, key: str, seconds: float
    ) -> datetime | list[Taken]:
        """Keep a time for ``key``, in place of another that it keeps: until when; or what is in the way."""
        with self._database.transaction() as connection:
            if taken := self._taken(connection, calendar_ids, buffers.around(span), key):
                return taken
            now = self._now()
            expires_at = now + timedelta(seconds=seconds)
            connection.execute(delete(holds).where((holds.c.key == key) | (holds.c.expires_at <= now)))
            row = {"key": key, "start": span.start, "end": span.end, "expires_at": expires_at}
            ids = dict.fromkeys(calendar_ids)
            connection.execute(insert(holds), [{**row, "calendar_id": calendar_id} for calendar_id in ids])
            return expires_at

    def release(self, key: str) -> bool:
        """Whether a hold of ``key`` was still in force."""
        with self._database.transaction() as connection:
            in_force = select(holds.c.key).where(holds.c.key == key, holds.c.expires_at > self._now())
            found = connection.execute(in_force).first() is not None
            connection.execute(delete(holds).where(holds.c.key == key))
            return found

    def create(self, wanted: Appointment, buffers: Buffers, key: str, hold_key: str | None = None) -> Event:
        """Enter an appointment; the one that was entered before with this idempotency ``key``, whatever has become of
        its time. Ends the hold of ``hold_key``. Raises TimeTaken, or KeyUsed."""
        with self._database.transaction() as connection:
            known = _first(connection, events.c.idempotency_key == key)
            if known is not None:
                return _same(known, wanted)
            if taken := self._taken(connection, [wanted.calendar_id], buffers.around(wanted.span), hold_key):
                raise TimeTaken(taken)
            row = _row_of(wanted, key, self._now())
            connection.execute(insert(events).values(row))
            connection.execute(delete(holds).where(holds.c.key == hold_key))
            created = _first(connection, events.c.id == row["id"])
            assert created is not None
            return created

    def cancel(self, calendar_id: str, event_id: str) -> Event | None:
        """Also where it is canceled already; None: there is no such appointment."""
        which = (events.c.calendar_id == calendar_id) & (events.c.id == event_id)
        with self._database.transaction() as connection:
            changes = {"canceled": True, "sequence": events.c.sequence + 1, "changed_at": self._now()}
            connection.execute(update(events).where(which, events.c.canceled.is_(False)).values(changes))
            return _first(connection, which)

    def events(self, calendar_ids: Sequence[str], window: Span) -> list[Event]:
        """Appointments that overlap ``window`` and take place, in order."""
        query = _overlapping(events, window).where(events.c.calendar_id.in_(calendar_ids), events.c.canceled.is_(False))
        with self._database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def events_since(self, moment: datetime) -> list[Event]:
        """All that have not ended by then, in every calendar, canceled or not."""
        query = select(events).where(events.c.end > moment)
        with self._database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def replace_imported(self, source: str, found: Sequence[Taken]) -> None:
        """What is busy in a calendar elsewhere, in place of what was known of it."""
        rows = [
            {"source": source, "start": taken.span.start, "end": taken.span.end, "summary": taken.summary}
            for taken in found
        ]
        with self._database.transaction() as connection:
            connection.execute(delete(imported).where(imported.c.source == source))
            if rows:
                connection.execute(insert(imported), rows)

    def _taken(
        self, connection: Connection, calendar_ids: Sequence[str], window: Span, hold_key: str | None
    ) -> list[Taken]:
        found = [
            *self._booked(connection, calendar_ids, window),
            *self._held(connection, calendar_ids, window, hold_key),
            *self._elsewhere(connection, window),
        ]
        return sorted(found, key=lambda taken: taken.span)

    def _booked(self, connection: Connection, calendar_ids: Sequence[str], window: Span) -> Iterator[Taken]:
        query = _overlapping(events, window).where(events.c.calendar_id.in_(calendar_ids), events.c.canceled.is_(False))
        for row in connection.execute(query):
            yield Taken(Span(row.start, row.end), row.title)

    def _held(
        self, connection: Connection, calendar_ids: Sequence[str], window: Span, hold_key: str | None
    ) -> Iterator[Taken]:
        query = _overlapping(holds, window).where(
            holds.c.calendar_id.in_(calendar_ids), holds.c.expires_at > self._now(), holds.c.key != (hold_key or "")
        )
        for row in connection.execute(query):
            yield Taken(Span(row.start, row.end), HELD)

    def _elsewhere(self, connection: Connection, window: Span) -> Iterator[Taken]:
        query = _overlapping(imported, window).where(imported.c.source.in_(list(self.sources)))
        for row in connection.execute(query):
            yield Taken(Span(row.start, row.end), row.summary)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _overlapping(table: Table, window: Span) -> Any:
    return select(table).where(table.c.start < window.end, table.c.end > window.start).order_by(table.c.start)


def _first(connection: Connection, where: Any) -> Event | None:
    row = connection.execute(select(events).where(where)).first()
    return None if row is None else _event(row)


def _same(known: Event, wanted: Appointment) -> Event:
    if known.canceled or any(getattr(known, name) != value for name, value in _fields(wanted).items()):
        raise KeyUsed(known)
    return known


def _fields(wanted: Appointment) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in Appointment.__dataclass_fields__}


def _row_of(wanted: Appointment, key: str, now: datetime) -> dict[str, Any]:
    details = {
        "description": wanted.description,
        "location": wanted.location,
        "guests": [asdict(guest) for guest in wanted.guests],
    }
    return {
        "id": uuid.uuid4().hex,
        "calendar_id": wanted.calendar_id,
        "start": wanted.span.start,
        "end": wanted.span.end,
        "timezone": wanted.timezone,
        "title": wanted.title,
        "details": json.dumps(details),
        "idempotency_key": key,
        "created_at": now,
        "changed_at": now,
    }


def _event(row: Row[Any]) -> Event:
    details: Mapping[str, Any] = json.loads(row.details)
    return Event(
        calendar_id=row.calendar_id,
        span=Span(row.start, row.end),
        timezone=row.timezone,
        title=row.title,
        description=details["description"],
        location=details["location"],
        guests=tuple(Guest(**guest) for guest in details["guests"]),
        id=row.id,
        canceled=row.canceled,
        sequence=row.sequence,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
