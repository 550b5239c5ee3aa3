"""One call in virtual time: what the session does when the world does this or that."""

import asyncio

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    AgentFailed,
    AgentLost,
    CallerHungUp,
    CallerPaused,
    CallerSaid,
    CallerSpoke,
    DigitReceived,
    EngineStopping,
    FellBack,
    MediaExhausted,
    ReplyAudio,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ReplyText,
    TakenBack,
    ToolAsked,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.errors import AsteriskError, ProviderError
from ai_engine.session.settings import SessionSettings
from tests.fakes.call_parts import (
    GONE,
    VOICE,
    ScriptedAgent,
)
from tests.fakes.one_call import PROMPT_MS, Call, place
from tests.fakes.virtual_time import run_virtual

ARRIVED = ["answer", "create_leg fake", "join bridged"]
"""What a call asks of Asterisk until sound flows."""


def test_a_conversation_from_answer_to_goodbye() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        assert call.agent.told == ["greet"]
        assert call.media.heard_ms() == 400
        await call.speak(600)
        await call.quiet(1500)
        assert call.agent.told == ["greet", "spoke", "paused"]
        assert call.media.heard_ms() == 800
        reply = call.agent.reply("Goodbye.", 600, ends=False)
        call.agent.tell(ToolAsked("t1", "hangup", {}))
        call.agent.tell(ReplyEnded(reply))
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    call = place(story)
    assert call.media.heard_ms() == 1400, "it hung up before the last word was played"
    assert call.control.done == [*ARRIVED, "hang_up", "close"]
    assert call.control.shown["OFFHOOK_AGENT"] == "reception"
    assert [said.text for said in call.session.transcript.utterances] == [
        *("Hello.", "Yes.", "Goodbye."),
        'hangup({}) -> {"ok": true}',
    ]


def test_a_caller_who_interrupts_silences_the_agent_and_trims_the_transcript() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(1000)
        assert call.media.sent[-1] is None
        (cut,) = call.witness.saw(ReplyCut)
        assert isinstance(cut, ReplyCut)
        assert 1000 <= cut.heard_ms <= 1200
        assert call.agent.interrupted == [(cut.reply, cut.heard_ms)]
        heard = call.media.heard_ms()
        call.agent.tell(ReplyAudio(cut.reply, VOICE * 50))  # what was on its way
        await call.speak(500)
        assert call.media.heard_ms() == heard
        assert call.session.transcript.utterances[0].text == "one two"

    call = place(story, ScriptedAgent(("one two three four five six seven eight", 4000)))
    assert call.session.transcript.utterances[0].cut


def test_a_reply_that_comes_right_after_an_interruption_is_heard_whole() -> None:
    async def story(call: Call) -> None:
        await call.quiet(400)
        await call.speak(300)
        heard = call.media.heard_ms()
        call.agent.reply("At once.", 800)
        await call.quiet(2000)
        assert call.media.heard_ms() == heard + 800

    place(story, ScriptedAgent(("A long story.", 4000)))


def test_with_barge_in_off_the_agent_is_not_interrupted() -> None:
    async def story(call: Call) -> None:
        await call.quiet(400)
        heard = call.media.heard_ms()
        await call.speak(1000)
        assert call.media.heard_ms() == heard + 1000
        assert not call.witness.saw(ReplyCut)
        await call.quiet(3000)
        await call.speak(500)
        await call.quiet(1000)
        assert call.agent.told == ["greet", "spoke", "paused"], "the ear did not open again"

    place(
        story,
        ScriptedAgent(("A long story.", 4000), ("Yes.", 400)),
        settings=SessionSettings(level=None, barge_in=False),
    )


def test_a_turn_ends_although_the_phone_stops_sending() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(500)
        await call.media.run(1000, None)
        assert call.agent.told[-1] == "paused"

    place(story)


def test_an_agent_that_is_lost_means_a_prompt_and_then_a_human() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        heard = call.media.heard_ms()
        call.agent.tell(ProviderError("it died"))
        assert await call.reason() is EndReason.RESCUED
        assert call.media.heard_ms() == heard + PROMPT_MS
        assert call.control.done[-2:] == ["transfer offhook,human", "close"]

    place(story)


def test_an_agent_that_does_not_start_means_the_same() -> None:
    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.RESCUED
        assert call.media.heard_ms() == PROMPT_MS

    agent = ScriptedAgent()
    agent.fails_to_start = ProviderError("401")
    place(story, agent)
    agent = ScriptedAgent()
    agent.start_seconds = 60.0
    call = place(story, agent)
    assert "not ready in 1.5 s" in str(call.witness.saw(AgentLost)[0])


def test_an_agent_that_owes_a_reply_for_too_long_counts_as_lost() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(500)
        assert await call.reason() is EndReason.RESCUED
        assert "no reply within 4.0 s" in str(call.witness.saw(AgentFailed)[0])

    place(story, ScriptedAgent(("Hello.", 400)))


