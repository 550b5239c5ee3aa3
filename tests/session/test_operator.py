"""What an operator does to a call from outside: transfers it, tells the agent something, ends it."""

import asyncio

import pytest

from ai_engine.audio.format import FRAME_MS
from ai_engine.call.actions import EndReason
from ai_engine.call.events import AgentAdvised, HangupOrdered, MessageReady, TransferAsked
from ai_engine.call.lifecycle import Phase
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Said
from ai_engine.switchboard.ports import Refused
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call, place

LONG = ("one two three four five six seven eight", 4000)
ADVICE = "They are a regular."


@pytest.mark.parametrize(
    ("where", "destination"), [((), "offhook,human"), (("office", "2000"), "office,2000")], ids=["human", "somewhere"]
)
def test_a_transfer_comes_in_the_middle_of_a_word(where: tuple[str, ...], destination: str) -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.session.transfer(*where)
        heard = call.media.heard_ms()
        assert await call.reason() is EndReason.TRANSFERRED
        assert call.media.heard_ms() <= heard + FRAME_MS, "the agent goes on"  # it fades out
        assert call.control.done[-2:] == [f"transfer {destination}", "close"]
        assert call.witness.saw(TransferAsked) == [TransferAsked("an operator asked for it", *where)]
        assert [(line["speaker"], line["text"]) for line in call.witness.lines] == [
            ("agent", "one"),
            ("operator", f"transferred the caller to {destination}"),
        ]

    place(story, ScriptedAgent(LONG))


def test_a_transfer_while_the_caller_speaks_and_the_agent_thinks() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(600)
        call.session.transfer()
        call.agent.reply("Too late.", 400)
        assert await call.reason() is EndReason.TRANSFERRED

    place(story)


def test_nobody_to_transfer_to() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        with pytest.raises(Refused) as refused:
            call.session.transfer()
        assert refused.value.kind == "not-capable"
        assert call.session.phase is Phase.TALKING

    place(story, reaches_human=False)


def test_a_message_that_is_being_left_is_not_transferred_nor_advised() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.session.happened(MessageReady("Call us back."))
        with pytest.raises(Refused) as refused:
            call.session.transfer()
        assert refused.value.kind == "refused"
        with pytest.raises(Refused) as refused:
            call.session.advise(ADVICE)
        assert refused.value.kind == "refused"

    place(story)


def test_an_ordered_hangup_waits_for_no_goodbye() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        began = asyncio.get_running_loop().time()
        call.session.happened(HangupOrdered())
        assert await call.reason() is EndReason.OPERATOR_HUNG_UP
        assert asyncio.get_running_loop().time() - began < 0.5
        assert call.control.done[-2:] == ["hang_up", "close"]

    place(story, ScriptedAgent(LONG))


def test_the_agent_is_advised_and_the_caller_hears_nothing_of_it() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        heard = call.media.heard_ms()
        call.session.advise(ADVICE)
        await call.quiet(1000)
        assert call.media.heard_ms() == heard
        assert call.agent.told == ["greet", f"advise {ADVICE}"]
        assert call.witness.saw(AgentAdvised) == [AgentAdvised(ADVICE)]

    call = place(story)
    assert [(line["speaker"], line["text"]) for line in call.witness.lines] == [
        ("agent", "Hello."),
        ("operator", ADVICE),
    ]


def test_an_agent_that_takes_no_advice_says_why() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.agent.takes_no_advice = "it has no mind"
        with pytest.raises(Refused, match="it has no mind") as refused:
            call.session.advise(ADVICE)
        assert refused.value.kind == "not-capable"

    call = place(story)
    assert [line["speaker"] for line in call.witness.lines] == ["agent"]


def test_whoever_takes_over_knows_the_advice() -> None:
    second = ScriptedAgent(("Yes.", 400))

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.session.advise(ADVICE)
        call.agent.tell(ProviderError("it died"))
        await call.quiet(200)
        assert Said("operator", ADVICE) in second.briefings[0].history
        assert second.told.count(f"advise {ADVICE}") == 0, "it knows already"

    place(story, others=[second])


def test_advice_that_comes_while_an_agent_sits_down_is_not_lost() -> None:
    second = ScriptedAgent(("Yes.", 400))
    second.start_seconds = 0.5

    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.agent.tell(ProviderError("it died"))
        await call.quiet(200)
        call.session.advise(ADVICE)
        await call.quiet(1000)
        assert second.told[0] == f"advise {ADVICE}"

    place(story, others=[second])


def test_advice_that_comes_before_the_first_agent_is_there() -> None:
    async def story(call: Call) -> None:
        call.session.advise(ADVICE)
        await call.quiet(1000)
        assert call.agent.told == [f"advise {ADVICE}", "greet"]

    place(story)
