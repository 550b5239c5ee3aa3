"""Finds, checks and books times for appointments while people talk."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from ai_engine.jobs.ports import CalendarUnreachable
from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.settings import CalendarSettings, Defaults
from ai_engine.session.ports import Tool, ToolContext
from ai_engine.text import when
from ai_engine.tools import calendar_schemas as schemas
from ai_engine.tools.answer import Result, cut, failed
from ai_engine.tools.appointment import Slot, Terms, Unclear, is_open, moment, nearest, offer, spread, terms_of

log = structlog.get_logger(__name__)

BOOKING_SECONDS = 8.0
"""So long a caller waits for an appointment to be entered; it is then entered without them."""
_MOST_SLOTS = 3
"""More nobody keeps in mind on the telephone."""
_MOST_ALTERNATIVES = 2
_MOST_TITLE = 200
_MOST_CALLS, _MOST_TIMES = 1000, 20
"""Calls that are remembered, and times of each."""
_UNREACHABLE = "the calendar cannot be reached at the moment; say so, and offer to call back or to connect a person"

_READ_BACK = "Read it back, and wait for a clear yes. Only then use calendar_create_event with this start."
_CHECK_FIRST = "use calendar_check_slot first, read the time back, and wait for a clear yes"
_OFFER = "Say so, offer the alternatives, and check the one they choose with calendar_check_slot."
_CHOOSE = "Offer these, and check the one they choose with calendar_check_slot."
_DONE = "Tell them it is booked, with day and time. Say goodbye, then use hangup."
_LATER = (
    "The calendar does not answer, but the appointment is noted: it will be entered and confirmed later. Say so, and do"
    " not offer another time. Say goodbye, then use hangup."
)


class Bookings(Protocol):
    """The calendar, and who sees to it that what was promised gets into it."""

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """``find-slots`` or ``check-slot``, as ``jobs.ports.Calendar`` has it. Raises CalendarUnreachable."""
        ...

    async def book(self, call_id: str, job_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """``create-event``, kept until the calendar has answered: ``{"ok": false, "pending": true, …}`` where it has
        not yet. Raises CalendarUnreachable where nothing is kept."""
        ...


@dataclass(slots=True)
class Checked:
    """A time that was free when it was checked."""

    slot: Slot
    calendar_id: str
    body: dict[str, Any] | None = None
    """How it was booked; asked again, it is the same appointment whatever else is said of it."""


class Held:
    """The times that were checked in each call; those of the oldest calls, and the oldest of a call, are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, OrderedDict[str, Checked]] = OrderedDict()

    def add(self, call_id: str, checked: Checked) -> None:
        times = self._calls.setdefault(call_id, OrderedDict())
        self._calls.move_to_end(call_id)
        times.setdefault(checked.slot.key, checked)
        times.move_to_end(checked.slot.key)
        if len(times) > _MOST_TIMES:
            times.popitem(last=False)
        if len(self._calls) > _MOST_CALLS:
            self._calls.popitem(last=False)

    def find(self, call_id: str, slot: Slot | None) -> Checked | None:
        """The time that was checked; the latest where none is named."""
        times = self._calls.get(call_id, OrderedDict())
        return times.get(slot.key if slot else next(reversed(times), ""))

    def drop(self, call_id: str, slot: Slot) -> None:
        self._calls.get(call_id, OrderedDict()).pop(slot.key, None)


@dataclass(frozen=True, slots=True)
class CalendarDesk:
    """What the three tools have in common."""

    bookings: Bookings
    settings: CalendarSettings
    defaults: Defaults
    own_zone: str
    """Where nobody names another."""
    clock: Callable[[], datetime]
    """Now, with an offset."""
    held: Held = field(default_factory=Held)

    def terms(self, arguments: Mapping[str, Any], call: ToolContext) -> Terms:
        return terms_of(call.call_id, call.facts, arguments, self.settings, self.defaults, self.own_zone, self.clock())

    async def free(self, terms: Terms, begin: datetime, until: datetime, more: Mapping[str, Any]) -> Result:
        """``find-slots`` between the two; ``more`` is said beside that."""
        begin = max(moment for moment in (begin, terms.now, terms.earliest) if moment is not None)
        until = min(moment for moment in (until, terms.latest) if moment is not None)
        if begin >= until:
            return {"ok": True, "slots": []}
        body = {
            "calendarIds": [terms.calendar_id],
            "windowStart": begin.isoformat(),
            "windowEnd": until.isoformat(),
            "durationMinutes": terms.minutes,
            "timezone": terms.timezone,
            "workingHours": terms.hours.as_json(),
        }
        return await self.bookings.ask("find-slots", body | dict(more))