def test_a_caller_who_hangs_up_ends_the_call_wherever_it_is() -> None:
    async def story(call: Call) -> None:
        await call.quiet(300)
        call.control.tell(CallerHungUp(16))
        assert await call.reason() is EndReason.CALLER_HUNG_UP

    assert place(story).control.done == [*ARRIVED, "close"]


def test_a_caller_who_is_gone_before_the_answer() -> None:
    async def run() -> None:
        call = Call(ScriptedAgent())
        call.control.fails["answer"] = GONE
        assert await call.reason() is EndReason.CALLER_HUNG_UP

    run_virtual(run())


def test_asterisk_may_take_the_channel_away() -> None:
    async def story(call: Call) -> None:
        await call.quiet(300)
        call.control.tell(TakenBack())
        assert await call.reason() is EndReason.TAKEN_BACK

    assert "transfer offhook,human" not in place(story).control.done


def test_a_media_leg_that_never_connects_sends_the_caller_to_a_human() -> None:
    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.RESCUED
        assert call.transport.withdrawn
        assert asyncio.get_running_loop().time() < 4

    assert "transfer offhook,human" in place(story, connects=False).control.done


def test_a_media_leg_that_asterisk_refuses_does_too() -> None:
    async def run() -> None:
        call = Call(ScriptedAgent())
        call.control.fails["create_leg fake"] = AsteriskError("no such module", 500)
        assert await call.reason() is EndReason.RESCUED
        assert [type(event) for event in call.witness.events] == [FellBack, MediaExhausted]

    run_virtual(run())


def test_media_that_is_lost_in_mid_call_sends_the_caller_to_a_human() -> None:
    async def story(call: Call) -> None:
        await call.quiet(300)
        assert call.media.line is not None
        call.media.line.media_lost("reset")
        assert await call.reason() is EndReason.RESCUED

    assert "transfer offhook,human" in place(story).control.done


def test_the_human_key_silences_the_agent_and_reaches_a_human_at_once() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.tell(DigitReceived("5"))
        call.control.tell(DigitReceived("0"))
        await call.quiet(60)
        assert call.running.done()
        assert await call.reason() is EndReason.TRANSFERRED

    call = place(story, ScriptedAgent(("A long story.", 20_000)))
    assert call.agent.told == ["greet", "digit 5"]


def test_a_human_the_agent_asks_for_comes_after_its_last_word() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        reply = call.agent.reply("One moment.", 600, ends=False)
        call.agent.tell(ToolAsked("t1", "transfer", {}))
        call.agent.tell(ReplyEnded(reply))
        assert await call.reason() is EndReason.TRANSFERRED
        assert call.media.heard_ms() == 1000

    place(story)


def test_a_tool_that_does_not_exist_is_answered_and_harms_nothing() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ToolAsked("t1", "fly", {}))
        await call.quiet(100)
        assert call.agent.told[-1] == "tool t1 False"
        assert call.session.phase is Phase.TALKING

    place(story)


def test_long_silence_is_broken_a_few_times_and_then_the_call_ends() -> None:
    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.AGENT_HUNG_UP
        assert call.agent.told == ["greet", "nudge", "nudge", "last nudge"]
        assert call.media.heard_ms() == 4 * 400, "it hung up before its goodbye was heard"

    settings = SessionSettings(level=None, no_input_seconds=5.0, no_input_limit=2)
    place(story, ScriptedAgent(*[("Are you there?", 400)] * 4), settings=settings)


def test_a_goodbye_without_end_does_not_keep_the_line() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("Goodbye", 400, ends=False)
        call.agent.tell(ToolAsked("t1", "hangup", {}))
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    place(story, settings=SessionSettings(level=None, last_words_seconds=3.0))


def test_an_engine_that_stops_hands_its_callers_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(300)
        call.session.happened(EngineStopping())
        assert await call.reason() is EndReason.RESCUED

    assert "transfer offhook,human" in place(story).control.done


def test_the_dead_man_switch_is_refreshed_well_before_it_fires() -> None:
    async def story(call: Call) -> None:
        await call.quiet(20_000)
        assert call.control.kept_alive >= 4

    place(story, settings=SessionSettings(level=None, no_input_seconds=60.0))


def test_what_the_caller_said_is_on_record_and_partial_words_are_not() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        call.agent.tell(CallerSaid("what are", final=False))
        call.agent.tell(CallerSaid("what are your hours"))
        await call.quiet(1200)
        assert call.session.transcript.lines()[1]["text"] == "what are your hours"

    call = place(story)
    assert call.witness.saw(CallerSpoke)
    assert call.witness.saw(CallerPaused)


