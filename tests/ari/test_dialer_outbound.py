"""What Asterisk tells of a called channel, in every order, and the steps that follow."""

from collections.abc import Sequence

import pytest

from ai_engine.ari.outbound import Outbound, PickedUp, Screened, Step, ToneHeard
from ai_engine.jobs.dialing import EarlyMedia, Ended, Ringing
from ai_engine.protocol.ari import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    ChannelStateChange,
    Dial,
    StasisEnd,
    StasisStart,
)

ID = "offhook-out-1"
STARTED = StasisStart(ID, Channel(ID))
DIALLED = Dial(ID, "")
RINGS = [ChannelStateChange(ID, "Ringing"), Dial(ID, "RINGING")]
SOUNDS = Dial(ID, "PROGRESS")
ANSWERS = [ChannelStateChange(ID, "Up"), Dial(ID, "ANSWER")]
LEFT = StasisEnd(ID)
TIMED_OUT = [ChannelHangupRequest(ID, 32, soft=True), LEFT, ChannelDestroyed(ID, 19, "No answer", 480)]
OURS = [ChannelHangupRequest(ID, 32, soft=True), LEFT, ChannelDestroyed(ID, 16)]


def refused(cause: int, tech_cause: int) -> list[ChannelEvent]:
    return [ChannelHangupRequest(ID, cause), LEFT, ChannelDestroyed(ID, cause, "said", tech_cause)]


def steps(events: Sequence[ChannelEvent], outbound: Outbound | None = None) -> list[Step]:
    outbound = outbound or Outbound(ID)
    taken = (outbound.take(event) for event in (STARTED, DIALLED, *events))
    return [step for step in taken if step is not None]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*RINGS, *ANSWERS], [Ringing(), PickedUp()]),
        ([SOUNDS, SOUNDS, *ANSWERS], [EarlyMedia(), PickedUp()]),
        ([*RINGS, SOUNDS, *RINGS, *ANSWERS], [Ringing(), EarlyMedia(), PickedUp()]),
        ([*ANSWERS, *RINGS, SOUNDS, *ANSWERS, ChannelDtmfReceived(ID, "1")], [PickedUp()]),
        (refused(17, 486), [Ended(17, "said", 486, refused=True)]),
        ([*RINGS, *refused(17, 486)], [Ringing(), Ended(17, "said", 486, rang=True, refused=True)]),
        ([SOUNDS, *refused(1, 404)], [EarlyMedia(), Ended(1, "said", 404, rang=True, refused=True)]),
        (TIMED_OUT, [Ended(19, "No answer", 480)]),
        ([*RINGS, *TIMED_OUT], [Ringing(), Ended(19, "No answer", 480, rang=True)]),
        # Our own SIP stack gives up, as if the far end had said so.
        (refused(18, 408), [Ended(18, "said", 408)]),
        ([*RINGS, *refused(18, 408)], [Ringing(), Ended(18, "said", 408, rang=True, refused=True)]),
        # A channel that was never dialled is refused by nobody but Asterisk itself, after it has left.
        (
            [LEFT, ChannelHangupRequest(ID, 21), ChannelDestroyed(ID, 21, "Call Rejected", 603)],
            [Ended(21, "Call Rejected", 603)],
        ),
        # A dialplan on the way plays a tone, and we hang up.
        (
            [Dial(ID, "BUSY"), Dial(ID, "BUSY"), *OURS],
            [ToneHeard(), Ended(17, "the PBX plays the busy tone", refused=True)],
        ),
        (
            [*RINGS, Dial(ID, "CONGESTION"), *TIMED_OUT],
            [Ringing(), ToneHeard(), Ended(34, "the PBX plays the congestion tone", rang=True, refused=True)],
        ),
        # Asterisk says both when SIP is refused; what it says last is the more exact.
        ([Dial(ID, "CONGESTION"), *refused(1, 404)], [ToneHeard(), Ended(1, "said", 404, refused=True)]),
        ([*ANSWERS, Dial(ID, "BUSY")], [PickedUp()]),
        # Asterisk was restarted, and all that is known is that the channel is gone.
        ([*RINGS, ChannelDestroyed(ID)], [Ringing(), Ended(rang=True)]),
        # Gone before an agent had it.
        ([*ANSWERS, *refused(16, 0)], [PickedUp(), Ended(16, "said", answered=True)]),
    ],
)
def test_before_an_agent_has_the_call(events: list[ChannelEvent], expected: list[Step]) -> None:
    assert steps(events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (refused(16, 0), Ended(16, "said", answered=True)),
        (OURS, Ended(16, answered=True)),
        ([LEFT], Ended(answered=True, to_human=True)),
        ([ChannelDestroyed(ID)], Ended(answered=True)),
    ],
    ids=["callee hung up", "we hung up", "a human has it", "unseen"],
)
def test_the_end_of_a_conversation(events: list[ChannelEvent], expected: Ended) -> None:
    outbound = Outbound(ID)
    steps(ANSWERS, outbound)
    outbound.handed_over = True
    assert [step for event in events if (step := outbound.take(event))] == [expected]


def test_a_screening_takes_the_channel_away_and_brings_it_back() -> None:
    outbound = Outbound(ID)
    steps(ANSWERS, outbound)
    outbound.screening = True
    assert outbound.take(LEFT) is None
    args = ("amd=HUMAN", "amd_cause=HUMAN-800-800")
    assert outbound.take(StasisStart(ID, Channel(ID), args)) == Screened(args)
    assert outbound.take(StasisStart(ID, Channel(ID), args)) is None


def test_a_machine_that_was_hung_up_on_is_no_conversation() -> None:
    outbound = Outbound(ID)
    steps(ANSWERS, outbound)
    outbound.answered_by, outbound.unwanted = "machine", True
    ended = outbound.take(ChannelDestroyed(ID, 16))
    assert ended == Ended(16, our_hangup=True, answered_by="machine")


def seen(state: str, application: str = "Stasis", data: str = "engine") -> Channel:
    return Channel(ID, state=state, application=application, application_data=data)


@pytest.mark.parametrize(
    ("channel", "step"),
    [
        (seen("Down"), None),
        (seen("Ringing"), Ringing()),
        (seen("Up"), PickedUp(late=True)),
        (seen("Up", "AMD", ""), None),
        (seen("Up", "", ""), None),
        (seen("Up", data="engine,amd=HUMAN,amd_cause=x"), Screened(("amd=HUMAN", "amd_cause=x"))),
        (seen("Up", "Playback", "one-moment-please"), Ended(answered=True, to_human=True)),
    ],
    ids=["dialled or not", "ringing", "answered", "in AMD()", "between two applications", "screened", "a human has it"],
)
def test_what_a_look_finds_that_nobody_told(channel: Channel, step: Step | None) -> None:
    outbound = Outbound(ID)
    assert outbound.look(channel) == step
    assert outbound.look(channel) in (None, step)
    if step in (Ringing(), PickedUp(late=True)):
        assert outbound.look(channel) is None, "each step is given once"


def test_a_look_that_comes_late_changes_nothing() -> None:
    outbound = Outbound(ID)
    steps(ANSWERS, outbound)
    assert outbound.look(seen("Up")) is None
    assert outbound.look(seen("Ringing")) is None
    outbound.handed_over = True
    assert outbound.look(seen("Up", data="engine,amd=HUMAN")) is None