def calendar_tools(
    bookings: Bookings,
    settings: CalendarSettings,
    defaults: Defaults,
    own_zone: str,
    clock: Callable[[], datetime],
) -> tuple[Tool, ...]:
    """The tools of `jobs.briefing.CALENDAR_TOOLS`, for all calls; ``clock`` is now, with an offset."""
    desk = CalendarDesk(bookings, settings, defaults, own_zone, clock)
    return FindSlots(desk), CheckSlot(desk), CreateEvent(desk)


class FindSlots:
    """Implements ``Tool``."""

    name, description, parameters = schemas.FIND_SLOTS

    def __init__(self, desk: CalendarDesk) -> None:
        self._desk = desk
        self.timeout_seconds = desk.settings.timeout_seconds + 1

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        return await _told(self._find(arguments, call), call)

    async def _find(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        terms = self._desk.terms(arguments, call)
        begin, until = self._window(arguments, terms)
        narrower = _narrower(arguments.get("workingHours"))
        more = {name: arguments[name] for name in ("granularityMinutes", *schemas.BUFFERS) if name in arguments}
        answer = await self._desk.free(terms, begin, until, more)
        if answer.get("ok") is not True:
            return failed(cut(str(answer.get("error") or "the calendar did not look")))
        slots = [slot for slot in terms.allowed(answer["slots"]) if narrower is None or is_open(narrower, slot)]
        chosen = spread(slots, _MOST_SLOTS)
        return {
            "ok": True,
            "timezone": terms.timezone,
            **({"day": begin.date().isoformat()} if arguments.get("day") else {}),
            "slots": [slot.plain(terms.now) for slot in chosen],
            "more": len(slots) - len(chosen),
            "offer": offer(chosen, terms.now),
            "instruction": _CHOOSE if chosen else "Nothing is free then. Say so, and ask for another day.",
        }

    def _window(self, arguments: Mapping[str, Any], terms: Terms) -> tuple[datetime, datetime]:
        if arguments.get("day"):
            return terms.day(arguments["day"])
        begin, until = (arguments.get(name) for name in ("windowStart", "windowEnd"))
        start = moment(begin, terms.timezone) if begin else terms.earliest or terms.now
        ahead = max(start, terms.now) + timedelta(days=self._desk.settings.window_days)
        return start, moment(until, terms.timezone) if until else terms.latest or ahead


class CheckSlot:
    """Implements ``Tool``. A time that is free is held for the call."""

    name, description, parameters = schemas.CHECK_SLOT

    def __init__(self, desk: CalendarDesk) -> None:
        self._desk = desk
        self.timeout_seconds = 2 * desk.settings.timeout_seconds + 1

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        return await _told(self._check(arguments, call), call)

    async def _check(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        terms = self._desk.terms(arguments, call)
        wanted = terms.asked(arguments)
        reason = terms.objection(wanted)
        answer: Result = {"ok": True} if reason else await self._ask(arguments, terms, wanted)
        if answer.get("ok") is not True:
            return failed(cut(str(answer.get("error") or "the calendar did not look")))
        conflicts = answer.get("conflicts") or []
        available = not reason and not conflicts
        result = {
            "ok": True,
            "available": available,
            **wanted.plain(terms.now),
            "day": wanted.start.date().isoformat(),
            "timezone": terms.timezone,
            # Whose appointments they are is nobody's business who calls.
            "conflicts": [{"start": each["start"], "end": each["end"]} for each in conflicts],
        }
        if available:
            self._desk.held.add(call.call_id, Checked(wanted, terms.calendar_id))
            return {**result, "instruction": _READ_BACK}
        others = await self._others(terms, wanted, terms.allowed(answer.get("alternatives") or []))
        return {
            **result,
            "reason": reason or "that time is taken",
            "alternatives": [slot.plain(terms.now) for slot in others],
            "offer": offer(others, terms.now),
            "instruction": _OFFER if others else "Say so, and ask for another day.",
        }

    async def _ask(self, arguments: Mapping[str, Any], terms: Terms, wanted: Slot) -> Result:
        body = {
            "calendarIds": [terms.calendar_id],
            "start": wanted.start.isoformat(),
            "end": wanted.end.isoformat(),
            "timezone": terms.timezone,
            "workingHours": terms.hours.as_json(),
            "hold": {"key": terms.owner, "seconds": self._desk.settings.hold_seconds},
        }
        buffers = {name: arguments[name] for name in schemas.BUFFERS if name in arguments}
        return await self._desk.bookings.ask("check-slot", body | buffers)

    async def _others(self, terms: Terms, wanted: Slot, known: list[Slot]) -> list[Slot]:
        """A calendar may name none, or only some outside of what the call is about."""
        if len(known) < _MOST_ALTERNATIVES:
            reach = timedelta(days=self._desk.settings.window_days)
            until = max(wanted.start, terms.earliest or terms.now, terms.now) + reach
            found = await self._desk.free(terms, wanted.start - reach, until, {})
            known += terms.allowed(found.get("slots") or [])
        return nearest(known, wanted, _MOST_ALTERNATIVES)


class CreateEvent:
    """Implements ``Tool``. Only what was checked in the same call can be booked."""

    name, description, parameters = schemas.CREATE_EVENT

    def __init__(self, desk: CalendarDesk) -> None:
        self._desk = desk
        self.timeout_seconds = BOOKING_SECONDS + 2
        self._under_way: set[asyncio.Task[Mapping[str, Any]]] = set()

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        return await _told(self._create(arguments, call), call)

    async def _create(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        terms = self._desk.terms(arguments, call)
        is_named = any(arguments.get(name) for name in ("start", "day", "time"))
        asked = terms.asked(arguments) if is_named else None
        checked = self._desk.held.find(call.call_id, asked)
        if checked is None:
            what = when.spoken(asked.start, terms.now) if asked else "the appointment"
            raise Unclear(f"{what} was not checked in this call: {_CHECK_FIRST}")
        if checked.body is None:
            checked.body = _event(arguments, call.facts, terms, checked)
        answer = await self._book(call.call_id, terms.job_id, checked.body)
        return self._result(answer, call.call_id, terms, checked)

    def _result(self, answer: Mapping[str, Any], call_id: str, terms: Terms, checked: Checked) -> Result:
        told = {**checked.slot.plain(terms.now), "timezone": terms.timezone, "calendarId": checked.calendar_id}
        if answer.get("ok") is True:
            return {"ok": True, **told, "eventId": answer.get("eventId"), "instruction": _DONE}
        if answer.get("pending") is True:
            return {**failed("the calendar does not answer"), "pending": True, **told, "instruction": _LATER}
        self._desk.held.drop(call_id, checked.slot)
        log.warning("appointment refused", call_id=call_id, start=checked.slot.key, error=answer.get("error"))
        # The calendar's own words may tell whose appointment is in the way.
        return {
            **failed(f"{told['spoken']} could not be booked, it may just have been taken; check another time"),
            **told,
        }

    async def _book(self, call_id: str, job_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Whoever has said yes is booked, also when they hang up that very moment."""
        task = asyncio.ensure_future(self._desk.bookings.book(call_id, job_id, body))
        self._under_way.add(task)
        task.add_done_callback(self._settled)
        done, _ = await asyncio.wait({task}, timeout=BOOKING_SECONDS)
        return task.result() if done else {"ok": False, "pending": True}

    def _settled(self, task: asyncio.Task[Mapping[str, Any]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("appointment not entered", reason=str(error))


async def _told(work: Awaitable[Result], call: ToolContext) -> Result:
    """What came of it, in words an agent can go on with."""
    try:
        return await work
    except Unclear as unclear:
        return {**failed(str(unclear)), **unclear.known}
    except CalendarUnreachable as error:
        log.warning("calendar out of reach", call_id=call.call_id, reason=str(error))
        return failed(_UNREACHABLE)


def _event(arguments: Mapping[str, Any], facts: Mapping[str, str], terms: Terms, checked: Checked) -> dict[str, Any]:
    """``create-event`` for it."""
    given = {name: arguments[name] for name in ("location", "attendees") if arguments.get(name)}
    return {
        "calendarId": checked.calendar_id,
        "start": checked.slot.start.isoformat(),
        "end": checked.slot.end.isoformat(),
        "timezone": terms.timezone,
        "title": arguments.get("title") or facts.get("goal", "")[:_MOST_TITLE] or "Appointment",
        "description": arguments.get("description") or _who(facts),
        # Not the model's: whatever it does twice, there is one appointment.
        "idempotencyKey": f"{terms.owner}:{checked.slot.key}",
        "holdKey": terms.owner,
        **given,
    }


def _who(facts: Mapping[str, str]) -> str:
    """For those who find the appointment in their calendar."""
    said = {"With": facts.get("callee"), "For": facts.get("user"), "Number": facts.get("caller")}
    return "\n".join(["Made on the telephone.", *(f"{key}: {value}" for key, value in said.items() if value)])


def _narrower(given: Mapping[str, Any] | None) -> WorkingHours | None:
    try:
        return None if given is None else WorkingHours.model_validate(given)
    except ValidationError as error:
        raise Unclear('workingHours are like {"start": "13:00", "end": "17:00", "days": [1, 2]}') from error
