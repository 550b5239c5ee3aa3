"""A human is asked whether they take the call, and everything that can come of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    AgentStarted,
    CallerHeld,
    CallerHungUp,
    CallerSpoke,
    CallerUnheld,
    ConsultationEnded,
    DigitReceived,
    EngineStopping,
    ToolAnswered,
    ToolAsked,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.call.turns import Floor
from ai_engine.errors import AsteriskError, ProviderError
from ai_engine.session.ports import Outcome
from ai_engine.session.settings import SessionSettings
from ai_engine.tools.transfer import Transfer
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import PROMPT_MS, Call, place
from tests.fakes.virtual_time import run_virtual

SUMMARY = {"to": "sales", "summary": "Ann wants three tractors."}
SPEECH_MS = 600
LAST_WORDS_MS = 400


@dataclass(frozen=True)
class Sales:
    context: str = "office"
    extension: str = "2000"
    description: str = "sells tractors"
    attended: bool = True
    ring_seconds: float = 20.0


def ask(
    story: Callable[[Call], Awaitable[None]],
    arguments: dict[str, str] | None = None,
    speaker: ScriptedAgent | None = None,
    **options: object,
) -> Call:
    """A call in which the agent, when it has greeted, says something and asks sales; ``speaker`` speaks to sales."""
    speaker = speaker or ScriptedAgent(("Ann wants three tractors.", SPEECH_MS))

    async def run(call: Call) -> None:
        await call.quiet(600)
        call.agent.reply("I will ask them.", LAST_WORDS_MS)
        call.agent.tell(ToolAsked("t1", "transfer", SUMMARY if arguments is None else arguments))
        await story(call)

    agent = ScriptedAgent(("Hello.", 400))
    return place(run, agent, others=[speaker], tools=[Transfer({"sales": Sales()})], **options)


def outcome(call: Call) -> str:
    (ended,) = call.witness.saw(ConsultationEnded)
    assert isinstance(ended, ConsultationEnded)
    return ended.outcome


def answer(call: Call) -> ToolAnswered:
    (answered,) = call.witness.saw(ToolAnswered)
    assert isinstance(answered, ToolAnswered)
    return answered


def test_a_human_who_presses_one_gets_the_caller() -> None:
    async def story(call: Call) -> None:
        human = call.control.human
        await call.quiet(200)
        assert human.rang is None, "the agent is still speaking"
        await call.quiet(400)
        assert human.rang == ("office", "2000", 20.0)
        assert call.session.floor is Floor.WAITING
        human.settle(None)
        await call.quiet(1000)
        ((uri, pcm),) = ((uri, call.store.sounds[uri]) for uri in human.heard)
        assert len(pcm) / 16 == 2 * (SPEECH_MS + PROMPT_MS + 2 * 500), "briefing and question, twice"
        human.press("1")
        assert await call.reason() is EndReason.TRANSFERRED
        assert uri not in call.store.sounds

    call = ask(story)
    assert [done for done in call.control.done if done.startswith(("arrange", "transfer"))] == [
        "arrange_meeting",
        "transfer attended,join",
    ]
    assert call.control.human.hung_up == 0
    assert outcome(call) == "accepted"


def test_what_the_human_hears_comes_from_a_session_of_its_own() -> None:
    speaker = ScriptedAgent(("Ann wants three tractors.", SPEECH_MS))

    async def story(call: Call) -> None:
        await call.quiet(1000)
        (briefing,) = speaker.briefings
        assert briefing.greeting == SUMMARY["summary"]
        assert (briefing.prompt, briefing.tools) == ("", ())
        assert speaker.closed == 1
        assert call.agent.closed == 0

    ask(story, speaker=speaker)


@pytest.mark.parametrize("key", ["2", None])
def test_a_human_who_declines_or_hangs_up_leaves_the_caller_with_the_agent(key: str | None) -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.human.settle(None)
        await call.quiet(500)
        call.control.human.press("7")
        await call.quiet(100)
        assert call.session.floor is Floor.WAITING, "another key decides nothing"
        call.control.human.press(key)
        await call.quiet(100)
        assert call.session.floor is Floor.NOBODY
        assert call.agent.told[-1] == "tool t1 False"
        heard = call.media.heard_ms()
        await call.quiet(PROMPT_MS)
        assert call.media.heard_ms() == heard, "the music goes on"
        call.agent.reply("They cannot.", 400)
        await call.quiet(600)
        assert call.media.heard_ms() == heard + 400
        await call.speak(500)
        assert call.session.floor is Floor.CALLER

    call = ask(story)
    assert outcome(call) == "declined"
    assert answer(call).result["outcome"] == "declined"
    assert call.control.human.hung_up == 1
    assert call.store.sounds == {}


def test_a_human_who_presses_nothing_has_declined() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.human.settle(None)
        await call.quiet(2 * (SPEECH_MS + PROMPT_MS + 1000) + 7900)
        assert call.session.floor is Floor.WAITING
        await call.quiet(300)
        assert call.session.floor is Floor.NOBODY

    call = ask(story)
    assert outcome(call) == "declined"
    assert call.control.human.hung_up == 1


@pytest.mark.parametrize("refusal", [Outcome.BUSY, Outcome.NO_ANSWER, Outcome.DECLINED])
def test_a_human_who_does_not_answer(refusal: Outcome) -> None:
    async def story(call: Call) -> None:
        await call.quiet(5000)
        call.control.human.settle(refusal)
        await call.quiet(100)
        assert call.session.floor is Floor.NOBODY

    call = ask(story)
    assert answer(call).result["ok"] is False
    assert answer(call).result["outcome"] == refusal
    assert call.control.human.hung_up == 1
    assert call.control.human.heard == []


def test_a_human_who_cannot_be_called() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.human.settle(AsteriskError("no such extension", 500))
        await call.quiet(100)

    assert outcome(ask(story)) == "failed: no such extension"


def test_a_call_without_ari_has_nobody_to_ask() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        assert call.session.floor is Floor.NOBODY

    def refuse(call: Call) -> None:
        call.control.fails["consult_leg"] = AsteriskError("needs ARI")

    async def run(call: Call) -> None:
        refuse(call)
        await story(call)

    assert outcome(ask(run)) == "failed: needs ARI"


def test_without_a_place_for_sounds_nobody_is_called() -> None:
    async def story(call: Call) -> None:
        call.store.full = True
        await call.quiet(1000)
        assert call.control.human.rang is None

    assert outcome(ask(story)).startswith("failed: ")


def test_the_caller_hears_music_until_it_is_over_and_again() -> None:
    async def story(call: Call) -> None:
        await call.quiet(LAST_WORDS_MS + 200)
        before = call.media.heard_ms()
        await call.quiet(3 * PROMPT_MS)
        assert call.media.heard_ms() - before > 2.8 * PROMPT_MS

    ask(story)


def test_what_the_caller_says_meanwhile_is_no_turn() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        told = list(call.agent.told)
        await call.speak(1500)
        await call.quiet(1500)
        call.control.tell(DigitReceived("5"))
        call.control.tell(CallerHeld())
        await call.quiet(1000)
        call.control.tell(CallerUnheld())
        await call.quiet(100)
        assert call.session.floor is Floor.WAITING
        assert call.agent.told == told

    call = ask(story)
    assert call.witness.saw(CallerSpoke) == []


def test_nobody_is_asked_while_the_caller_speaks() -> None:
    async def run(call: Call) -> None:
        await call.quiet(600)
        await call.speak(500)
        call.agent.tell(ToolAsked("t1", "transfer", SUMMARY))
        await call.speak(100)
        assert call.session.floor is Floor.CALLER

    call = place(run, ScriptedAgent(("Hello.", 400)), tools=[Transfer({"sales": Sales()})])
    assert call.witness.saw(ConsultationEnded) == []
    assert answer(call).result["ok"] is False


@pytest.mark.parametrize("at_ms", [100, 1000, 3000])
def test_a_caller_who_hangs_up_ends_it_at_once(at_ms: int) -> None:
    """While the last words are spoken, while it rings, and while the human decides."""

    async def story(call: Call) -> None:
        await call.quiet(1500 if at_ms > 1500 else at_ms)
        if at_ms > 1500:
            call.control.human.settle(None)
            await call.quiet(at_ms - 1500)
        call.control.tell(CallerHungUp())
        await call.quiet(20)
        assert call.control.human.hung_up == 1

    call = ask(story)
    assert call.running.result() is EndReason.CALLER_HUNG_UP
    assert call.store.sounds == {}


def test_the_key_for_a_human_ends_the_waiting() -> None:
    async def story(call: Call) -> None:
        await call.quiet(2000)
        call.control.tell(DigitReceived("0"))
        assert await call.reason() is EndReason.TRANSFERRED

    call = ask(story)
    assert "transfer offhook,human" in call.control.done
    assert call.control.human.hung_up == 1


def test_an_engine_that_stops_hands_the_caller_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(2000)
        call.session.happened(EngineStopping())
        assert await call.reason() is EndReason.RESCUED

    call = ask(story)
    assert "transfer offhook,human" in call.control.done
    assert call.control.human.hung_up == 1


def test_an_agent_that_is_lost_meanwhile_is_replaced_when_it_is_over() -> None:
    second = ScriptedAgent()

    async def run(call: Call) -> None:
        await call.quiet(600)
        call.agent.tell(ToolAsked("t1", "transfer", {"to": "sales"}))
        await call.quiet(1000)
        call.agent.tell(ProviderError("it broke off"))
        await call.quiet(2000)
        assert call.session.phase is Phase.TALKING
        assert call.session.floor is Floor.WAITING
        assert second.briefings == []
        call.control.human.settle(Outcome.BUSY)
        await call.quiet(1000)
        assert len(call.witness.saw(AgentStarted)) == 2
        assert "busy" in second.briefings[0].history[-1].text

    place(run, ScriptedAgent(("Hello.", 400)), others=[second], tools=[Transfer({"sales": Sales()})])


def test_a_briefing_that_cannot_be_spoken_is_left_out() -> None:
    speaker = ScriptedAgent()
    speaker.fails_to_start = ProviderError("no key")

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.human.settle(None)
        await call.quiet(100)
        (uri,) = call.control.human.heard
        assert len(call.store.sounds[uri]) / 16 == 2 * (PROMPT_MS + 500)

    ask(story, speaker=speaker)


def test_a_briefing_that_takes_too_long_is_not_waited_for() -> None:
    speaker = ScriptedAgent()
    speaker.start_seconds = 10.0

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.human.settle(None)
        await call.quiet(2500)
        assert call.control.human.heard == []
        await call.quiet(800)
        (uri,) = call.control.human.heard
        assert len(call.store.sounds[uri]) / 16 == 2 * (PROMPT_MS + 500)

    ask(story, speaker=speaker)
    assert speaker.closed == 1


def test_an_agent_that_hangs_up_while_a_human_is_asked_does_not() -> None:
    """Models say goodbye, transfer and hang up all at once."""

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.agent.tell(ToolAsked("t2", "hangup", {}))
        await call.quiet(2 * PROMPT_MS)
        assert call.session.floor is Floor.WAITING
        call.control.human.settle(None)
        await call.quiet(1000)
        call.control.human.press("1")
        assert await call.reason() is EndReason.TRANSFERRED

    ask(story)


def test_a_human_is_asked_only_once_at_a_time() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.agent.tell(ToolAsked("t2", "transfer", SUMMARY))
        await call.quiet(100)
        assert call.agent.told[-1] == "tool t2 False"
        assert call.session.floor is Floor.WAITING

    ask(story)


def test_a_caller_who_leaves_as_the_human_accepts_does_not_leave_them_alone() -> None:
    async def run() -> None:
        call = Call(
            ScriptedAgent(("Hello.", 400)),
            SessionSettings(level=None),
            others=[ScriptedAgent()],
            tools=[Transfer({"sales": Sales()})],
        )
        call.control.fails["arrange_meeting"] = AsteriskError("gone", 404)
        await call.quiet(600)
        call.agent.tell(ToolAsked("t1", "transfer", {"to": "sales"}))
        await call.quiet(1000)
        call.control.human.settle(None)
        await call.quiet(100)
        call.control.human.press("1")
        await call.quiet(100)
        assert call.control.human.hung_up == 1
        assert outcome(call) == "failed: gone"
        call.control.tell(CallerHungUp())
        await call.reason()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(run())
