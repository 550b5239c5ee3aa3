"""The floor, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.call import actions as do
from ai_engine.call.events import (
    AgentSpoke,
    CallerPaused,
    CallerSpoke,
    PlayoutDrained,
    ReplyId,
    SilenceElapsed,
    TakenBack,
)
from ai_engine.call.turns import TRANSITIONS, Floor, Turns

REPLY = ReplyId(1)
EVENTS = [CallerSpoke(), CallerPaused(), AgentSpoke(REPLY), PlayoutDrained(REPLY), SilenceElapsed(), TakenBack()]


def at(floor: Floor) -> Turns:
    turns = Turns()
    turns.floor = floor
    return turns


@pytest.mark.parametrize(
    ("floor", "event", "after", "actions"),
    [
        (Floor.NOBODY, CallerSpoke(), Floor.CALLER, (do.StopSilenceTimer(), do.Listen())),
        (Floor.NOBODY, AgentSpoke(REPLY), Floor.AGENT, (do.StopSilenceTimer(),)),
        (Floor.NOBODY, SilenceElapsed(), Floor.AGENT_PENDING, (do.Nudge(),)),
        (Floor.CALLER, CallerPaused(), Floor.AGENT_PENDING, (do.AskAgent(),)),
        (Floor.CALLER, AgentSpoke(REPLY), Floor.AGENT, ()),
        (Floor.AGENT_PENDING, CallerSpoke(), Floor.CALLER, (do.StopPlayout(), do.Listen())),
        (Floor.AGENT_PENDING, AgentSpoke(REPLY), Floor.AGENT, ()),
        (Floor.AGENT_PENDING, PlayoutDrained(REPLY), Floor.NOBODY, (do.StartSilenceTimer(),)),
        (Floor.AGENT, CallerSpoke(), Floor.CALLER, (do.StopPlayout(), do.Listen())),
        (Floor.AGENT, PlayoutDrained(REPLY), Floor.NOBODY, (do.StartSilenceTimer(),)),
    ],
)
def test_row(floor: Floor, event: object, after: Floor, actions: tuple[object, ...]) -> None:
    turns = at(floor)
    assert turns.handle(event) == actions  # type: ignore[arg-type]
    assert turns.floor is after


def test_every_row_is_tested_above() -> None:
    assert len(TRANSITIONS) == 10


def test_an_event_without_a_row_changes_nothing() -> None:
    turns = at(Floor.AGENT)
    assert turns.handle(SilenceElapsed()) == ()
    assert turns.floor is Floor.AGENT


@given(st.lists(st.sampled_from(EVENTS)))
def test_a_caller_who_speaks_always_gets_the_floor(events: list[object]) -> None:
    turns = Turns()
    for event in events:
        turns.handle(event)  # type: ignore[arg-type]
    turns.handle(CallerSpoke())
    assert turns.floor is Floor.CALLER


@given(st.lists(st.sampled_from(EVENTS)))
def test_the_agent_is_asked_once_per_turn_of_the_caller(events: list[object]) -> None:
    turns = Turns()
    asked = listened = 0
    for event in events:
        actions = turns.handle(event)  # type: ignore[arg-type]
        listened += actions.count(do.Listen())
        asked += actions.count(do.AskAgent())
    assert asked <= listened
