"""What a calendar bridge does: looks for times, checks and holds them, enters appointments."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog

from ai_engine.calendar.refusals import Refused, read_body
from ai_engine.calendar.slots import Buffers, Busy, Span, Wish, alternatives, find_slots, is_open
from ai_engine.calendar.store import Appointment, Event, Guest, KeyUsed, Store, Taken, TimeTaken
from ai_engine.calendar.wire import (
    Answer,
    Attendee,
    CancelEvent,
    CheckSlot,
    Conflict,
    CreateEvent,
    EventCanceled,
    EventCreated,
    EventsListed,
    FindSlots,
    HoldReleased,
    ListedEvent,
    ListEvents,
    ReleaseHold,
    Slot,
    SlotChecked,
    SlotsFound,
)
from ai_engine.jobs.request import Wire, WorkingHours
from ai_engine.jobs.settings import CalendarSettings
from ai_engine.jobs.times import zone

log = structlog.get_logger(__name__)

OUTSIDE_HOURS = "outside working hours"

MOST_SLOTS = 1000
"""What is beyond is not answered: nobody listens to so many."""
_QUARTER_HOUR = 15
"""Where alternatives begin, unless a granularity is set."""


class Bridge:
    """Every method blocks: to be called off any event loop."""

    def __init__(
        self,
        store: Store,
        settings: CalendarSettings,
        clock: Callable[[], float],
        hours: WorkingHours | None = None,
        written: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """``clock`` is epoch seconds. Alternatives are looked for within ``hours`` where a request names none;
        ``written`` is told of every appointment that was entered or canceled, also when that is asked for again."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._hours = hours
        self._written = written
        self._operations: Mapping[str, tuple[type[Wire], Callable[[Any], Answer]]] = {
            "find-slots": (FindSlots, self._find),
            "check-slot": (CheckSlot, self._check),
            "create-event": (CreateEvent, self._create),
            "release-hold": (ReleaseHold, self._release),
            "list-events": (ListEvents, self._list),
            "cancel-event": (CancelEvent, self._cancel),
        }

    def carry_out(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer. Raises Refused, or sqlalchemy.exc.SQLAlchemyError where the store cannot be used."""
        if operation not in self._operations:
            known = ", ".join(self._operations)
            raise Refused(f"there is no operation {operation[:50]!r}; there are {known}", HTTPStatus.NOT_FOUND)
        asked, do = self._operations[operation]
        return do(read_body(asked, operation, body)).as_json()

    def _find(self, asked: FindSlots) -> SlotsFound:
        here, window = zone(asked.timezone), asked.window
        duration = timedelta(minutes=asked.duration_minutes)
        buffers = self._buffers(asked)
        wish = Wish(here, duration, self._step(asked), asked.working_hours, buffers)
        busy = self._busy(self._store.taken(asked.calendar_ids, buffers.around(window)))
        slots = islice(find_slots(wish, window, busy), MOST_SLOTS)
        return SlotsFound(
            timezone=asked.timezone,
            slots=tuple(map(asked.local, slots)),
            window_start=window.start.astimezone(here),
            window_end=window.end.astimezone(here),
        )

    def _check(self, asked: CheckSlot) -> SlotChecked:
        buffers, span = self._buffers(asked), asked.span
        key = asked.hold.key if asked.hold else None
        if asked.working_hours is not None and not is_open(asked.working_hours, zone(asked.timezone), span):
            outside = _conflict(asked.local(span), OUTSIDE_HOURS, OUTSIDE_HOURS)
            return SlotChecked(conflicts=(outside,), alternatives=self._alternatives(asked, buffers, key))
        held_until, taken = self._held_or_taken(asked, buffers)
        if taken:
            conflicts = (_conflict(asked.local(one.span), one.summary) for one in taken)
            return SlotChecked(conflicts=tuple(conflicts), alternatives=self._alternatives(asked, buffers, key))
        return SlotChecked(held_until=held_until and held_until.astimezone(zone(asked.timezone)))

    def _create(self, asked: CreateEvent) -> EventCreated:
        wanted = Appointment(
            calendar_id=asked.calendar_id,
            span=asked.span,
            timezone=asked.timezone,
            title=asked.title,
            description=asked.description or "",
            location=asked.location or "",
            guests=tuple(Guest(guest.email, bool(guest.optional)) for guest in asked.attendees or ()),
        )
        try:
            event = self._store.create(wanted, self._house_buffers, asked.idempotency_key, asked.hold_key)
        except TimeTaken as error:
            raise Refused(_taken(asked, error.by)) from None
        except KeyUsed as error:
            raise Refused(_used(asked, error.event)) from None
        log.info(
            "appointment is entered", calendar=event.calendar_id, event_id=event.id, start=event.span.start.isoformat()
        )
        self._written(event)
        slot = asked.local(event.span)
        return EventCreated(
            event_id=event.id,
            calendar_id=event.calendar_id,
            start=slot.start,
            end=slot.end,
            timezone=event.timezone,
        )

    def _release(self, asked: ReleaseHold) -> HoldReleased:
        return HoldReleased(released=self._store.release(asked.key))

    def _list(self, asked: ListEvents) -> EventsListed:
        found = self._store.events(asked.calendar_ids, asked.window)
        return EventsListed(
            timezone=asked.timezone, events=tuple(_listed(event, asked.local(event.span)) for event in found)
        )

    def _cancel(self, asked: CancelEvent) -> EventCanceled:
        event = self._store.cancel(asked.calendar_id, asked.event_id)
        if event is None:
            where = f"calendar {asked.calendar_id!r} has no event {asked.event_id!r}"
            raise Refused(where, HTTPStatus.NOT_FOUND)
        log.info("appointment is canceled", calendar=event.calendar_id, event_id=event.id)
        self._written(event)
        return EventCanceled(calendar_id=event.calendar_id, event_id=event.id)

    def _held_or_taken(self, asked: CheckSlot, buffers: Buffers) -> tuple[datetime | None, list[Taken]]:
        if asked.hold is None:
            return None, self._store.taken(asked.calendar_ids, buffers.around(asked.span))
        seconds = asked.hold.seconds or self._settings.hold_seconds
        held = self._store.hold(asked.calendar_ids, asked.span, buffers, asked.hold.key, seconds)
        return (held, []) if isinstance(held, datetime) else (None, held)

    def _alternatives(self, asked: CheckSlot, buffers: Buffers, key: str | None) -> tuple[Slot, ...]:
        span, here = asked.span, zone(asked.timezone)
        reach, now = timedelta(days=self._settings.window_days), datetime.fromtimestamp(self._clock(), UTC)
        step = timedelta(minutes=self._settings.granularity_minutes or _QUARTER_HOUR)
        wish = Wish(here, span.end - span.start, step, self._hours_for(asked), buffers)
        # What has been asked about in the past may be answered there.
        earliest = min(now, span.start)
        around = Span(span.start - reach - timedelta(days=2), span.end + reach + timedelta(days=2))
        busy = self._busy(self._store.taken(asked.calendar_ids, buffers.around(around), key))
        return tuple(map(asked.local, alternatives(wish, span, busy, earliest=earliest, reach=reach)))

    def _hours_for(self, asked: CheckSlot) -> WorkingHours | None:
        """Who asks about an evening without naming hours is not sent to the next morning."""
        if asked.working_hours is not None or self._hours is None:
            return asked.working_hours
        return self._hours if is_open(self._hours, zone(asked.timezone), asked.span) else None

    def _step(self, asked: FindSlots) -> timedelta:
        minutes = asked.granularity_minutes or self._settings.granularity_minutes or asked.duration_minutes
        return timedelta(minutes=max(1.0, minutes))

    @property
    def _house_buffers(self) -> Buffers:
        house = self._settings
        return Buffers(timedelta(minutes=house.buffer_before_minutes), timedelta(minutes=house.buffer_after_minutes))

    def _buffers(self, asked: FindSlots | CheckSlot) -> Buffers:
        """At least those of the house: a time that is called free can be booked."""
        house = self._house_buffers
        return Buffers(
            max(house.before, timedelta(minutes=asked.buffer_before_minutes or 0)),
            max(house.after, timedelta(minutes=asked.buffer_after_minutes or 0)),
        )

    @staticmethod
    def _busy(taken: list[Taken]) -> Busy:
        return Busy(one.span for one in taken)


def _conflict(slot: Slot, summary: str, reason: str | None = None) -> Conflict:
    return Conflict(start=slot.start, end=slot.end, summary=summary, reason=reason)


def _taken(asked: CreateEvent, by: Sequence[Taken]) -> str:
    there = "; ".join(f"{one.summary}, {_said(asked, one.span)}" for one in by[:3])
    return f"{_said(asked, asked.span)} is not free any more: {there}"


def _used(asked: CreateEvent, event: Event) -> str:
    key = f"idempotencyKey {asked.idempotency_key!r}"
    if event.canceled:
        return f"{key} is that of event {event.id}, which was canceled; a new appointment needs a new key"
    return (
        f"{key} is that of another appointment: event {event.id}, {event.title!r}, {_said(asked, event.span)};"
        " nothing was changed, and a new appointment needs a new key"
    )


def _said(asked: CreateEvent, span: Span) -> str:
    slot = asked.local(span)
    return f"{slot.start.isoformat()} to {slot.end.isoformat()}"


def _listed(event: Event, slot: Slot) -> ListedEvent:
    guests = tuple(Attendee(email=guest.email, optional=guest.optional or None) for guest in event.guests)
    return ListedEvent(
        start=slot.start,
        end=slot.end,
        event_id=event.id,
        calendar_id=event.calendar_id,
        timezone=event.timezone,
        title=event.title,
        description=event.description or None,
        location=event.location or None,
        attendees=guests or None,
    )
