"""What somebody may ask for, and what is refused by name."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ai_engine.jobs.request import CallRequest

GOOD: dict[str, Any] = {"to": "+1 (415) 555-0123", "goal": "Dentist", "durationMinutes": 30}


def request(**changes: Any) -> CallRequest:
    given = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return CallRequest.model_validate_json(json.dumps(given))


def test_all_the_contracts_fields_go_in_and_come_out() -> None:
    full = {
        **GOOD,
        "to": "+14155550123",
        "timezone": "Europe/Berlin",
        "windowStart": "2026-12-01T00:00:00Z",
        "windowEnd": "2026-12-08T00:00:00Z",
        "workingHours": {"start": "09:00", "end": "17:00", "days": [1, 2, 3, 4, 5]},
        "calendarId": "work",
        "userName": "Ana",
        "calleeName": "Dr. Who",
        "metadata": {},
    }
    assert request(**full).as_json() == full


def test_a_number_is_kept_without_what_people_write_between() -> None:
    assert request().to == "+14155550123"
    assert request(to="100").to == "100"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"to": "anna"}, "no telephone number"),
        ({"to": "+1415@evil"}, "no telephone number"),
        ({"to": "PJSIP/x&Local/y"}, "no telephone number"),
        ({"to": "+"}, "no telephone number"),
        ({"to": "\u0661\u0662\u0663"}, "no telephone number"),
        ({"prompt": "and a prompt"}, "either goal"),
        ({"goal": None}, "either goal"),
        ({"durationMinutes": None}, "durationMinutes is needed"),
        ({"durationMinutes": 0}, "greater than 0"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"timezone": "../../etc/passwd"}, "no time zone"),
        ({"windowStart": "2026-12-02T00:00:00Z", "windowEnd": "2026-12-01T00:00:00Z"}, "after windowStart"),
        ({"workingHours": {"start": "9"}}, "no time of day"),
        ({"workingHours": {"days": [7]}}, "less than or equal to 6"),
        ({"nonsense": 1}, "Extra inputs"),
        ({"ownWords": True}, "either goal"),
        ({"goal": None, "prompt": "Ask.", "ownWords": True}, "either goal"),
        ({"goal": None, "ownWords": False}, "either goal"),
        ({"variables": {"product": "tractors"}}, "need ownWords"),
        (
            {"goal": None, "ownWords": True, "variables": {"timezone": "Mars", "did": "1"}},
            "did, timezone cannot be set",
        ),
        (
            {"goal": None, "ownWords": True, "variables": {"channel": "1", "provider": "2", "room": "3"}},
            "channel, provider, room cannot be set",
        ),
        ({"goal": None, "ownWords": True, "variables": {"a b": "c"}}, "should match pattern"),
        # No greeting and no prompt could say those.
        ({"goal": None, "ownWords": True, "variables": {"1st": "c"}}, "should match pattern"),
        ({"goal": None, "ownWords": True, "variables": {"größe": "c"}}, "should match pattern"),
        ({"goal": None, "ownWords": True, "variables": {"a": "c" * 501}}, "at most 500"),
        ({"goal": None, "ownWords": True, "variables": {f"a{n}": "c" for n in range(51)}}, "at most 50"),
        ({"maxAttempts": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        request(**changes)


def test_a_free_prompt_needs_no_duration() -> None:
    free = request(goal=None, durationMinutes=None, prompt="Ask for the opening hours.")
    assert not free.books


def test_an_agent_in_its_own_words_needs_nothing_else() -> None:
    own = request(goal=None, durationMinutes=None, ownWords=True)
    assert own.talks
    assert own.as_json() == {"to": "+14155550123", "calendarId": "primary", "ownWords": True, "metadata": {}}
    assert not own.books
    assert not request().talks
