"""Requests and answers against the contract's JSON Schema, in both directions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ai_engine.calendar.refusals import Refused
from tests.calendar.bridge_parts import Desk, open_desk
from tests.calendar.contract import ANSWERS, OURS, REFUSAL, REQUESTS

APPOINTMENT = {"start": "2026-12-01T10:00:00+01:00", "end": "2026-12-01T10:30:00+01:00", "timezone": "Europe/Berlin"}
BUFFERS = {"bufferBeforeMinutes": 10, "bufferAfterMinutes": 5}
HOURS = {"start": "09:00", "end": "24:00", "days": [0, 1, 2, 3, 4, 5, 6]}
GUESTS = [{"email": "a@example.org"}, {"email": "b@example.org", "optional": True}]

WHOLE: dict[str, dict[str, Any]] = {
    "find-slots": {
        "calendarIds": ["primary", "team"],
        "windowStart": "2026-12-01T08:00:00Z",
        "windowEnd": "2026-12-02T18:00:00",
        "durationMinutes": 45,
        "timezone": "Europe/Berlin",
        "granularityMinutes": 15,
        "workingHours": HOURS,
        "attendees": GUESTS,
        **BUFFERS,
    },
    "check-slot": {
        "calendarIds": ["primary", "team"],
        **APPOINTMENT,
        "workingHours": HOURS,
        "hold": {"key": "call-1", "seconds": 60},
        **BUFFERS,
    },
    "create-event": {
        "calendarId": "primary",
        **APPOINTMENT,
        "title": "Visit",
        "idempotencyKey": "call-1:2026-12-01T09:00:00Z",
        "description": "About the roof",
        "location": "Office",
        "attendees": GUESTS,
        "holdKey": "call-1",
    },
}
"""With every key there is."""

OPERATIONS = list(WHOLE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "calendar.sqlite") as opened:
        yield opened


def is_valid(schema: dict[str, Any], body: Any) -> bool:
    return bool(Draft202012Validator(schema).is_valid(body))


def answer(desk: Desk, operation: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """None where it is refused; either way it is as the contract has it."""
    told, refusal = None, None
    try:
        told = desk.bridge.carry_out(operation, body)
    except Refused as refused:
        refusal = refused.as_json()
    assert is_valid(REFUSAL, refusal) if told is None else is_valid(ANSWERS[operation], told), told
    return told


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_key_of_the_contract_is_taken(desk: Desk, operation: str) -> None:
    assert set(WHOLE[operation]) == set(REQUESTS[operation]["properties"])
    assert is_valid(REQUESTS[operation], WHOLE[operation])
    assert answer(desk, operation, WHOLE[operation]) is not None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_contract_needs_and_no_more(desk: Desk, operation: str) -> None:
    required = REQUESTS[operation]["required"]
    assert answer(desk, operation, {name: WHOLE[operation][name] for name in required}) is not None
    for name in required:
        body = {other: value for other, value in WHOLE[operation].items() if other != name}
        assert answer(desk, operation, body) is None, f"without {name}"
    assert not set(OURS[operation]) & set(required)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_schema_refuses_is_refused(desk: Desk, operation: str) -> None:
    tried = 0
    for name in WHOLE[operation]:
        for wrong in (True, {"x": 1}, ["x", 1], "", "2026-13-01T00:00:00Z", -3, None):
            body = WHOLE[operation] | {name: wrong}
            # An optional key may also be null: that is what some write who mean nothing.
            if wrong is None and name not in REQUESTS[operation]["required"]:
                continue
            if isinstance(wrong, bool) and REQUESTS[operation]["properties"][name].get("type") == "number":
                continue
            if not is_valid(REQUESTS[operation], body):
                tried += 1
                assert answer(desk, operation, body) is None, (name, wrong)
    assert tried > 5 * len(WHOLE[operation]) // 2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_unknown_key_is_refused_by_its_name(desk: Desk, operation: str) -> None:
    body = WHOLE[operation] | {"color": "red"}
    assert not is_valid(REQUESTS[operation], body)
    status, told = desk.refused(operation, body)
    assert (status, "'color'" in told) == (422, True)


def test_every_kind_of_answer(desk: Desk) -> None:
    free = answer(desk, "check-slot", WHOLE["check-slot"])
    assert free is not None
    assert (free["conflicts"], "heldUntil" in free) == ([], True)
    assert answer(desk, "create-event", WHOLE["create-event"]) is not None
    taken = answer(desk, "check-slot", {name: WHOLE["check-slot"][name] for name in REQUESTS["check-slot"]["required"]})
    assert taken is not None
    assert len(taken["conflicts"]) == 1
    assert len(taken["alternatives"]) >= 2
    found = answer(desk, "find-slots", WHOLE["find-slots"])
    assert found is not None
    assert found["slots"]
    assert answer(desk, "create-event", WHOLE["create-event"] | {"idempotencyKey": "another"}) is None
