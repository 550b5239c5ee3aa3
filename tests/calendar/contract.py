"""The contract of a calendar bridge as JSON Schema, written by hand from the words of the contract.

``OURS`` are the keys that our bridge knows beside those; another bridge need not.
"""

from typing import Any

STRING: dict[str, Any] = {"type": "string", "minLength": 1}
NUMBER: dict[str, Any] = {"type": "number", "minimum": 0}
TIME: dict[str, Any] = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?$"}
MOMENT: dict[str, Any] = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
CLOCK_TIME: dict[str, Any] = {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"}


def an_object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(what: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": what, "minItems": least}


ATTENDEES = list_of(an_object({"email": STRING}, {"optional": {"type": "boolean"}}))
DAYS = list_of({"type": "integer", "minimum": 0, "maximum": 6})
HOURS = an_object({}, {"start": CLOCK_TIME, "end": CLOCK_TIME, "days": DAYS})
BUFFERS = {"bufferBeforeMinutes": NUMBER, "bufferAfterMinutes": NUMBER}
SLOT = an_object({"start": MOMENT, "end": MOMENT})
CONFLICT = an_object({"summary": STRING, "start": MOMENT, "end": MOMENT}, {"reason": STRING})
HOLD = an_object({"key": STRING}, {"seconds": NUMBER})

REQUESTS: dict[str, dict[str, Any]] = {
    "find-slots": an_object(
        {
            "calendarIds": list_of(STRING, 1),
            "windowStart": TIME,
            "windowEnd": TIME,
            "durationMinutes": {"type": "number", "exclusiveMinimum": 0},
            "timezone": STRING,
        },
        {"granularityMinutes": NUMBER, "workingHours": HOURS, "attendees": ATTENDEES, **BUFFERS},
    ),
    "check-slot": an_object(
        {"calendarIds": list_of(STRING, 1), "start": TIME, "end": TIME, "timezone": STRING},
        {"workingHours": HOURS, "hold": HOLD, **BUFFERS},
    ),
    "create-event": an_object(
        {
            "calendarId": STRING,
            "start": TIME,
            "end": TIME,
            "timezone": STRING,
            "title": STRING,
            "idempotencyKey": STRING,
        },
        {"description": {"type": "string"}, "location": {"type": "string"}, "attendees": ATTENDEES, "holdKey": STRING},
    ),
}

OURS = {"find-slots": (), "check-slot": ("workingHours", "hold"), "create-event": ("holdKey",)}

OK = {"const": True}
ANSWERS: dict[str, dict[str, Any]] = {
    "find-slots": an_object(
        {"ok": OK, "timezone": STRING, "slots": list_of(SLOT), "windowStart": MOMENT, "windowEnd": MOMENT}
    ),
    "check-slot": an_object(
        {"ok": OK}, {"conflicts": list_of(CONFLICT), "alternatives": list_of(SLOT), "heldUntil": MOMENT}
    ),
    "create-event": an_object(
        {"ok": OK, "eventId": STRING, "calendarId": STRING, "start": MOMENT, "end": MOMENT, "timezone": STRING}
    ),
}

REFUSAL = an_object({"ok": {"const": False}, "error": STRING})
