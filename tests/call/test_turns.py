"""The floor, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.call import actions as do
from ai_engine.call.events import (
    AgentSpoke,
    CallerAnswered,
    CallerHeld,
    CallerHummed,
    CallerInterrupted,
    CallerMeant,
    CallerMuttered,
    CallerPaused,
    CallerSpoke,
    CallerStirred,
    CallerUnheld,
    ConsultationBegan,
    ConsultationEnded,
    DigitReceived,
    DoubtElapsed,
    FalseAlarm,
    PlayoutDrained,
    PlayoutIdle,
    PlayoutResumed,
    ReplyBegan,
    ReplyId,
    SilenceElapsed,
    TakenBack,
)
from ai_engine.call.turns import TRANSITIONS, Floor, Turns

REPLY = ReplyId(1)
EVENTS = [
    CallerSpoke(),
    CallerPaused(),
    CallerStirred(),
    FalseAlarm(),
    CallerMuttered(),
    CallerAnswered(),
    CallerMeant(),
    CallerHummed(),
    DoubtElapsed(),
    CallerInterrupted(),
    CallerHeld(),
    CallerUnheld(),
    AgentSpoke(REPLY),
    ReplyBegan(REPLY),
    PlayoutDrained(REPLY),
    PlayoutResumed(REPLY),
    SilenceElapsed(),
    TakenBack(),
]
ASKED = ConsultationBegan("office", "2000")
HOLDING = (Floor.CONTESTED, Floor.WEIGHED, Floor.AWAY)
"""Floors on which the agent's voice waits."""


def at(floor: Floor) -> Turns:
    turns = Turns()
    turns.floor = floor
    return turns


