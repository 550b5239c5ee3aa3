"""What is asked of a calendar bridge and what it answers, as JSON in camel case."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ai_engine.calendar.slots import Span, moment
from ai_engine.jobs.request import Wire, WorkingHours
from ai_engine.jobs.times import Zone, zone

_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_DAY_MINUTES = 24 * 60
_LONGEST_WINDOW = timedelta(days=366)
_LONGEST_EVENT = timedelta(days=31)
_MOST_CHARACTERS = 200
"""Of what was sent and is quoted back."""


def _written(given: object) -> object:
    # pydantic would take a number for seconds since 1970.
    if not isinstance(given, str | datetime):
        raise ValueError("is no time; write it like 2026-12-01T10:00:00+01:00")
    return given


def _sensible_year(given: datetime) -> datetime:
    if not _FIRST_YEAR < given.year < _LAST_YEAR:
        raise ValueError(f"the year {given.year} is out of reach")
    return given


def _mail(text: str) -> str:
    name, at, host = text.rpartition("@")
    if not (name and at and host) or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text[:_MOST_CHARACTERS]!r} is no e-mail address")
    return text


Time = Annotated[datetime, BeforeValidator(_written), AfterValidator(_sensible_year)]
CalendarId = Annotated[str, Field(min_length=1, max_length=200)]
Key = Annotated[str, Field(min_length=1, max_length=300)]
BufferMinutes = Annotated[float, Field(ge=0, le=_DAY_MINUTES)]


class Attendee(Wire):
    email: Annotated[str, Field(max_length=320), AfterValidator(_mail)]
    optional: bool | None = None


class HoldWish(Wire):
    """Keep the time for a while, if it is free."""

    key: Key
    """Whose hold it is: one at a time. `create-event` with it as `holdKey` may take the time."""
    seconds: Annotated[float, Field(gt=0, le=3600)] | None = None


class _Timed(Wire):
    timezone: Zone
    """IANA; times without an offset are meant in it, and answers have its offsets."""

    def moment(self, given: datetime, name: str) -> datetime:
        """In UTC. Raises ValueError for a time that the clocks of the zone skip."""
        if given.tzinfo is not None:
            return given.astimezone(UTC)
        found = moment(given.replace(fold=0), zone(self.timezone))
        if found is None:
            raise ValueError(f"{name}: there is no {given:%H:%M} on {given:%Y-%m-%d} in {self.timezone}")
        return found

    def local(self, span: Span) -> "Slot":
        here = zone(self.timezone)
        return Slot(start=span.start.astimezone(here), end=span.end.astimezone(here))


class _Window(_Timed):
    calendar_ids: Annotated[tuple[CalendarId, ...], Field(min_length=1, max_length=50)]
    window_start: Time
    window_end: Time

    @property
    def window(self) -> Span:
        return Span(self.moment(self.window_start, "windowStart"), self.moment(self.window_end, "windowEnd"))

    @model_validator(mode="after")
    def _in_order(self) -> "_Window":
        window = self.window
        if window.start >= window.end:
            raise ValueError("windowEnd must be after windowStart")
        if window.end - window.start > _LONGEST_WINDOW:
            raise ValueError("a window is a year at most")
        return self


class _Appointment(_Timed):
    start: Time
    end: Time

    @property
    def span(self) -> Span:
        return Span(self.moment(self.start, "start"), self.moment(self.end, "end"))

    @model_validator(mode="after")
    def _in_order(self) -> "_Appointment":
        span = self.span
        if span.start >= span.end:
            raise ValueError("end must be after start")
        if span.end - span.start > _LONGEST_EVENT:
            raise ValueError("an appointment takes a month at most")
        return self


class FindSlots(_Window):
    """Which times are free?"""

    duration_minutes: Annotated[float, Field(gt=0, le=31 * _DAY_MINUTES)]
    granularity_minutes: Annotated[float, Field(ge=1, le=_DAY_MINUTES)] | None = None
    """Distance of the times that are offered; absent: as long as the appointment."""
    buffer_before_minutes: BufferMinutes | None = None
    buffer_after_minutes: BufferMinutes | None = None
    working_hours: WorkingHours | None = None
    attendees: tuple[Attendee, ...] | None = None


class CheckSlot(_Appointment):
    """Is this time free?"""

    calendar_ids: Annotated[tuple[CalendarId, ...], Field(min_length=1, max_length=50)]
    buffer_before_minutes: BufferMinutes | None = None
    buffer_after_minutes: BufferMinutes | None = None
    working_hours: WorkingHours | None = None
    """Ours: beyond them a time is not free."""
    hold: HoldWish | None = None
    """Ours."""


class CreateEvent(_Appointment):
    """Enter an appointment."""

    calendar_id: CalendarId
    title: Annotated[str, Field(min_length=1, max_length=1000)]
    idempotency_key: Key
    """Whoever asks again with the same key is asking about the same appointment."""
    description: Annotated[str, Field(max_length=20_000)] | None = None
    location: Annotated[str, Field(max_length=1000)] | None = None
    attendees: Annotated[tuple[Attendee, ...], Field(max_length=100)] | None = None
    hold_key: Key | None = None
    """Ours: the time may be held under this key; the hold ends with the appointment."""


class ReleaseHold(Wire):
    """Ours: the time is not wanted any longer."""

    key: Key


class ListEvents(_Window):
    """Ours: which appointments did this bridge make?"""


class CancelEvent(Wire):
    """Ours: an appointment does not take place."""

    calendar_id: CalendarId
    event_id: Key


class Slot(Wire):
    start: datetime
    end: datetime


class Conflict(Slot):
    summary: str
    reason: str | None = None
    """Ours: why it is none of the free times, where it is not another appointment."""


class Answer(Wire):
    ok: Literal[True] = True


class SlotsFound(Answer):
    timezone: str
    slots: tuple[Slot, ...]
    window_start: datetime
    window_end: datetime


class SlotChecked(Answer):
    """Without ``conflicts`` the time is free."""

    conflicts: tuple[Conflict, ...] = ()
    alternatives: tuple[Slot, ...] = ()
    held_until: datetime | None = None
    """Ours."""


class EventCreated(Answer):
    event_id: str
    calendar_id: str
    start: datetime
    end: datetime
    timezone: str


class HoldReleased(Answer):
    released: bool
    """Whether there was one."""


class EventCanceled(Answer):
    calendar_id: str
    event_id: str


class ListedEvent(Slot):
    event_id: str
    calendar_id: str
    timezone: str
    title: str
    description: str | None = None
    location: str | None = None
    attendees: tuple[Attendee, ...] | None = None


class EventsListed(Answer):
    timezone: str
    events: tuple[ListedEvent, ...]
