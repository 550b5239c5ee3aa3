"""What happens at the wrong moment: while an agent is opened, while a tool is used, while the caller speaks."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    AgentExpiring,
    AgentFailed,
    AgentStarted,
    CallerAnswered,
    CallerHeld,
    CallerSaid,
    CallerUnheld,
    FalseAlarm,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAnswered,
    ToolAsked,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.call.turns import Floor
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Said, ToolContext
from ai_engine.session.roster import Breaker, Candidate
from tests.fakes.call_parts import VOICE, FakeMedia, FakeTransport, ScriptedAgent, stream_over
from tests.fakes.one_call import Call, place

GONE = ProviderError("it broke off")
GREETING = ("Hello.", 400)


class Eared(ScriptedAgent):
    """Has ears of its own: when a turn is over is up to the test."""

    patience_seconds = 1.0

    def caller_paused(self, *, brief: bool = False) -> None:
        self.told.append("paused")


class Hearing(ScriptedAgent):
    """Keeps what it hears."""

    def __init__(self, *replies: tuple[str, int]) -> None:
        super().__init__(*replies)
        self.frames: list[bytes] = []

    def hear(self, pcm: bytes) -> None:
        super().hear(pcm)
        self.frames.append(pcm)

    @property
    def voiced(self) -> int:
        return sum(any(frame) for frame in self.frames)


class Slow:
    """Implements ``Tool``."""

    name = "slow"
    description = "Takes its time."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    timeout_seconds = 60.0

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        await asyncio.sleep(self._seconds)
        return {"ok": True}


async def asks(call: Call, words: str = "") -> None:
    """The caller asks something, and with ``words`` the agent has understood it."""
    await call.speak(500)
    await call.quiet(600)
    if words:
        call.agent.tell(CallerSaid(words))
        await call.quiet(20)


# -- while the next agent is on its way --------------------------------------------------------------------


def test_a_caller_who_speaks_while_an_agent_is_sought_does_not_make_two_come() -> None:
    second, third = ScriptedAgent(("Done.", 400)), ScriptedAgent()

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "book it")
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(20)
        call.agent.tell(GONE)
        await call.quiet(100)
        await call.speak(500)  # "hello?"
        await call.quiet(9000)
        assert second.briefings
        assert not third.briefings

    call = place(story, ScriptedAgent(GREETING), others=[second, third], tools=[Slow(8.0)])
    assert len(call.witness.saw(AgentFailed)) == 1
    assert len(call.witness.saw(AgentStarted)) == 2


def test_a_call_that_ends_while_two_sessions_are_opened_closes_both() -> None:
    renewed, next_one = ScriptedAgent(), ScriptedAgent()
    renewed.start_seconds = next_one.start_seconds = 1.4

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(AgentExpiring())
        await call.quiet(100)
        call.agent.tell(GONE)
        await call.quiet(100)
        assert renewed.briefings
        assert next_one.briefings

    place(story, ScriptedAgent(GREETING), others=[renewed, next_one])
    assert (renewed.closed, next_one.closed) == (1, 1)


def test_a_session_opened_in_place_of_one_that_has_died_meanwhile_is_not_needed() -> None:
    renewed, next_one = ScriptedAgent(), ScriptedAgent(("Yes.", 400))
    renewed.start_seconds = 1.0

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(AgentExpiring())
        await call.quiet(100)
        call.agent.tell(GONE)
        await call.quiet(2000)
        assert (renewed.closed, next_one.closed) == (1, 0)
        await asks(call)
        await call.quiet(600)
        assert renewed.told == []
        assert next_one.told == ["spoke", "paused"]

    place(story, ScriptedAgent(GREETING), others=[renewed, next_one])


def test_a_stir_that_was_nothing_does_not_lose_the_question() -> None:
    """The caller coughs into "One moment, please" just when the next agent comes."""
    second = ScriptedAgent(("Noon.", 400))
    second.start_seconds = 1.0

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "what time is it")
        call.agent.tell(GONE)
        await call.quiet(900)
        await call.speak(100)
        assert call.session.floor is Floor.CONTESTED
        await call.quiet(2500)
        assert second.told == ["spoke", "dismissed", "respond what time is it"]

    call = place(story, ScriptedAgent(GREETING), others=[second])
    assert call.witness.saw(FalseAlarm)
    assert call.session.transcript.history()[-1] == ("agent", "Noon.")


def test_a_cough_does_not_wipe_out_a_question_nobody_has_understood() -> None:
    second = Hearing(("Noon.", 400))
    second.start_seconds = 1.4

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call)
        call.agent.tell(GONE)
        await call.quiet(800)
        await call.speak(100)  # into "One moment, please"
        await call.quiet(2500)
        assert second.told == ["spoke", "paused"]
        assert second.voiced >= 25

    call = place(story, ScriptedAgent(GREETING), others=[second])
    assert call.witness.saw(FalseAlarm)


def test_a_caller_who_agrees_to_wait_need_not_ask_again() -> None:
    second = Hearing(("Noon.", 400))
    second.start_seconds = 1.4

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call)
        call.agent.tell(GONE)
        await call.quiet(900)
        await call.speak(240)  # "okay"
        await call.quiet(3000)
        assert second.voiced >= 25 + 12, "the question, then the word"

    call = place(story, ScriptedAgent(GREETING), others=[second])
    assert call.witness.saw(CallerAnswered)


def test_a_hum_does_not_take_the_place_of_the_question() -> None:
    second = ScriptedAgent(("It is ten past nine.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "what time is it")
        call.agent.reply("It is now, if I am not mistaken, ten past", 3000, ends=False)
        await call.quiet(500)
        await call.speak(240)
        await call.quiet(300)
        assert call.agent.told[-1] == "paused briefly"
        call.agent.tell(CallerSaid("mm-hm"))
        await call.quiet(200)
        call.agent.tell(GONE)
        await call.quiet(500)
        assert second.told == ["respond what time is it"]

    place(story, ScriptedAgent(GREETING), others=[second])


# -- a session is renewed ----------------------------------------------------------------------------------


def test_a_caller_who_speaks_while_a_session_is_renewed_keeps_the_one_that_hears_them() -> None:
    renewed, again = ScriptedAgent(), ScriptedAgent()
    renewed.start_seconds = 0.4

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(AgentExpiring())
        await call.quiet(60)
        await call.speak(500)
        await call.quiet(700)
        assert (renewed.closed, renewed.told) == (1, [])
        assert call.agent.told == ["greet", "spoke", "paused"]
        await call.quiet(1500)
        assert again.briefings[0].history == (Said("agent", "Hello."), Said("agent", "Yes."))
        assert again.closed == 0

    call = place(story, ScriptedAgent(GREETING, ("Yes.", 1000)), others=[renewed, again])
    assert call.media.heard_ms() == 1400
    assert not call.witness.saw(AgentFailed)


def test_a_tool_asked_for_while_a_session_is_renewed_is_used_once_and_answered() -> None:
    renewed, again = ScriptedAgent(), ScriptedAgent()
    renewed.start_seconds = 0.4

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(AgentExpiring())
        await call.quiet(60)
        call.agent.tell(ToolAsked("7", "slow", {}))
        await call.quiet(1100)
        assert renewed.closed == 1
        assert call.agent.told[-1] == "tool 7 True"
        call.agent.reply("Done.", 400)
        await call.quiet(1000)
        assert again.briefings

    place(story, ScriptedAgent(GREETING), others=[renewed, again], tools=[Slow(1.0)])


def test_a_reply_that_has_begun_without_a_sound_yet_is_not_left_open_by_a_renewal() -> None:
    renewed = ScriptedAgent()

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ReplyBegan(ReplyId(9)))
        call.agent.tell(AgentExpiring())
        await call.quiet(100)
        assert not renewed.briefings
        call.agent.tell(ReplyAudio(ReplyId(9), VOICE * 20))
        call.agent.tell(ReplyEnded(ReplyId(9)))
        await call.quiet(1000)
        assert renewed.briefings

    place(story, ScriptedAgent(GREETING), others=[renewed])


# -- a reply is late, or is not ----------------------------------------------------------------------------


def test_an_early_answer_is_waited_for_like_any_other() -> None:
    second = ScriptedAgent(("Booked.", 400))

    async def story(call: Call) -> None:
        await call.quiet(400)
        await call.speak(240)  # into the last second of the greeting
        await call.quiet(5000)
        assert second.told == ["spoke", "paused"]

    call = place(story, ScriptedAgent(("Shall I book it?", 1400)), others=[second])
    assert call.witness.saw(CallerAnswered)
    assert "no reply within 4.0 s" in call.witness.saw(AgentFailed)[0].reason


def test_an_agent_that_waits_for_its_tool_is_not_late() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "look it up")
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(6500)
        assert call.agent.told[-1] == "tool 1 True"
        call.agent.tell(ToolAsked("2", "slow", {}))
        await call.quiet(6500)
        assert call.agent.told[-1] == "tool 2 True"
        call.agent.reply("Found it.", 400)
        await call.quiet(1000)

    call = place(story, ScriptedAgent(GREETING), tools=[Slow(6.0)])
    assert not call.witness.saw(AgentFailed)


def test_an_agent_that_waits_for_the_slower_of_its_tools_is_not_late() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "look it up")
        call.agent.tell(ToolAsked("1", "slow", {}))
        call.agent.tell(ToolAsked("2", "send_dtmf", {"digits": "1"}))
        await call.quiet(6500)
        assert call.agent.told[-2:] == ["tool 2 True", "tool 1 True"]

    call = place(story, ScriptedAgent(GREETING), tools=[Slow(6.0)])
    assert not call.witness.saw(AgentFailed)


def test_sound_that_is_back_while_a_tool_is_used_makes_no_agent_late() -> None:
    first, second = FakeMedia(), FakeMedia()

    async def story(call: Call) -> None:
        await first.run(600)
        await first.run(500, VOICE)
        await first.run(600)
        call.agent.tell(ToolAsked("1", "slow", {}))
        await first.run(20)
        assert first.line is not None
        first.line.media_lost("reset")
        await asyncio.sleep(0.1)
        await second.run(8000)
        assert call.agent.told[-1] == "tool 1 True"

    ways = stream_over(FakeTransport(first, second))
    call = place(story, ScriptedAgent(GREETING), ways=ways, tools=[Slow(7.0)])
    assert not call.witness.saw(AgentFailed)


def test_nobody_is_asked_whether_they_are_there_while_they_wait_for_a_tool() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "look it up")
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(20_500)
        assert "nudge" not in call.agent.told
        assert call.agent.told[-1] == "tool 1 True"
        call.agent.reply("Found it.", 400)
        await call.quiet(11_000)
        assert call.agent.told[-1] == "nudge"

    place(story, ScriptedAgent(GREETING), tools=[Slow(20.0)])


def test_what_came_of_a_tool_is_told_by_the_next_agent_though_something_was_said_meanwhile() -> None:
    second = ScriptedAgent(("It is done.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "look it up")
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(100)
        call.agent.reply("Let me see.", 400)
        await call.quiet(2500)
        assert call.agent.told[-1] == "tool 1 True"
        call.agent.tell(GONE)
        await call.quiet(1000)
        assert second.told == ["respond look it up"]

    place(story, ScriptedAgent(GREETING), others=[second], tools=[Slow(2.0)])


def test_an_answer_owed_from_before_hold_is_waited_for_after_it() -> None:
    second = ScriptedAgent(("Yes.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        call.control.tell(CallerHeld())
        await call.quiet(8000)
        assert not call.witness.saw(AgentFailed), "nobody could have heard it"
        call.control.tell(CallerUnheld())
        await call.quiet(4200)
        assert second.told == ["spoke", "paused"]

    place(story, ScriptedAgent(GREETING), others=[second])


def test_a_caller_who_was_not_on_hold_comes_back_in_the_middle_of_a_sentence() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(300)
        call.control.tell(CallerUnheld())
        await call.quiet(1000)
        assert call.agent.told == ["greet", "spoke", "paused"]

    place(story, ScriptedAgent(GREETING, ("Yes.", 400)))


def test_an_agent_with_ears_does_not_hear_the_music_on_hold() -> None:
    agent = Hearing(GREETING)

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.control.tell(CallerHeld())
        await call.quiet(20)
        await call.speak(2000)
        assert agent.voiced == 0
        call.control.tell(CallerUnheld())
        await call.quiet(20)
        await call.speak(500)
        assert agent.voiced == 25

    place(story, agent)


# -- a provider with ears of its own -----------------------------------------------------------------------


def test_an_answer_that_began_before_we_heard_the_pause_is_not_made_again() -> None:
    second = ScriptedAgent()

    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        await call.quiet(200)
        call.agent.tell(ReplyBegan(ReplyId(2)))
        await call.quiet(400)
        assert call.agent.told[-1] == "paused"
        call.agent.tell(CallerSaid("what time is it"))
        call.agent.tell(ReplyText(ReplyId(2), "Noon."))
        call.agent.tell(ReplyAudio(ReplyId(2), VOICE * 20))
        call.agent.tell(ReplyEnded(ReplyId(2)))
        await call.quiet(1500)
        call.agent.tell(GONE)
        await call.quiet(1000)
        assert second.told == []

    place(story, Eared(GREETING), others=[second])


def test_an_answer_heard_before_we_heard_the_pause_is_made_again_where_it_broke_off() -> None:
    second = ScriptedAgent(("Noon.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        await call.quiet(200)
        call.agent.tell(CallerSaid("what time is it"))
        call.agent.tell(ReplyBegan(ReplyId(2)))
        call.agent.tell(ReplyText(ReplyId(2), "It is"))
        call.agent.tell(ReplyAudio(ReplyId(2), VOICE * 20))
        await call.quiet(200)
        assert call.session.floor is Floor.AGENT
        call.agent.tell(GONE)
        await call.quiet(2000)
        assert second.told == ["respond what time is it"]

    place(story, Eared(GREETING), others=[second])


def test_words_that_come_before_we_heard_the_pause_are_kept() -> None:
    second = ScriptedAgent(("Noon.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        await call.quiet(200)
        call.agent.tell(CallerSaid("what time is it"))
        await call.quiet(5700)
        assert second.told == ["respond what time is it"]
        assert second.briefings[0].history == (Said("agent", "Hello."),)

    call = place(story, Eared(GREETING), others=[second])
    assert "nudge" not in call.agent.told, "it has heard them"


def test_words_that_come_before_every_pause_stand_in_their_order() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        for words, number in (("what time is it", 2), ("thank you", 3)):
            await call.speak(500)
            await call.quiet(200)
            call.agent.tell(CallerSaid(words))
            await call.quiet(400)
            call.agent._next = number - 1
            call.agent.reply(f"Answer {number}.", 400)
            await call.quiet(1000)

    call = place(story, Eared(GREETING))
    assert call.session.transcript.history() == (
        ("agent", "Hello."),
        ("caller", "what time is it"),
        ("agent", "Answer 2."),
        ("caller", "thank you"),
        ("agent", "Answer 3."),
    )


def test_words_after_a_turn_that_was_noise_stand_after_what_was_said_since() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)  # noise, to the provider
        await call.quiet(500 + 5000 + 1500)
        assert call.agent.told[-1] == "nudge"
        await call.speak(500)
        await call.quiet(200)
        call.agent.tell(CallerSaid("yes I am"))
        await call.quiet(500)

    call = place(story, Eared(GREETING, ("Are you there?", 400)))
    assert call.session.transcript.history() == (
        ("agent", "Hello."),
        ("agent", "Are you there?"),
        ("caller", "yes I am"),
    )


# -- last words --------------------------------------------------------------------------------------------


def test_goodbye_is_said_once_though_the_agent_dies_of_it() -> None:
    second = ScriptedAgent(("Goodbye again.", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "that was all")
        call.agent.reply("Goodbye.", 1500)
        call.agent.tell(ToolAsked("1", "hangup", {}))
        call.agent.tell(GONE)
        assert await call.reason() is EndReason.AGENT_HUNG_UP
        assert second.told == []

    call = place(story, ScriptedAgent(GREETING), others=[second])
    assert call.media.heard_ms() == 400 + 1500


def test_a_caller_who_wants_more_after_the_goodbye_of_a_dead_agent_gets_another_at_once() -> None:
    second = ScriptedAgent(("Yes?", 400))

    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("Goodbye then, and thank you very much for calling.", 4000)
        call.agent.tell(ToolAsked("1", "hangup", {}))
        await call.quiet(500)
        assert call.session.phase is Phase.CLOSING
        call.agent.tell(GONE)
        await call.quiet(100)
        await call.speak(800)
        assert call.session.phase is Phase.TALKING
        await call.quiet(1000)
        assert second.told[-1] == "paused"

    place(story, ScriptedAgent(GREETING), others=[second])


# -- what providers should not do --------------------------------------------------------------------------


def test_a_tool_asked_for_twice_by_the_same_name_and_number_is_used_once() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ToolAsked("1", "slow", {}))
        call.agent.tell(ToolAsked("1", "slow", {}))
        await call.quiet(2000)
        assert call.agent.told[-1] == "tool 1 True"

    call = place(story, ScriptedAgent(GREETING), tools=[Slow(1.0)])
    assert len(call.witness.saw(ToolAnswered)) == 1


# -- a provider is left alone ------------------------------------------------------------------------------


def calls_that_are_greeted_and_fail(breaker: Breaker, error: ProviderError, count: int) -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await asks(call, "what time is it")
        call.agent.tell(error)
        await call.quiet(1000)

    for _ in range(count):
        agent, spare = ScriptedAgent(GREETING), ScriptedAgent(("Noon.", 400))
        place(
            story,
            agent,
            candidates=[
                Candidate("one", lambda agent=agent: agent, breaker),  # type: ignore[misc]
                Candidate("spare", lambda spare=spare: spare),  # type: ignore[misc]
            ],
        )


def test_whoever_greets_and_never_answers_is_left_alone() -> None:
    breaker = Breaker(failures=3)
    calls_that_are_greeted_and_fail(breaker, ProviderError("the model stalls"), 3)
    assert breaker.tripped


def test_a_refusal_in_the_middle_of_a_call_counts_as_one_at_its_beginning() -> None:
    breaker = Breaker(failures=3)
    calls_that_are_greeted_and_fail(breaker, ProviderError("no such model", status=404), 1)
    assert breaker.tripped
