"""A human is always one transfer away from whoever we call, and where none is, nobody is promised one; as a process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ai_engine.audio.g711 import pcm_to_ulaw
from ai_engine.call.actions import Prompt
from ai_engine.jobs.status import HANDED_OVER
from scripts.trial.asterisk import Trial
from scripts.trial.phone import BaresipPhone
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture
from scripts.trial.wire import Stream as Sound
from tests.conftest import MakePhone
from tests.end_to_end.call_agent_world import World, open_for_calls, world
from tests.end_to_end.test_five_steps import PAUSE_SECONDS
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.stream_caller import StreamCaller, read_wav
from tests.fakes.twilio_fake import ACCOUNT, FROM, TOKEN, FakeCall, Script, TwilioServer

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]

HUMAN = "+15550199"
PUBLIC = "https://calls.example"

ASKS = Scenario(
    "Hello, I am an automated assistant.",
    [Turn("can i talk to a person please", tools=[Call("transfer")], then="I am sorry, nobody can be reached.")],
)
BREAKS = Scenario(
    ASKS.greeting,
    [Turn("how are you", "As well as can be expected.")],
    [Fault("close", turn=0), *(Fault("refuse", session=number, status=500) for number in range(1, 5))],
)
"""The agent fails in mid-word, and nobody takes its place."""
ENDS = Scenario(ASKS.greeting, [Turn("goodbye", "Goodbye.", tools=[Call("hangup")])])


NOBODY = "nobody can be reached in this call"


async def spoken(text: str) -> Path:
    return await asyncio.to_thread(synthesize, text, "rms")


async def why_it_ended(there: World, call_id: str) -> str:
    """As the timeline has it."""
    [ended] = [entry for entry in await there.timeline(call_id) if entry["kind"] == "ended"]
    return str(ended["text"])


async def check_handed_over(there: World, call_id: str) -> None:
    record = await there.settled(call_id)
    assert (record["status"], record["attempt"]) == ("completed", 1), record
    assert await why_it_ended(there, call_id) == HANDED_OVER


# -- over our own Asterisk -----------------------------------------------------------------------------------


@dataclass
class Line:
    """A callee who has answered, and has heard the agent's first words."""

    there: World
    call_id: str
    phone: BaresipPhone
    agent: Sound

    async def say(self, text: str) -> None:
        await self.agent.wait_quiet(PAUSE_SECONDS, timeout=20, after=time.time() - 0.02)
        await asyncio.sleep(await self.phone.say(await spoken(text)))


@asynccontextmanager
async def called(
    trial: Trial, directory: Path, make_phone: MakePhone, scenario: Scenario = ASKS
) -> AsyncIterator[Line]:
    phone = await make_phone(trial)
    trunk: Mapping[str, Any] = {"dial": f"PJSIP/trunk/{phone.sip_uri};number={{number}}"}
    section = {"telephony": {"provider": "asterisk"}, "asterisk": {"trunks": {"main": trunk}}}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world(trial, directory, section, scenario=scenario))
        rtp = await stack.enter_async_context(RtpCapture(trial.rtp_ports, directory / "call.pcap"))
        call_id = await there.call()
        await phone.wait_for("CALL_INCOMING")
        await phone.answer()
        agent = rtp.to(phone.rtp_ports)
        await agent.wait_voice(timeout=15)
        yield Line(there, call_id, phone, agent)
        if "CALL_CLOSED" not in [event.type for event in phone.events]:
            await phone.hang_up()
        await phone.wait_for("CALL_CLOSED")
        assert [event.type for event in phone.events].count("CALL_INCOMING") == 1, "called a second time"


