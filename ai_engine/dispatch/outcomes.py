"""What a call has come to."""

from collections.abc import Mapping, Sequence
from typing import Any

from ai_engine.dispatch.rows import KnownBooking
from ai_engine.jobs.record import CallRecord, Outcome, ScheduledEvent
from ai_engine.jobs.status import Status
from ai_engine.jobs.times import zone


def outcome_of(record: CallRecord) -> Outcome | None:
    """Of a call that is over."""
    if record.scheduled_event is not None:
        return "scheduled"
    if record.report is not None:
        return "reported"
    if record.status is not Status.COMPLETED:
        return None
    if record.answered_by == "machine":
        return "message_left"
    return "talked" if record.request.talks else "not_scheduled"


def event_of(answer: Mapping[str, Any], body: Mapping[str, Any]) -> ScheduledEvent | None:
    """The appointment that the calendar's ``answer`` to ``body`` names; scheduled is only what it names in full."""
    names = {"eventId": "event_id", "start": "start", "end": "end", "timezone": "timezone"}
    if answer.get("ok") is not True or not all(answer.get(name) for name in names):
        return None
    given = {ours: answer[theirs] for theirs, ours in names.items()}
    calendar_id = answer.get("calendarId") or body.get("calendarId", "primary")
    try:
        zone(given["timezone"])
        return ScheduledEvent(**given, calendar_id=calendar_id, summary=body.get("title"))
    except (ValueError, TypeError):  # pydantic's, too
        return None


def broken_promise(bookings: Sequence[KnownBooking]) -> str:
    """What was confirmed on the telephone and then refused by the calendar; empty where all was kept. The oldest comes
    first."""
    if not bookings or bookings[-1].state != "refused":
        return ""
    last = bookings[-1]
    why = last.result.get("error") or "the time is taken"
    return f"{last.body.get('start')} was confirmed on the telephone, but the calendar refused it: {why}"
