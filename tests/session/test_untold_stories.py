"""What a second pair of eyes feared for callers: each story once went wrong."""

import asyncio

from ai_engine.call.events import (
    CallerHeld,
    CallerHungUp,
    CallerSaid,
    CallerUnheld,
    DigitReceived,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAsked,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.call.turns import Floor
from tests.fakes.call_parts import VOICE, FakeMedia, FakeTransport, ScriptedAgent, stream_over
from tests.fakes.one_call import Call, place
from tests.fakes.virtual_time import run_virtual


async def to_contested(call: Call) -> None:
    await call.quiet(200)
    await call.speak(140)
    assert call.session.floor is Floor.CONTESTED


async def to_weighed(call: Call) -> None:
    await call.quiet(200)
    await call.speak(240)
    await call.quiet(300)
    assert call.session.floor is Floor.WEIGHED


async def seconds_to_the_end(call: Call) -> float:
    began = asyncio.get_running_loop().time()
    await call.reason()
    return asyncio.get_running_loop().time() - began


def test_words_that_follow_a_meant_one_are_not_talked_over_and_are_answered() -> None:
    async def story(call: Call) -> None:
        await to_weighed(call)
        call.agent.tell(CallerSaid("wait"))
        await call.quiet(20)
        late = ReplyId(77)
        call.agent.tell(ReplyBegan(late))
        call.agent.tell(ReplyText(late, "Yes?"))
        await call.quiet(60)
        before = call.media.heard_ms()
        await call.speak(300)
        assert call.session.floor is Floor.CALLER
        call.agent.tell(ReplyAudio(late, VOICE * 50))
        call.agent.tell(ReplyEnded(late))
        await call.speak(800)
        assert call.media.heard_ms() == before
        await call.quiet(1500)
        assert call.agent.told[-1] == "paused"

    place(story, ScriptedAgent(("Hello, this is a long greeting.", 4000)))


def test_a_hand_over_asked_for_while_the_agent_waits_comes_after_its_words() -> None:
    async def story(call: Call) -> None:
        await to_contested(call)
        call.agent.tell(ToolAsked("t", "transfer", {}))
        await call.quiet(100)
        assert await seconds_to_the_end(call) < 6

    assert place(story, ScriptedAgent(("I will connect you.", 1500))).media.heard_ms() >= 1500


def test_a_hang_up_asked_for_while_the_agent_waits_comes_after_its_words() -> None:
    async def story(call: Call) -> None:
        await to_weighed(call)
        call.agent.tell(ToolAsked("t", "hangup", {}))
        assert await seconds_to_the_end(call) < 6

    assert place(story, ScriptedAgent(("Goodbye then, and thank you.", 2500))).media.heard_ms() >= 2500


def test_a_hand_over_asked_for_on_hold_is_announced_when_the_caller_is_back() -> None:
    async def story(call: Call) -> None:
        await call.quiet(200)
        call.control.tell(CallerHeld())
        await call.quiet(100)
        call.agent.tell(ToolAsked("t", "transfer", {}))
        await call.quiet(200)
        call.control.tell(CallerUnheld())
        await call.quiet(100)
        assert await seconds_to_the_end(call) < 6

    place(story, ScriptedAgent(("I will connect you.", 1500)))


def test_a_reply_that_begins_while_it_is_weighed_and_never_sounds_is_a_lost_agent() -> None:
    async def story(call: Call) -> None:
        await to_weighed(call)
        call.agent.tell(ReplyBegan(ReplyId(9)))
        await call.quiet(10_000)
        assert call.session.phase is not Phase.TALKING

    place(story, ScriptedAgent(("Hello.", 4000)))


def test_a_caller_who_is_speaking_is_not_hung_up_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(300)
        call.agent.tell(ToolAsked("t", "hangup", {}))
        await call.speak(1000)
        assert call.session.phase is Phase.TALKING
        assert "tool t False" in call.agent.told

    place(story, ScriptedAgent(("Hello.", 200)))


def test_keys_break_the_silence() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        for digit in "12345678":
            await call.quiet(2000)
            call.control.tell(DigitReceived(digit))
        assert "nudge" not in call.agent.told

    place(story, ScriptedAgent(("Hello.", 200)))


def test_the_human_key_works_before_sound_flows() -> None:
    async def story(call: Call) -> None:
        await asyncio.sleep(0.5)
        call.control.tell(DigitReceived("0"))
        await asyncio.sleep(0.5)
        assert call.session.phase is Phase.ENDED

    place(story, ScriptedAgent(("Hello.", 200)), connects=False)


def test_a_caller_who_holds_while_the_agent_is_started_is_waited_for() -> None:
    async def story(call: Call) -> None:
        await call.quiet(100)
        call.control.tell(CallerHeld())
        await call.quiet(120_000)
        assert call.session.phase is Phase.TALKING
        assert call.media.heard_ms() == 0
        call.control.tell(CallerUnheld())
        await call.quiet(1000)
        assert call.media.heard_ms() == 400

    agent = ScriptedAgent(("Hello.", 400))
    agent.start_seconds = 1.0
    place(story, agent)


def test_the_first_words_after_hold_music_are_heard() -> None:
    async def story(call: Call) -> None:
        await call.quiet(700)
        call.control.tell(CallerHeld())
        await call.quiet(100)
        await call.speak(3000)  # their PBX plays music
        call.control.tell(CallerUnheld())
        await call.speak(1000)
        await call.quiet(1500)
        assert call.agent.told[-1] == "paused"

    place(story, ScriptedAgent(("Hello.", 400)))


def test_a_goodbye_waits_for_a_caller_on_hold() -> None:
    async def story(call: Call) -> None:
        await call.quiet(200)
        call.control.tell(CallerHeld())
        await call.quiet(100)
        call.agent.tell(ToolAsked("t", "hangup", {}))
        await call.quiet(40_000)
        assert call.session.phase is Phase.CLOSING

    place(story, ScriptedAgent(("Bye.", 1500)))


def test_an_early_yes_is_an_answer() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(240)  # over the last 300 ms
        await call.quiet(1500)
        assert call.agent.told == ["greet", "spoke", "paused"]
        assert call.session.transcript.utterances[-1].text == "Booked."

    place(story, ScriptedAgent(("Shall I book it?", 1300), ("Booked.", 400)))


def test_an_agent_that_answers_while_sound_is_sought_is_not_lost() -> None:
    async def run() -> None:
        first, last = FakeMedia(), FakeMedia()
        dead = [FakeTransport(None, name=name) for name in ("b", "c", "d")]
        ways = stream_over(FakeTransport(first, name="a"), *dead, FakeTransport(last, name="e"))
        call = Call(ScriptedAgent(("Hello.", 400)), ways=ways)
        await asyncio.sleep(0)
        await first.run(700)
        await first.run(500, VOICE)
        await first.run(700)
        assert call.session.floor is Floor.AGENT_PENDING
        assert first.line is not None
        first.line.media_lost("reset")
        first.closed = True
        await asyncio.sleep(0.5)
        call.agent.reply("Your answer.", 400)
        await asyncio.sleep(4.5)
        assert call.session.phase is Phase.TALKING
        await last.run(1000)
        assert last.heard_ms() == 400
        call.control.tell(CallerHungUp())
        await call.reason()

    run_virtual(run())
