"""What those who look on see of a call, told by a real session among fakes."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from ai_engine.call.events import (
    CallerHungUp,
    CallerSaid,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
)
from ai_engine.observe import live as live_module
from ai_engine.observe.levels import Levels
from ai_engine.observe.live import LiveCalls
from ai_engine.switchboard.models import LiveCall, StudioEvent
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call, place


class Theatre:
    """The one call that is on, if it is."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self.live = LiveCalls(self.standing)

    def standing(self, call_id: str) -> tuple[str, str] | None:
        session = self.call.session if self.call is not None else None
        return (session.phase, session.floor) if session is not None and session.call_id == call_id else None


def look_on(story: Any, agent: ScriptedAgent | None = None, *, readers: int = 1) -> list[StudioEvent]:
    """What a reader was told from the first moment to the last; all readers were told the same."""
    stage, told = Theatre(), list[list[StudioEvent]]()

    async def watched(call: Call) -> None:
        stage.call = call
        seen = [stage.live.events() for _ in range(readers)]
        stage.live.call_started("call-1", call.session._facts, 0.0)  # they come a moment later than the call
        await story(call)
        call.control.tell(CallerHungUp())
        await call.reason()
        await asyncio.sleep(0)
        stage.live.publish("room_changed")
        for reader in seen:
            mine: list[StudioEvent] = []
            while not mine or mine[-1].kind != "room_changed":
                mine.append(await anext(reader))
            told.append(mine[:-1])
            await reader.aclose()
        assert not stage.live.watched
        assert stage.live.now() == []

    place(watched, agent, observers=[stage.live])
    assert all(one == told[0] for one in told)
    return told[0]


def test_a_conversation_as_five_see_it() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(600)
        await call.quiet(200)
        call.agent.tell(CallerSaid("Are you", final=False))
        call.agent.tell(CallerSaid("Are you open?"))
        call.agent.tell(StageReached(Stage.FIRST_TOKEN))
        await call.quiet(1500)

    events = look_on(story, readers=5)
    kinds = [event.kind for event in events]
    assert (kinds[0], kinds[-1]) == ("call_started", "call_ended")
    said = [(event.kind, event.data["who"], event.data["text"]) for event in events if event.kind in ("said", "saying")]
    assert said == [
        ("saying", "agent", "Hello."),
        ("said", "agent", "Hello."),
        ("saying", "caller", "Are you"),
        ("said", "caller", "Are you open?"),
        ("saying", "agent", "Yes."),
        ("said", "agent", "Yes."),
    ]
    (turn,) = [event.data for event in events if event.kind == "turn"]
    assert turn["ms"] == turn["waterfall"]["first_frame"] > 0
    assert {"end_of_turn", "first_token", "first_frame"} <= set(turn["waterfall"])
    ended = events[-1].data
    assert ended.pop("reason") == "caller_hung_up"
    last = LiveCall.model_validate(ended)
    assert (last.turns, last.last_turn_ms, last.provider, last.state) == (1, turn["ms"], "scripted", "ending")
    json.dumps([event.as_json() for event in events], allow_nan=False)


def test_the_floor_as_it_changes_hands() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(600)
        await call.quiet(1500)

    events = look_on(story)
    calls = [LiveCall.model_validate(event.data) for event in events if event.kind == "call_changed"]
    floors = [call.floor for call in calls]
    assert [floor for floor, before in zip(floors, ["", *floors], strict=False) if floor != before] == [
        *("agent_pending", "agent", "nobody"),
        *("caller", "agent_pending", "agent", "nobody"),
    ]
    assert calls[0].direction == "inbound"
    assert all(call.answered_at is not None for call in calls)


def test_what_was_cut_says_so() -> None:
    async def story(call: Call) -> None:
        call.agent.replies = [("one two three four", 4000)]
        await call.quiet(200)
        await call.quiet(800)
        await call.speak(1000)

    class Slow(ScriptedAgent):
        def reply(self, text: str, ms: int, *, ends: bool = True) -> Any:
            return super().reply(text, ms, ends=False)

    events = look_on(story, Slow(("one two three four", 4000)))
    (said,) = [event.data for event in events if event.kind == "said"]
    assert (said["text"], said["cut"]) == ("one two three four", True)
    assert 1000 <= said["heardMs"] <= 1500


def test_words_in_the_middle_of_which_the_call_ended_are_not_lost() -> None:
    async def story(call: Call) -> None:
        call.agent.tell(ReplyBegan(ReplyId(7)))
        call.agent.tell(ReplyText(ReplyId(7), "I was about to"))
        await call.quiet(200)

    events = look_on(story, ScriptedAgent())
    assert [(one.kind, one.data.get("text")) for one in events[-2:]] == [
        ("said", "I was about to"),
        ("call_ended", None),
    ]


def test_levels_come_five_times_a_second_and_cost_nothing_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(call: Call) -> None:
        await call.quiet(400)
        await call.speak(2000)

    levels = [event.data for event in look_on(story) if event.kind == "levels"]
    assert 10 <= len(levels) <= 13
    assert levels[-1]["caller"] > -40 > levels[0]["caller"]

    def never(*_: object) -> None:
        raise AssertionError("nobody looks")

    stage = Theatre()
    monkeypatch.setattr(Levels, "add", never)
    monkeypatch.setattr(live_module, "StudioEvent", never)
    place(story, observers=[stage.live])


@pytest.mark.parametrize(
    ("facts", "call_id", "direction"),
    [
        ({"caller": "+1"}, "call-1", "inbound"),
        ({"job": "job-1"}, "job-1-2", "outbound"),
        ({"job": "job-1"}, "call-1", "inbound"),  # they call back
        ({"room": "lobby"}, "call-1", "room"),
    ],
)
def test_who_began_it(facts: dict[str, str], call_id: str, direction: str) -> None:
    live = LiveCalls(lambda _: ("talking", "agent"))
    live.call_started(call_id, {"agent": "a", "channel": "c", "provider": "p", "dialled": "7", **facts}, 0.0)
    (call,) = live.now()
    assert (call.direction, call.job, call.room) == (direction, facts.get("job", ""), facts.get("room", ""))
    assert (call.agent, call.channel, call.provider, call.did) == ("a", "c", "p", "7")
    assert (call.state, call.floor) == ("talking", "agent")


def test_events_of_calls_that_are_not_known_are_nobodys_business() -> None:
    live = LiveCalls(lambda _: None)
    live.happened("ghost", ReplyEnded(1), 0.0)  # type: ignore[arg-type]
    live.frames("ghost", None, None, 8000)
    live.call_ended("ghost", "transferred", 0.0)
    assert Counter(live.now()) == Counter()