@pytest.mark.parametrize(
    ("floor", "event", "after", "actions"),
    [
        (Floor.NOBODY, CallerSpoke(), Floor.CALLER, (do.StopSilenceTimer(), do.StopPlayout(), do.Listen())),
        (Floor.NOBODY, DigitReceived("1"), Floor.NOBODY, (do.StartSilenceTimer(),)),
        (Floor.NOBODY, AgentSpoke(REPLY), Floor.AGENT, (do.StopSilenceTimer(),)),
        (Floor.NOBODY, SilenceElapsed(), Floor.AGENT_PENDING, (do.Nudge(),)),
        (Floor.CALLER, CallerPaused(), Floor.AGENT_PENDING, (do.AskAgent(),)),
        (Floor.CALLER, AgentSpoke(REPLY), Floor.AGENT, ()),
        (Floor.AGENT_PENDING, CallerSpoke(), Floor.CALLER, (do.StopPlayout(), do.Listen())),
        (Floor.AGENT_PENDING, AgentSpoke(REPLY), Floor.AGENT, ()),
        (Floor.AGENT_PENDING, PlayoutDrained(REPLY), Floor.NOBODY, (do.StartSilenceTimer(),)),
        (Floor.AGENT, CallerSpoke(), Floor.CALLER, (do.StopPlayout(), do.Listen())),
        (Floor.AGENT, PlayoutDrained(REPLY), Floor.NOBODY, (do.StartSilenceTimer(),)),
        (Floor.AGENT, CallerInterrupted(), Floor.NOBODY, (do.StopPlayout(), do.StartSilenceTimer())),
        (Floor.WEIGHED, CallerInterrupted(), Floor.NOBODY, (do.StopPlayout(), do.StartSilenceTimer())),
        # Pause, then decide.
        (Floor.AGENT, CallerStirred(), Floor.CONTESTED, (do.HoldPlayout(), do.Listen())),
        (Floor.CONTESTED, CallerSpoke(), Floor.CALLER, (do.StopPlayout(),)),
        (Floor.CONTESTED, FalseAlarm(), Floor.AGENT, (do.Dismiss(), do.ResumePlayout())),
        (Floor.CONTESTED, CallerAnswered(), Floor.AGENT_PENDING, (do.StopPlayout(), do.AskAgent())),
        (Floor.CONTESTED, CallerMuttered(), Floor.WEIGHED, (do.AskWhatItWas(),)),
        (Floor.CONTESTED, ReplyBegan(REPLY), Floor.AGENT_PENDING, (do.StopPlayout(),)),
        (Floor.WEIGHED, CallerStirred(), Floor.CONTESTED, (do.Listen(),)),
        (Floor.WEIGHED, CallerSpoke(), Floor.CALLER, (do.StopPlayout(), do.Listen())),
        (Floor.WEIGHED, CallerMeant(), Floor.NOBODY, (do.StopPlayout(), do.StartSilenceTimer())),
        (Floor.WEIGHED, CallerHummed(), Floor.AGENT, (do.ResumePlayout(),)),
        (Floor.WEIGHED, DoubtElapsed(), Floor.AGENT, (do.ResumePlayout(),)),
        (Floor.WEIGHED, ReplyBegan(REPLY), Floor.AGENT_PENDING, (do.StopPlayout(),)),
        # Hold.
        (Floor.NOBODY, CallerHeld(), Floor.AWAY, (do.StopSilenceTimer(), do.HoldPlayout())),
        (Floor.AGENT_PENDING, CallerHeld(), Floor.AWAY, (do.StopSilenceTimer(), do.HoldPlayout())),
        (Floor.AGENT, CallerHeld(), Floor.AWAY, (do.StopSilenceTimer(), do.HoldPlayout())),
        (Floor.WEIGHED, CallerHeld(), Floor.AWAY, (do.StopSilenceTimer(), do.HoldPlayout())),
        (Floor.CALLER, CallerHeld(), Floor.AWAY, (do.HoldPlayout(), do.AskAgent())),
        (Floor.CONTESTED, CallerHeld(), Floor.AWAY, (do.Dismiss(), do.HoldPlayout())),
        (Floor.AWAY, CallerUnheld(), Floor.NOBODY, (do.StartSilenceTimer(), do.ResumePlayout())),
        (Floor.NOBODY, PlayoutResumed(REPLY), Floor.AGENT, (do.StopSilenceTimer(),)),
        # A human is asked.
        (Floor.NOBODY, ASKED, Floor.WAITING, (do.StopSilenceTimer(), do.ResumePlayout())),
        (Floor.AGENT_PENDING, ASKED, Floor.WAITING, (do.StopSilenceTimer(), do.ResumePlayout())),
        (Floor.AGENT, ASKED, Floor.WAITING, (do.StopSilenceTimer(), do.ResumePlayout())),
        (Floor.WEIGHED, ASKED, Floor.WAITING, (do.StopSilenceTimer(), do.ResumePlayout())),
        (Floor.AWAY, ASKED, Floor.WAITING, (do.StopSilenceTimer(), do.ResumePlayout())),
        (Floor.CALLER, ASKED, Floor.WAITING, (do.Dismiss(), do.ResumePlayout())),
        (Floor.CONTESTED, ASKED, Floor.WAITING, (do.Dismiss(), do.ResumePlayout())),
        (Floor.WAITING, PlayoutIdle(), Floor.WAITING, (do.PlayPrompt(do.Prompt.MUSIC),)),
        (Floor.WAITING, ConsultationEnded("busy"), Floor.NOBODY, (do.StopPlayout(), do.StartSilenceTimer())),
    ],
)
def test_row(floor: Floor, event: object, after: Floor, actions: tuple[object, ...]) -> None:
    turns = at(floor)
    assert turns.handle(event) == actions  # type: ignore[arg-type]
    assert turns.floor is after


def test_every_row_is_tested_above() -> None:
    assert len(TRANSITIONS) == 42


def test_an_event_without_a_row_changes_nothing() -> None:
    turns = at(Floor.AGENT)
    assert turns.handle(SilenceElapsed()) == ()
    assert turns.floor is Floor.AGENT


@given(st.lists(st.sampled_from(EVENTS)))
def test_a_caller_who_speaks_always_gets_the_floor(events: list[object]) -> None:
    turns = Turns()
    for event in [*events, CallerUnheld()]:
        turns.handle(event)  # type: ignore[arg-type]
    turns.handle(CallerSpoke())
    assert turns.floor is Floor.CALLER


@given(st.lists(st.sampled_from(EVENTS)))
def test_the_voice_waits_on_the_floors_that_hold_it_and_on_no_other(events: list[object]) -> None:
    turns, held = Turns(), False
    for event in events:
        for action in turns.handle(event):  # type: ignore[arg-type]
            match action:
                case do.HoldPlayout():
                    held = True
                case do.ResumePlayout() | do.StopPlayout():
                    held = False
        assert held == (turns.floor in HOLDING)


@given(st.lists(st.sampled_from(EVENTS)))
def test_the_agent_is_asked_once_per_turn_of_the_caller(events: list[object]) -> None:
    turns = Turns()
    asked = listened = 0
    for event in events:
        actions = turns.handle(event)  # type: ignore[arg-type]
        listened += actions.count(do.Listen())
        asked += actions.count(do.AskAgent()) + actions.count(do.AskWhatItWas()) + actions.count(do.Dismiss())
    assert asked <= listened
