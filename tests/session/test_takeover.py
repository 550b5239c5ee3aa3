"""An agent fails in every place it can, and another goes on with the same conversation."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    AgentExpiring,
    AgentFailed,
    AgentLost,
    AgentStarted,
    CallerSaid,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAsked,
)
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Said, ToolContext
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import PROMPT_MS, Call, place

GONE = ProviderError("it broke off")


def take_over(story: Callable[[Call, ScriptedAgent], Awaitable[None]], *replies: tuple[str, int]) -> Call:
    """A call whose first agent greets for 400 ms, and a second one with ``replies``."""
    second = ScriptedAgent(*replies)

    async def run(call: Call) -> None:
        await call.quiet(600)
        await story(call, second)

    call = place(run, ScriptedAgent(("Hello.", 400)), others=[second])
    assert second.closed == bool(second.briefings)
    return call


def test_while_nobody_speaks_the_caller_notices_nothing() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        call.agent.tell(GONE)
        await call.quiet(2000)
        assert second.told == []
        assert call.media.heard_ms() == 400, "nothing was said, and nothing was to be said"
        await call.speak(500)
        await call.quiet(1500)
        assert second.told == ["spoke", "paused"]

    call = take_over(story, ("Yes.", 400))
    assert [event.provider for event in call.witness.saw(AgentStarted)] == ["scripted", "scripted"]
    assert call.session.transcript.history() == (("agent", "Hello."), ("agent", "Yes."))


def test_a_turn_that_was_understood_is_answered_from_its_words() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(600)
        call.agent.tell(CallerSaid("what time is it"))
        await call.quiet(40)
        call.agent.tell(GONE)
        await call.quiet(1000)
        assert second.told == ["respond what time is it"]
        assert second.briefings[0].history == (Said("agent", "Hello."),)

    call = take_over(story, ("Noon.", 400))
    assert call.session.transcript.history() == (("agent", "Hello."), ("caller", "what time is it"), ("agent", "Noon."))


def test_a_turn_that_was_not_understood_is_heard_again() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(600)
        call.agent.tell(GONE)
        await call.quiet(300)
        assert second.told == ["spoke", "paused"]
        assert 25 <= second.heard <= 25 + 20 + 25 + 20, (
            "the turn, its pre-roll, the quiet after it, and what came since"
        )

    take_over(story, ("Yes.", 400))


def test_a_caller_in_the_middle_of_a_sentence_need_not_repeat_its_beginning() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        call.agent.tell(GONE)
        await call.speak(500)
        assert second.told == ["spoke"]
        assert second.heard >= 50
        await call.quiet(1500)
        assert second.told == ["spoke", "paused"]

    take_over(story, ("Yes.", 400))


def test_a_reply_that_broke_off_is_made_again_by_the_next_agent() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(600)
        call.agent.tell(CallerSaid("what time is it"))
        call.agent.reply("It is ten past", 400, ends=False)
        await call.quiet(300)
        call.agent.tell(GONE)
        await call.quiet(2000)
        assert second.told == ["respond what time is it"]

    call = take_over(story, ("It is ten past nine.", 400))
    assert call.media.heard_ms() == 400 + 400 + 400, "what was made is still heard, and no filler between"
    assert [said[1] for said in call.session.transcript.history()][2:] == ["It is ten past", "It is ten past nine."]


def test_a_reply_that_was_complete_is_not_made_again() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(600)
        call.agent.reply("It is noon.", 1000)
        await call.quiet(300)
        call.agent.tell(GONE)
        await call.quiet(2000)
        assert second.told == []

    assert take_over(story).media.heard_ms() == 1400


def test_a_next_agent_that_takes_long_is_announced_once() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        second.start_seconds = 1.4
        await call.speak(500)
        await call.quiet(600)
        call.agent.tell(CallerSaid("hello"))
        await call.quiet(20)
        call.agent.tell(GONE)
        await call.quiet(680)
        assert call.media.heard_ms() == 400
        await call.quiet(4000)
        assert call.media.heard_ms() == 400 + PROMPT_MS + 400

    take_over(story, ("Hi.", 400))


def test_an_agent_that_owes_its_greeting_is_replaced_by_one_that_greets() -> None:
    second = ScriptedAgent(("Good day.", 400))

    async def story(call: Call) -> None:
        await call.quiet(5500)
        assert second.told == ["greet"]

    call = place(story, ScriptedAgent(), others=[second])
    assert "no reply within 4.0 s" in call.witness.saw(AgentFailed)[0].reason


def test_what_the_lost_agent_still_says_is_not_listened_to() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(4700)
        assert second.told[-1] == "paused"
        call.agent.reply("Too late.", 400)
        await call.quiet(1000)

    call = take_over(story, ("Here I am.", 400))
    assert "Too late." not in [event.text for event in call.witness.saw(ReplyText)]


def test_replies_of_all_agents_are_numbered_as_one_row() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        call.agent.tell(GONE)
        await call.quiet(100)
        await call.speak(500)
        await call.quiet(1000)
        await call.speak(600)  # into the second agent's words
        await call.quiet(200)
        assert [reply for reply, _ in second.interrupted] == [ReplyId(1)], "it is told its own number"

    call = take_over(story, ("A long answer.", 3000))
    numbers = [event.reply for event in call.witness.saw(ReplyEnded)]
    assert numbers == sorted(set(numbers))


def test_a_tool_is_used_once_and_the_next_agent_knows_what_came_of_it() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(500)
        await call.quiet(600)
        call.agent.tell(CallerSaid("press one"))
        call.agent.tell(ToolAsked("7", "send_dtmf", {"digits": "1"}))
        await call.quiet(20)
        call.agent.tell(GONE)
        await call.quiet(1000)
        assert call.agent.told[-1] == "tool 7 True"
        assert second.told == ["respond press one"]
        assert second.briefings[0].history[-1] == Said("tool", 'send_dtmf({"digits": "1"}) -> {"ok": true}')

    call = take_over(story, ("Done.", 400))
    assert [done for done in call.control.done if "digits" in done] == ["send_digits 1"]


def test_when_the_others_fail_too_a_person_takes_over() -> None:
    second = ScriptedAgent()
    second.fails_to_start = ProviderError("refused", 401)

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(GONE)
        assert await call.reason() is EndReason.RESCUED

    call = place(story, ScriptedAgent(("Hello.", 400)), others=[second])
    assert call.witness.saw(AgentLost) == [AgentLost("refused")]
    assert second.closed == 1


def test_a_session_about_to_end_is_opened_anew_while_nobody_speaks() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        await call.speak(200)
        call.agent.tell(AgentExpiring())
        await call.speak(300)
        assert not second.briefings, "not while the caller speaks"
        await call.quiet(600)
        call.agent.reply("Yes.", 400)
        await call.quiet(1000)
        assert second.briefings[0].history == (Said("agent", "Hello."), Said("agent", "Yes."))
        assert second.told == []
        assert call.agent.closed == 1

    call = take_over(story)
    assert not call.witness.saw(AgentFailed)


def test_a_session_that_cannot_be_renewed_goes_on_to_its_end() -> None:
    async def story(call: Call, second: ScriptedAgent) -> None:
        second.fails_to_start = ProviderError("busy", 429)
        call.agent.tell(AgentExpiring())
        await call.quiet(500)
        assert second.closed == 1
        await call.speak(500)
        await call.quiet(600)
        assert call.agent.told[-1] == "paused"

    take_over(story)


def test_the_caller_is_told_that_a_tool_takes_a_moment() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        await call.quiet(600)
        reply = call.agent.reply("", 0)  # a model that only asks for a tool says nothing
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(1400)
        assert call.media.heard_ms() == 400
        await call.quiet(1000 + PROMPT_MS)
        assert call.media.heard_ms() == 400 + PROMPT_MS
        call.agent.reply("Done.", 400)
        await call.quiet(1000)
        assert reply == ReplyId(2)

    call = place(story, ScriptedAgent(("Hello.", 400)), tools=[Slow(2.0)])
    assert call.media.heard_ms() == 400 + PROMPT_MS + 400
    assert "tool 1 True" in call.agent.told


def test_what_ends_the_call_needs_no_answer() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("Goodbye.", 400)
        call.agent.tell(ToolAsked("1", "hangup", {}))
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    assert "tool 1 True last" in place(story, ScriptedAgent(("Hello.", 400))).agent.told


def test_a_provider_with_ears_that_heard_nothing_is_asked_for_something_else_first() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)  # noise, to the provider
        await call.quiet(500 + 4000 + 1000)
        assert call.agent.told == ["greet", "spoke", "paused", "nudge"]
        await call.quiet(1500)
        await call.speak(500)
        await call.quiet(5500)
        assert second.told == ["spoke", "paused"], "the second turn in a row was no noise: another agent hears it"

    second = ScriptedAgent(("Here I am.", 400))
    call = place(story, Eared(("Hello.", 400), ("Are you there?", 400)), others=[second])
    assert len(call.witness.saw(AgentFailed)) == 1


class Eared(ScriptedAgent):
    """Has ears of its own: it answers turns when it likes, which here is never."""

    patience_seconds = 1.0

    def caller_paused(self, *, brief: bool = False) -> None:
        self.told.append("paused")


class Slow:
    """Implements ``Tool``."""

    name = "slow"
    description = "Takes its time."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    timeout_seconds = 10.0

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        await asyncio.sleep(self._seconds)
        return {"ok": True}
