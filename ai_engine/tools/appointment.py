"""What an appointment made in a call must be like, and what times in it are called."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.settings import CalendarSettings, Defaults
from ai_engine.jobs.times import as_moment, minutes_of, zone
from ai_engine.text import when

USUAL_MINUTES = 30.0
"""How long an appointment is where nobody says."""
_DAY_MINUTES = 24 * 60
_LONGEST = timedelta(days=31)


class Unclear(Exception):
    """An agent asked for something that cannot be looked up; ``str()`` says what to do about it."""

    def __init__(self, sentence: str, **known: str) -> None:
        """``known`` is told to the agent too: what is ``missing`` (``day``, ``time``), the ``day`` that was said."""
        super().__init__(sentence)
        self.known = known


@dataclass(frozen=True, slots=True)
class Slot:
    """A time an appointment takes, in the zone of the call."""

    start: datetime
    end: datetime

    @property
    def key(self) -> str:
        """The same for a moment, however it is written."""
        return self.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def plain(self, now: datetime) -> dict[str, str]:
        """As an agent is told of it."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "spoken": when.spoken(self.start, now)}


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known of the appointment before a time is agreed on."""

    owner: str
    """The job, or the call where there is none: holds and bookings are its."""
    job_id: str | None
    calendar_id: str
    timezone: str
    minutes: float
    hours: WorkingHours
    now: datetime
    """In that zone."""
    earliest: datetime | None
    latest: datetime | None

    def slot(self, start: datetime, end: datetime | None = None) -> Slot:
        start = start.astimezone(zone(self.timezone))
        end = start + timedelta(minutes=self.minutes) if end is None else end.astimezone(start.tzinfo)
        if not timedelta() < end - start <= _LONGEST:
            raise Unclear("the end must come after the start")
        return Slot(start, end)

    def objection(self, slot: Slot) -> str:
        """Why no appointment may be then, for the person on the telephone; empty where it may."""
        if slot.start < self.now:
            return "that time has passed"
        if not is_open(self.hours, slot):
            return "that is outside working hours"
        if (self.earliest and slot.start < self.earliest) or (self.latest and slot.end > self.latest):
            return "that is outside the days in question"
        return ""

    def allowed(self, slots: Iterable[Mapping[str, Any]]) -> list[Slot]:
        """Those of a calendar's answer that an appointment may be at."""
        moments = (
            self.slot(moment(each["start"], self.timezone), moment(each["end"], self.timezone)) for each in slots
        )
        return [slot for slot in moments if not self.objection(slot)]

    def asked(self, arguments: Mapping[str, Any]) -> Slot:
        """The time that an agent asks about: a ``start``, or a ``day`` and a ``time`` in words. Raises Unclear."""
        if start := arguments.get("start"):
            end = arguments.get("end")
            return self.slot(moment(start, self.timezone), moment(end, self.timezone) if end else None)
        day, time = (arguments.get(word, "").strip() for word in ("day", "time"))
        if not day:
            raise Unclear("on which day? ask for it, then say start, or day and time", missing="day")
        if not time:
            known = self.day(day)[0].date().isoformat()
            raise Unclear("at what time? ask for it, then say start, or day and time", missing="time", day=known)
        return self.slot(self._resolved(day, time))

    def day(self, words: str) -> tuple[datetime, datetime]:
        """From midnight to midnight. Raises Unclear."""
        last = self._resolved(words, "23:59")  # of today, too, some is left
        first = last.replace(hour=0, minute=0, second=0, microsecond=0)
        return first, first + timedelta(days=1)

    def _resolved(self, day: str, time: str) -> datetime:
        try:
            return when.resolve(day, time, self.timezone, self.now)
        except ValueError as error:
            raise Unclear(str(error)) from error


def terms_of(
    call_id: str,
    facts: Mapping[str, str],
    arguments: Mapping[str, Any],
    settings: CalendarSettings,
    defaults: Defaults,
    own_zone: str,
    now: datetime,
) -> Terms:
    """What the order of the call says comes first, then ``arguments``, then the settings. Raises Unclear.

    Models like to name a calendar and a zone that nobody told them.
    """
    place = facts.get("timezone") or arguments.get("timezone") or defaults.timezone or own_zone
    calendar_ids = arguments.get("calendarIds") or [arguments.get("calendarId") or "primary"]
    try:
        here = zone(place)
        hours = _hours(facts.get("working_hours")) or defaults.working_hours
    except ValueError as error:
        raise Unclear(str(error)) from error
    return Terms(
        owner=facts.get("job") or call_id,
        job_id=facts.get("job") or None,
        calendar_id=facts.get("calendar_id") or calendar_ids[0],
        timezone=place,
        minutes=float(arguments.get("durationMinutes") or facts.get("duration_minutes") or USUAL_MINUTES),
        hours=hours,
        now=now.astimezone(here),
        earliest=_optional(facts.get("window_start"), place),
        latest=_optional(facts.get("window_end"), place),
    )


def moment(text: str, place: str) -> datetime:
    """RFC 3339; without an offset it is meant in ``place``. Raises Unclear."""
    try:
        return as_moment(datetime.fromisoformat(text), place)
    except (ValueError, OverflowError) as error:
        raise Unclear(f"{text!r} is no time; write it like 2026-12-01T10:00:00+01:00, or say day and time") from error


def is_open(hours: WorkingHours, slot: Slot) -> bool:
    """Whether ``slot`` lies within the hours of one day."""
    begin, until = minutes_of(hours.start), minutes_of(hours.end)
    until += 0 if until > begin else _DAY_MINUTES
    length = (slot.end - slot.start).total_seconds() / 60
    for days_ago in (0, 1):  # the hours of a night go on past midnight
        day = slot.start - timedelta(days=days_ago)
        first = slot.start.hour * 60 + slot.start.minute + days_ago * _DAY_MINUTES
        if day.isoweekday() % 7 in hours.days and begin <= first and first + length <= until:
            return True
    return False


def spread(slots: Sequence[Slot], most: int) -> list[Slot]:
    """Some of them from the first to the last, as far apart as can be."""
    if len(slots) <= most:
        return list(slots)
    return [slots[at * (len(slots) - 1) // (most - 1)] for at in range(most)]


def nearest(slots: Iterable[Slot], wanted: Slot, most: int) -> list[Slot]:
    """Those closest to what was asked for, in order of time."""
    closest = sorted({slot.key: slot for slot in slots}.values(), key=lambda slot: abs(slot.start - wanted.start))
    return sorted(closest[:most], key=lambda slot: slot.start)


def offer(slots: Sequence[Slot], now: datetime) -> str:
    """How they are said one after the other."""
    return ", or ".join(when.spoken(slot.start, now) for slot in slots)


def _hours(text: str | None) -> WorkingHours | None:
    if not text:
        return None
    try:
        return WorkingHours.model_validate(json.loads(text))
    except ValidationError as error:
        raise ValueError("the working hours of this call cannot be read") from error


def _optional(text: str | None, place: str) -> datetime | None:
    return moment(text, place) if text else None
