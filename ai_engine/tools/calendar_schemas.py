"""What agents are told of the calendar tools: nothing is required, since what is left out is filled in."""

from collections.abc import Mapping
from typing import Any

_TEXT = {"type": "string", "maxLength": 200}
_START = {"type": "string", "description": "RFC 3339, like 2026-12-01T10:00:00+01:00; or say day and time instead."}
_DAY = {"type": "string", "maxLength": 100, "description": 'The day as they said it: "next tuesday", "2026-12-01".'}
_TIME = {"type": "string", "maxLength": 100, "description": 'The time as they said it: "half past ten", "10:30".'}
_MINUTES = {"type": "number", "exclusiveMinimum": 0, "maximum": 1440, "description": "Left out: as it was ordered."}
_IDS = {"type": "array", "items": _TEXT, "minItems": 1, "description": "Left out: the calendar of this call."}
_HOURS = {
    "type": "object",
    "properties": {
        "start": {"type": "string", "description": "HH:mm"},
        "end": {"type": "string", "description": "HH:mm"},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 6}},
    },
    "additionalProperties": False,
    "description": "Narrower than usual: only in the afternoon, only on Mondays. 0 is Sunday.",
}
_ATTENDEE = {
    "type": "object",
    "properties": {"email": {"type": "string"}, "optional": {"type": "boolean"}},
    "required": ["email"],
    "additionalProperties": False,
}

BUFFERS: Mapping[str, Any] = {
    name: {"type": "number", "minimum": 0, "maximum": 1440} for name in ("bufferBeforeMinutes", "bufferAfterMinutes")
}


def _object(**properties: Any) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


FIND_SLOTS: tuple[str, str, Mapping[str, Any]] = (
    "calendar_find_slots",
    "Look for times that are free for the appointment: on a day, between two moments, or as soon as possible. Tells a"
    " few of them, spread over that time, and how many more there are.",
    _object(
        day=_DAY,
        windowStart={"type": "string", "description": "No earlier than this, RFC 3339."},
        windowEnd={"type": "string", "description": "No later than this."},
        durationMinutes=_MINUTES,
        calendarIds=_IDS,
        timezone=_TEXT,
        granularityMinutes={"type": "number", "minimum": 1, "maximum": 1440},
        **BUFFERS,
        workingHours=_HOURS,
    ),
)

CHECK_SLOT: tuple[str, str, Mapping[str, Any]] = (
    "calendar_check_slot",
    "Find out whether the appointment can be at a time, before you promise it, and hold it for a while. Say start, or"
    " day and time in their own words. Where it is taken, you are told others.",
    _object(
        start=_START,
        end={"type": "string", "description": "Left out: as long as it was ordered."},
        day=_DAY,
        time=_TIME,
        durationMinutes=_MINUTES,
        calendarIds=_IDS,
        timezone=_TEXT,
        **BUFFERS,
    ),
)

CREATE_EVENT: tuple[str, str, Mapping[str, Any]] = (
    "calendar_create_event",
    "Book the appointment, after it was checked with calendar_check_slot, read back, and confirmed with a clear yes."
    " Say the start that was checked; left out, it is the latest one.",
    _object(
        start=_START,
        end={"type": "string", "description": "Left out: as it was checked."},
        day=_DAY,
        time=_TIME,
        durationMinutes=_MINUTES,
        title={"type": "string", "minLength": 1, "maxLength": 200, "description": "What it is about."},
        description={"type": "string", "maxLength": 2000},
        location={"type": "string", "maxLength": 500},
        attendees={"type": "array", "maxItems": 20, "items": _ATTENDEE},
        calendarId=_TEXT,
        timezone=_TEXT,
        idempotencyKey={"type": "string", "description": "Not needed."},
    ),
)