async def test_who_asks_the_agent_for_a_person(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    async with called(asterisk, tmp_path, make_phone) as line:
        await line.say("can i talk to a person please")
        await line.agent.wait_tone(timeout=15)
        await check_handed_over(line.there, line.call_id)


async def test_who_presses_0(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    async with called(asterisk, tmp_path, make_phone) as line:
        await line.phone.send_digit("0")
        await line.agent.wait_tone(timeout=15)
        await check_handed_over(line.there, line.call_id)


async def test_whom_the_agent_fails(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    async with called(asterisk, tmp_path, make_phone, BREAKS) as line:
        await line.say("how are you")
        await line.agent.wait_tone(timeout=20)
        await check_handed_over(line.there, line.call_id)


@pytest.mark.parametrize("when", ["the next engine comes at once", "the human has hung up meanwhile"])
async def test_who_talks_when_the_engine_is_told_to_stop(
    asterisk: Trial, tmp_path: Path, make_phone: MakePhone, when: str
) -> None:
    async with called(asterisk, tmp_path, make_phone) as line:
        await line.there.programs.engine.stop()
        await line.agent.wait_tone(timeout=5)
        if when == "the human has hung up meanwhile":
            asterisk.cli("channel request hangup all")
            await line.phone.wait_for("CALL_CLOSED")
        await line.there.programs.start_engine()
        await open_for_calls(line.there.api)
        await check_handed_over(line.there, line.call_id)


async def test_who_hangs_up_is_handed_to_nobody(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    async with called(asterisk, tmp_path, make_phone, ENDS) as line:
        await line.say("goodbye")
        await line.phone.wait_for("CALL_CLOSED", 20)
        record = await line.there.settled(line.call_id)
        assert record["status"] == "completed"
        assert await why_it_ended(line.there, line.call_id) == ""


# -- over Twilio ---------------------------------------------------------------------------------------------


@dataclass
class Stream:
    """A callee at the other end of a media stream, and how much they have heard."""

    there: World
    call_id: str
    heard: Callable[[], int]

    async def until_quiet(self) -> None:
        """The agent has said something, and is silent again."""
        async with asyncio.timeout(20):
            before, since = self.heard(), time.monotonic()
            while not before or time.monotonic() - since < PAUSE_SECONDS:
                await asyncio.sleep(0.05)
                if self.heard() != before:
                    before, since = self.heard(), time.monotonic()


@asynccontextmanager
async def over_twilio(
    trial: Trial, directory: Path, scenario: Scenario = ASKS
) -> AsyncIterator[tuple[Stream, FakeCall, Callable[[str], Awaitable[None]]]]:
    twilio = TwilioServer(scripts=[Script()])
    async with twilio.listening(), AsyncExitStack() as stack:
        section = {
            "telephony": {"provider": "twilio"},
            "twilio": {
                "account_sid": ACCOUNT,
                "from_number": FROM,
                "human_number": HUMAN,
                "api_base_url": twilio.url,
            },
        }
        settings = {"TWILIO_AUTH_TOKEN": TOKEN, "CALL_AGENT_PUBLIC_URL": PUBLIC}
        there = await stack.enter_async_context(world(trial, directory, section, settings, scenario))
        twilio.reach = {PUBLIC: there.url}
        call_id = await there.call()
        call = await twilio.next_call()

        async def say(text: str) -> None:
            call.say(pcm_to_ulaw(read_wav(await spoken(text))))

        stream = Stream(there, call_id, lambda: len(call.heard))
        await stream.until_quiet()
        yield stream, call, say
        async with asyncio.timeout(20):
            await call.with_human.wait()
        await check_handed_over(there, call_id)
        await there.programs.engine.stop()
        assert (call.connected_to, call.status) == (HUMAN, "in-progress"), "we hung up on the human"
        call.hang_up()
        await call.done()
        assert twilio.violations == []
        assert len(twilio.calls) == 1


async def test_twilio_connects_who_asks_for_a_person(asterisk: Trial, tmp_path: Path) -> None:
    async with over_twilio(asterisk, tmp_path) as (_, _, say):
        await say("can i talk to a person please")


async def test_twilio_connects_who_presses_0(asterisk: Trial, tmp_path: Path) -> None:
    async with over_twilio(asterisk, tmp_path) as (_, call, _):
        await call.press("0")


async def test_twilio_connects_whom_the_agent_fails(asterisk: Trial, tmp_path: Path) -> None:
    async with over_twilio(asterisk, tmp_path, BREAKS) as (stream, _, say):
        await say("how are you")
        await stream.there.settled(stream.call_id)
        folder = await stream.there.programs.recorded()
        assert Prompt.TRANSFER.words in (folder / "transcript.json").read_text()


async def test_twilio_connects_who_talks_when_the_engine_is_told_to_stop(asterisk: Trial, tmp_path: Path) -> None:
    async with over_twilio(asterisk, tmp_path) as (stream, _, _):
        await stream.there.programs.engine.stop()
        await stream.there.programs.start_engine()
        await open_for_calls(stream.there.api)


# -- where there is nobody -----------------------------------------------------------------------------------


@asynccontextmanager
async def over_mock(trial: Trial, directory: Path, scenario: Scenario) -> AsyncIterator[tuple[Stream, StreamCaller]]:
    async with world(trial, directory, {"telephony": {"provider": "mock"}}, scenario=scenario) as there:
        call_id = await there.call()
        await there.until(call_id, lambda record: "userHint" in record)
        async with StreamCaller.answering(there.url, call_id) as caller:
            stream = Stream(there, call_id, lambda: caller.voiced_bytes)
            await stream.until_quiet()
            yield stream, caller
        record = await there.settled(call_id)
        assert record["status"] == "completed"
        assert await why_it_ended(there, call_id) == ""
        folder = await there.programs.recorded()
        assert "a person." not in (folder / "transcript.json").read_text(), "somebody was promised a person"


async def test_an_agent_that_is_asked_for_a_person_can_say_that_there_is_none(asterisk: Trial, tmp_path: Path) -> None:
    async with over_mock(asterisk, tmp_path, ASKS) as (stream, caller):
        before = caller.voiced_bytes
        await caller.say(read_wav(await spoken("can i talk to a person please")))
        async with asyncio.timeout(20):
            while caller.voiced_bytes == before:  # noqa: ASYNC110 - a counter of somebody else's
                await asyncio.sleep(0.05)
        await stream.until_quiet()
        assert not caller.closed.is_set(), "the call does not go on"
        await caller.stop()
        transcript = (await stream.there.programs.recorded() / "transcript.json").read_text()
        assert NOBODY in transcript
        assert "I am sorry, nobody can be reached." in transcript


async def test_whom_the_agent_fails_hears_an_apology(asterisk: Trial, tmp_path: Path) -> None:
    async with over_mock(asterisk, tmp_path, BREAKS) as (stream, caller):
        await caller.say(read_wav(await spoken("how are you")))
        await asyncio.wait_for(caller.closed.wait(), 20)
        transcript = (await stream.there.programs.recorded() / "transcript.json").read_text()
        assert Prompt.SORRY.words in transcript
        log = stream.there.programs.engine.log_text()
        assert "given_up" in log
        assert "dead-man" not in log


async def test_an_engine_that_is_told_to_stop_says_sorry(asterisk: Trial, tmp_path: Path) -> None:
    async with over_mock(asterisk, tmp_path, ASKS) as (stream, caller):
        stopping = asyncio.create_task(stream.there.programs.engine.stop())
        await asyncio.wait_for(caller.closed.wait(), 20)
        await stopping
        transcript = (await stream.there.programs.recorded() / "transcript.json").read_text()
        assert Prompt.SORRY.words in transcript
        await stream.there.programs.start_engine()
        await open_for_calls(stream.there.api)
