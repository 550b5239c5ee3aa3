"""From arrival to the one way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.call import actions as do
from ai_engine.call.actions import EndReason, Prompt
from ai_engine.call.events import (
    AgentLost,
    AgentStarted,
    CallerHungUp,
    CallerMeant,
    CallerSpoke,
    CallEvent,
    EngineStopping,
    HangupAsked,
    HangupOrdered,
    MediaAttached,
    MediaExhausted,
    MediaLost,
    PlayoutFailed,
    PlayoutIdle,
    TakenBack,
    TimeRanOut,
    TransferAsked,
)
from ai_engine.call.lifecycle import ALONE, TRANSITIONS, Lifecycle, Phase

EVENTS: list[CallEvent] = [
    MediaAttached("audiosocket"),
    AgentStarted("local"),
    AgentLost("gone"),
    HangupAsked(),
    HangupOrdered(),
    TransferAsked("please"),
    PlayoutIdle(),
    TimeRanOut(),
    CallerSpoke(),
    MediaLost("gone"),
    CallerHungUp(),
    TakenBack(),
    EngineStopping(),
]


def after(*events: CallEvent, reaches_human: bool = True) -> tuple[Phase, list[do.Action]]:
    call = Lifecycle(reaches_human=reaches_human)
    actions = [action for event in events for action in call.handle(event)]
    return call.phase, actions


ATTACHED = MediaAttached("audiosocket")
STARTED = AgentStarted("local")


def test_a_call_that_goes_well() -> None:
    phase, actions = after(ATTACHED, STARTED, HangupAsked(), PlayoutIdle())
    assert phase is Phase.ENDED
    assert actions == [do.StartAgent(), do.Greet(), do.HangUp(), do.EndCall(EndReason.AGENT_HUNG_UP)]


def test_the_agent_hangs_up_only_after_its_last_word() -> None:
    assert after(ATTACHED, STARTED, HangupAsked())[0] is Phase.CLOSING


def test_a_caller_who_speaks_into_the_goodbye_is_listened_to() -> None:
    assert after(ATTACHED, STARTED, HangupAsked(), CallerSpoke())[0] is Phase.TALKING


def test_a_human_who_was_asked_for_comes_after_the_last_word() -> None:
    phase, actions = after(ATTACHED, STARTED, TransferAsked("please"), CallerSpoke(), PlayoutIdle())
    assert phase is Phase.ENDED
    assert actions[-2:] == [do.TransferToHuman(), do.EndCall(EndReason.TRANSFERRED)]


@pytest.mark.parametrize("start", [(ATTACHED,), (ATTACHED, STARTED)])
def test_a_lost_agent_means_a_prompt_and_then_a_human(start: tuple[CallEvent, ...]) -> None:
    phase, actions = after(*start, AgentLost("gone"))
    assert phase is Phase.RESCUING
    assert actions[-1] == do.PlayPrompt(Prompt.TRANSFER)
    phase, actions = after(*start, AgentLost("gone"), PlayoutIdle())
    assert phase is Phase.ENDED
    assert actions[-2:] == [do.TransferToHuman(), do.EndCall(EndReason.RESCUED)]


def test_a_call_whose_sound_never_came_up_goes_to_a_human() -> None:
    phase, actions = after(MediaExhausted("refused"))
    assert (phase, actions) == (Phase.ENDED, [do.TransferToHuman(), do.EndCall(EndReason.RESCUED)])


@pytest.mark.parametrize("loss", [MediaLost("reset"), PlayoutFailed("disk full")])
def test_a_call_that_loses_its_sound_goes_on_while_another_way_is_sought(loss: CallEvent) -> None:
    phase, actions = after(ATTACHED, STARTED, loss)
    assert (phase, actions[-1]) == (Phase.TALKING, do.Reattach())


def test_words_that_are_held_are_said_before_the_hand_over() -> None:
    assert after(ATTACHED, STARTED, TransferAsked("please"))[1][-1] == do.ResumePlayout()
    assert after(ATTACHED, STARTED, HangupAsked(), TransferAsked("please"))[1][-1] == do.ResumePlayout()


def test_a_human_can_be_had_before_there_is_sound() -> None:
    phase, actions = after(TransferAsked("the caller pressed 0"))
    assert (phase, actions[-1]) == (Phase.ENDED, do.EndCall(EndReason.TRANSFERRED))


def test_a_caller_who_meant_to_interrupt_the_goodbye_is_listened_to() -> None:
    assert after(ATTACHED, STARTED, HangupAsked(), CallerMeant())[0] is Phase.TALKING


@given(st.lists(st.sampled_from(EVENTS)), st.booleans())
def test_a_call_ends_once_and_stays_ended(events: list[CallEvent], reaches_human: bool) -> None:
    call = Lifecycle(reaches_human=reaches_human)
    ends = 0
    for event in events:
        was = call.phase
        actions = call.handle(event)
        ends += sum(isinstance(action, do.EndCall) for action in actions)
        assert was is not Phase.ENDED or (call.phase is Phase.ENDED and not actions)
    assert ends == (call.phase is Phase.ENDED)


@given(
    st.lists(st.sampled_from(EVENTS)), st.sampled_from([CallerHungUp(), TakenBack(), EngineStopping(), HangupOrdered()])
)
def test_nothing_keeps_a_call_alive_that_must_end(events: list[CallEvent], last: CallEvent) -> None:
    assert after(*events, last)[0] is Phase.ENDED


@pytest.mark.parametrize("reaches_human", [True, False])
def test_an_operator_ends_a_call_in_the_middle_of_a_word(reaches_human: bool) -> None:
    phase, actions = after(ATTACHED, STARTED, HangupOrdered(), reaches_human=reaches_human)
    assert (phase, actions[-2:]) == (Phase.ENDED, [do.HangUp(), do.EndCall(EndReason.OPERATOR_HUNG_UP)])


def test_every_end_says_where_the_caller_goes() -> None:
    leaves_us = {EndReason.CALLER_HUNG_UP, EndReason.TAKEN_BACK}
    for phase, actions in (*TRANSITIONS.values(), *ALONE.values()):
        ends = [action for action in actions if isinstance(action, do.EndCall)]
        assert bool(ends) == (phase is Phase.ENDED)
        if ends and ends[0].reason not in leaves_us:
            assert isinstance(actions[-2], do.HangUp | do.TransferToHuman)


def test_words_that_are_waiting_are_said_although_their_agent_is_lost() -> None:
    assert after(ATTACHED, STARTED, HangupAsked(), AgentLost("gone"))[0] is Phase.CLOSING
    assert after(ATTACHED, STARTED, TransferAsked("please"), AgentLost("gone"))[0] is Phase.HANDING_OVER


def test_a_human_asked_for_twice_comes_at_once() -> None:
    phase, actions = after(ATTACHED, STARTED, TransferAsked("please"), TransferAsked("0"))
    assert (phase, actions[-1]) == (Phase.ENDED, do.EndCall(EndReason.TRANSFERRED))


# -- where no human can be reached ------------------------------------------------------------------------------

GIVEN_UP = [do.HangUp(), do.EndCall(EndReason.GIVEN_UP)]


@given(st.lists(st.sampled_from(EVENTS)))
def test_nobody_is_promised_a_human_who_cannot_be_reached(events: list[CallEvent]) -> None:
    _, actions = after(*events, reaches_human=False)
    assert not {do.TransferToHuman(), do.PlayPrompt(Prompt.TRANSFER)} & set(actions)
    reasons = {action.reason for action in actions if isinstance(action, do.EndCall)}
    assert not {EndReason.TRANSFERRED, EndReason.RESCUED} & reasons


@pytest.mark.parametrize("start", [(ATTACHED,), (ATTACHED, STARTED)])
@pytest.mark.parametrize("why", [AgentLost("gone"), EngineStopping()])
def test_what_cannot_go_on_is_an_apology_and_a_goodbye(start: tuple[CallEvent, ...], why: CallEvent) -> None:
    phase, actions = after(*start, why, reaches_human=False)
    assert (phase, actions[-1]) == (Phase.RESCUING, do.PlayPrompt(Prompt.SORRY))
    for over in (PlayoutIdle(), TimeRanOut(), MediaExhausted("gone")):
        phase, actions = after(*start, why, EngineStopping(), TransferAsked("0"), over, reaches_human=False)
        assert (phase, actions[-2:]) == (Phase.ENDED, GIVEN_UP)


@pytest.mark.parametrize("why", [MediaExhausted("refused"), EngineStopping()])
def test_without_sound_there_is_no_apology(why: CallEvent) -> None:
    assert after(why, reaches_human=False) == (Phase.ENDED, GIVEN_UP)


def test_an_engine_that_stops_lets_nobody_wait_for_the_last_words() -> None:
    phase, actions = after(ATTACHED, STARTED, HangupAsked(), EngineStopping(), reaches_human=False)
    assert (phase, actions[-2:]) == (Phase.ENDED, GIVEN_UP)


@pytest.mark.parametrize("before", [(), (ATTACHED,), (ATTACHED, STARTED), (ATTACHED, STARTED, HangupAsked())])
def test_who_asks_for_a_human_goes_on_with_the_agent(before: tuple[CallEvent, ...]) -> None:
    assert after(*before, TransferAsked("0"), reaches_human=False) == after(*before, reaches_human=False)