def test_whatever_breaks_the_caller_reaches_a_human_before_the_call_is_released() -> None:
    async def run() -> None:
        call = Call(ScriptedAgent(("Hello.", 400)))

        def break_down(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        call.agent.greet = break_down  # type: ignore[method-assign]
        await call.quiet(300)
        assert call.running.done()
        assert isinstance(call.running.exception(), ExceptionGroup)
        assert call.control.done == [*ARRIVED, "transfer offhook,human", "close"]
        assert call.agent.closed == 1

    run_virtual(run())


def test_the_human_key_works_during_the_announcement_of_the_hand_over() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        reply = call.agent.reply("One moment, I will connect you.", 4000, ends=False)
        call.agent.tell(ToolAsked("t1", "transfer", {}))
        call.agent.tell(ReplyEnded(reply))
        await call.quiet(500)
        call.control.tell(DigitReceived("0"))
        await call.quiet(60)
        assert call.running.done()
        assert await call.reason() is EndReason.TRANSFERRED

    place(story)


def test_a_reply_that_stands_still_in_its_middle_means_a_lost_agent() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("And then", 400, ends=False)
        await call.quiet(4000)
        assert not call.witness.saw(AgentFailed)
        assert await call.reason() is EndReason.RESCUED
        assert "stood still for 4 s" in str(call.witness.saw(AgentFailed)[0])

    place(story)


def test_a_caller_who_hangs_up_in_the_middle_of_a_reply_has_heard_only_that_much() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1100)
        call.control.tell(CallerHungUp())
        await call.reason()
        assert call.witness.lines[0]["cut"]
        assert call.witness.lines[0]["text"] == "one two"

    place(story, ScriptedAgent(("one two three four five six seven eight", 4000)))


def test_words_of_a_refused_reply_are_not_on_record() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ReplyText(ReplyId(99), "never begun"))
        await call.quiet(100)
        assert [said.text for said in call.session.transcript.utterances] == ["Hello."]

    place(story)


def test_a_goodbye_that_is_waiting_is_said_although_the_agent_is_lost() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("Goodbye.", 2000, ends=False)
        call.agent.tell(ToolAsked("t1", "hangup", {}))
        await call.quiet(500)
        call.agent.tell(ProviderError("it died"))
        assert await call.reason() is EndReason.AGENT_HUNG_UP
        assert call.media.heard_ms() == 2400

    place(story)


def test_a_connection_that_came_although_its_leg_failed_is_sent_away() -> None:
    async def run() -> None:
        call = Call(ScriptedAgent())
        call.control.fails["create_leg fake"] = AsteriskError("the leg ended", 500)
        await call.reason()
        assert call.transport.withdrawn

    run_virtual(run())


def test_a_caller_who_speaks_while_an_answer_is_due_stops_the_clock_of_the_answer() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        await call.speak(300)
        await call.quiet(1000)  # the turn is over, and no answer comes
        await call.speak(6000)
        assert not call.witness.saw(AgentFailed)

    place(story, ScriptedAgent(("Hello.", 400)))


def test_a_caller_who_speaks_makes_the_count_of_nudges_begin_again() -> None:
    async def story(call: Call) -> None:
        await call.quiet(3500)
        await call.speak(300)
        await call.quiet(3500)
        await call.speak(300)
        await call.quiet(3500)
        assert call.agent.told.count("nudge") == 3
        assert not call.running.done()

    settings = SessionSettings(level=None, no_input_seconds=2.0, no_input_limit=1)
    place(story, ScriptedAgent(*[("Yes?", 400)] * 6), settings=settings)


def test_a_goodbye_that_was_interrupted_leaves_no_clock_behind() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        reply = call.agent.reply("Goodbye.", 2000, ends=False)
        call.agent.tell(ToolAsked("t1", "hangup", {}))
        call.agent.tell(ReplyEnded(reply))
        await call.quiet(300)
        await call.speak(700)
        await call.quiet(6000)
        assert call.session.phase is Phase.TALKING

    settings = SessionSettings(level=None, last_words_seconds=4.0, no_input_seconds=60.0)
    place(story, ScriptedAgent(("Hello.", 400), ("Yes.", 400)), settings=settings)


def test_a_hang_up_waits_for_the_frames_on_their_way() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        reply = call.agent.reply("Goodbye.", 400, ends=False)
        call.agent.tell(ToolAsked("t1", "hangup", {}))
        call.agent.tell(ReplyEnded(reply))
        while call.media.heard_ms() < 800:
            await call.quiet(20)
        await call.quiet(200)
        assert "hang_up" not in call.control.done
        await call.reason()

    place(story)


def test_a_transfer_that_asterisk_refuses_still_releases_the_call() -> None:
    async def story(call: Call) -> None:
        await call.quiet(300)
        call.control.fails["transfer offhook,human"] = AsteriskError("ARI is down")
        call.agent.tell(ProviderError("it died"))
        assert await call.reason() is EndReason.RESCUED

    place(story)
