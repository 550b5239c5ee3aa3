"""A call in which no human can be reached: nobody is promised one, and its end says the truth. In virtual time."""

import asyncio

from ai_engine.call.actions import EndReason, Prompt
from ai_engine.call.events import DigitReceived, EngineStopping, MediaExhausted, ToolAsked
from ai_engine.call.lifecycle import Phase
from ai_engine.errors import AsteriskError, ProviderError
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import PROMPT_MS, Call, place
from tests.fakes.virtual_time import run_virtual


def said(call: Call) -> list[str]:
    return [utterance.text for utterance in call.session.transcript.utterances]


def given_up(call: Call) -> bool:
    """It was hung up, and nobody was sent anywhere."""
    asked = [done.partition(" ")[0] for done in call.control.done]
    return asked[-2:] == ["hang_up", "close"] and "transfer" not in asked


def test_an_agent_that_is_lost_means_an_apology_and_a_goodbye() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.agent.tell(ProviderError("it died"))
        assert await call.reason() is EndReason.GIVEN_UP

    call = place(story, reaches_human=False)
    assert said(call)[-1] == Prompt.SORRY.words
    assert call.media.heard_ms() == 400 + PROMPT_MS
    assert given_up(call)


def test_an_agent_that_does_not_start_means_the_same() -> None:
    agent = ScriptedAgent()
    agent.fails_to_start = ProviderError("401")

    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.GIVEN_UP

    call = place(story, agent, reaches_human=False)
    assert said(call) == [Prompt.SORRY.words]
    assert given_up(call)


def test_a_call_without_sound_ends_at_once() -> None:
    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.GIVEN_UP
        assert call.witness.saw(MediaExhausted)

    assert given_up(place(story, connects=False, reaches_human=False))


def test_an_answer_that_fails_does_too() -> None:
    async def story(call: Call) -> None:
        call.control.fails["answer"] = AsteriskError("no")
        assert await call.reason() is EndReason.GIVEN_UP

    assert given_up(place(story, reaches_human=False))


def test_an_engine_that_stops_says_so_in_the_time_it_has() -> None:
    async def story(call: Call) -> None:
        await call.quiet(500)
        began = asyncio.get_running_loop().time()
        call.session.happened(EngineStopping())
        assert await call.reason() is EndReason.GIVEN_UP
        assert asyncio.get_running_loop().time() - began < PROMPT_MS / 1000 + 1

    call = place(story, reaches_human=False)
    assert said(call)[-1] == Prompt.SORRY.words
    assert given_up(call)


def test_a_defect_of_ours_hangs_up_too() -> None:
    async def run() -> None:
        call = Call(ScriptedAgent(("Hello.", 400)), reaches_human=False)

        def break_down(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        call.agent.greet = break_down  # type: ignore[method-assign]
        await call.quiet(1000)
        assert isinstance(call.running.exception(), ExceptionGroup)
        assert given_up(call)
        assert call.witness.ended == [EndReason.GIVEN_UP]

    run_virtual(run())


def test_the_tool_says_that_nobody_can_be_reached_and_the_call_goes_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ToolAsked("t1", "transfer", {}))
        await call.quiet(100)
        assert call.agent.told[-1] == "tool t1 False"
        assert call.session.phase is Phase.TALKING

    call = place(story, reaches_human=False)
    assert "nobody can be reached in this call" in said(call)[-1]


def test_the_humans_key_is_one_like_any_other() -> None:
    slow = ScriptedAgent(("Hello.", 400))
    slow.start_seconds = 1.0

    async def story(call: Call) -> None:
        await call.quiet(200)
        call.control.tell(DigitReceived("0"))  # nobody is there yet to be told
        await call.quiet(1500)
        assert call.agent.told == ["greet"]
        call.control.tell(DigitReceived("0"))
        await call.quiet(100)
        assert call.agent.told == ["greet", "digit 0"]
        assert call.session.phase is Phase.TALKING

    place(story, slow, reaches_human=False)
