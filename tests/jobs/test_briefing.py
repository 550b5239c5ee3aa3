"""What the agent of an outbound call is told."""

from datetime import UTC, datetime
from typing import Any

from ai_engine.jobs.briefing import CALENDAR_TOOLS, JOB_FACTS, assignment
from ai_engine.jobs.ports import Assignment
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import CallAgentSettings, Defaults, Manners, Voicemail

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def told(settings: CallAgentSettings | None = None, put_right: str = "", **changes: object) -> Assignment:
    request = CallRequest.model_validate({"to": "+15550100", "goal": "A check-up", "durationMinutes": 30, **changes})
    record = CallRecord(id="c1", request=request, attempt=2, created_at=NOW, updated_at=NOW)
    return assignment(settings or CallAgentSettings(), record, "reception", "Europe/Berlin", NOW, put_right)


def test_all_facts_are_there_and_all_are_texts() -> None:
    errand = told(calleeName="Dr. Who", windowStart="2026-12-02T09:00:00")
    assert tuple(errand.facts) == JOB_FACTS
    assert errand.facts["window_start"] == "2026-12-02T09:00:00+01:00"
    assert errand.facts["today"] == "Tuesday, 01 December 2026, 13:00"
    assert (errand.call_id, errand.attempt, errand.agent, errand.tools) == ("c1", 2, "reception", CALENDAR_TOOLS)


def test_time_zone_and_hours_come_from_request_then_settings_then_machine() -> None:
    assert told().facts["timezone"] == "Europe/Berlin"
    at_home = CallAgentSettings(defaults=Defaults(timezone="Asia/Tokyo"))
    assert told(at_home).facts["timezone"] == "Asia/Tokyo"
    assert told(at_home, timezone="America/New_York").facts["timezone"] == "America/New_York"
    assert '"start":"09:00"' in told().facts["working_hours"]


def test_it_says_what_it_is_before_anything_else() -> None:
    greeting = told(calleeName="Dr. Who", userName="Ana").greeting
    assert greeting == (
        "Hello, Dr. Who. I am an automated assistant, and this call may be recorded."
        " I am calling on behalf of Ana to make an appointment."
    )
    silent = told(CallAgentSettings(manners=Manners(disclosure="")))
    assert silent.greeting == "Hello. I am calling to make an appointment."
    assert told(goal=None, durationMinutes=None, prompt="Chat.", userName="Ana").greeting.endswith("on behalf of Ana.")
    assert told(goal=None, durationMinutes=None, prompt="Chat.").greeting.endswith("may be recorded.")


def test_the_goal_is_a_note_for_the_agent_and_is_not_read_out() -> None:
    """It may be an order, and two thousand characters long."""
    errand = told(goal="Book a table. " * 140)
    assert len(errand.greeting) < 150
    assert "Book a table." in errand.instructions


def test_the_disclosure_may_name_whom_it_is_about() -> None:
    manners = Manners(disclosure="I am the machine of {user}.")
    assert told(CallAgentSettings(manners=manners), userName="Ana").greeting.startswith(
        "Hello. I am the machine of Ana."
    )


def test_a_machine_is_told_only_what_the_operator_wants() -> None:
    assert told().message == ""
    leaves = CallAgentSettings(manners=Manners(voicemail=Voicemail(action="leave_message")))
    assert told(leaves, calleeName="Ana").message.startswith("Hello, this is an automated call for Ana.")
    assert told(leaves).message.startswith("Hello, this is an automated call.")


def test_what_somebody_writes_into_a_request_fills_no_places() -> None:
    voicemail = Voicemail(action="leave_message", message="About {goal}, for {callee}, {whatever}.")
    errand = told(CallAgentSettings(manners=Manners(voicemail=voicemail)), goal="{callee} {user}", calleeName="{job}")
    assert errand.message == "About {callee} {user}, for {job}, {whatever}."


def test_a_machine_is_not_told_a_long_story() -> None:
    voicemail = Voicemail(action="leave_message", message="It is about {goal}.")
    errand = told(CallAgentSettings(manners=Manners(voicemail=voicemail)), goal="a table for two " * 100)
    assert len(errand.message) < 220
    assert errand.message.endswith("for two.") or errand.message.endswith("a table.")


def test_a_broken_promise_is_put_right() -> None:
    assert "Apologise" in told(put_right="ten o'clock was confirmed").instructions
    assert "Apologise" not in told().instructions


def test_a_request_may_choose_agent_voice_and_language() -> None:
    errand = told(agent="booking", locale="de-DE", voice="marin")
    assert (errand.agent, errand.language, errand.voice) == ("booking", "de-DE", "marin")


def test_an_agent_in_its_own_words_says_first_what_it_is() -> None:
    own: dict[str, Any] = {
        "goal": None,
        "durationMinutes": None,
        "ownWords": True,
        "agent": "sales",
        "calleeName": "Ana",
    }
    errand = told(**own, variables={"product": "tractors", "user": "{callee}"})
    assert errand.own_words
    assert errand.greeting == "I am an automated assistant, and this call may be recorded."
    assert errand.instructions == (
        "You have called Ana; it is now Tuesday, 01 December 2026, 13:00.\nYou act for {callee}."
    )
    assert (errand.agent, errand.tools, errand.max_seconds) == ("sales", (), 300)
    assert (errand.facts["product"], errand.facts["callee"]) == ("tractors", "Ana")
    named = CallAgentSettings(manners=Manners(disclosure="I am the {product} machine of {user}."))
    assert told(named, **own, variables={"product": "tractors", "user": "Bo"}).greeting == (
        "I am the tractors machine of Bo."
    )
    assert told(CallAgentSettings(manners=Manners(disclosure="")), **own).greeting == ""
    assert told(**own, maxSeconds=20).max_seconds == 20


def test_no_other_call_is_in_own_words() -> None:
    assert not told().own_words
    assert not told(goal=None, durationMinutes=None, prompt="Chat.").own_words
