"""What a call that we placed has beside a conversation: an end, and a message for a machine. In virtual time."""

import asyncio

import pytest

from ai_engine.call.actions import EndReason
from ai_engine.call.lifecycle import Phase
from ai_engine.errors import ProviderError
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call, place


def test_a_conversation_ends_when_its_time_is_up() -> None:
    async def story(call: Call) -> None:
        await call.quiet(4000)
        assert call.session.phase is Phase.TALKING
        assert await call.reason() is EndReason.AGENT_HUNG_UP
        assert asyncio.get_running_loop().time() == pytest.approx(5.3, abs=0.3)

    place(story, max_seconds=5.0)


def test_a_caller_who_talks_on_does_not_prolong_it_for_ever() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        while not call.running.done():
            await call.speak(2600)
            await call.quiet(700)
        assert asyncio.get_running_loop().time() < 16

    place(story, ScriptedAgent(("Hello.", 400), *[("Yes.", 100)] * 20), max_seconds=3.0)


def test_the_agents_last_word_is_heard_when_time_is_up() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("This takes a while.", 3000)
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    call = place(story, max_seconds=1.0)
    assert call.media.heard_ms() == 400 + 3000


def test_a_machine_is_left_a_message_and_nothing_else() -> None:
    machine_greets = ScriptedAgent(("Please call us back.", 800))

    async def story(call: Call) -> None:
        await call.speak(3000)  # whatever the machine says meanwhile
        await call.reason()

    call = place(story, machine_greets, message="Please call us back.")
    assert call.running.result() is EndReason.AGENT_HUNG_UP
    assert call.media.heard_ms() == 800
    assert [said.text for said in call.session.transcript.utterances] == ["Please call us back."]
    assert [briefing.greeting for briefing in machine_greets.briefings] == ["Please call us back."]
    assert "hang_up" in call.control.done


def test_a_machine_that_shows_itself_late_is_left_the_message_in_mid_call() -> None:
    talks, speaks = ScriptedAgent(("Hello.", 400)), ScriptedAgent(("Call us.", 600))

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.session.leave_message("Call us.")
        await call.quiet(40)
        call.agent.reply("I go on talking.", 5000)  # too late: nobody hears it
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    call = place(story, talks, others=[speaks])
    assert call.media.heard_ms() <= 400 + 600 + 40
    assert call.session.transcript.utterances[-1].text == "Call us."


def test_without_a_voice_for_the_message_the_machine_is_hung_up_on() -> None:
    mute = ScriptedAgent()
    mute.fails_to_start = ProviderError("no voice")

    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.AGENT_HUNG_UP

    call = place(story, mute, message="Call us.")
    assert call.media.heard_ms() == 0


def test_a_message_that_is_left_already_is_not_left_twice() -> None:
    async def story(call: Call) -> None:
        await call.quiet(100)
        call.session.leave_message("Call us.")
        await call.reason()

    call = place(story, ScriptedAgent(("Call us.", 800)), message="Call us.")
    assert call.media.heard_ms() == 800
