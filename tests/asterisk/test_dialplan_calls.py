"""Calls the dialplan connects by itself (extension 101), to an engine that has no ARI at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.programs import Programs, free_port
from tests.asterisk.callers import Caller, calling, leftovers, until, words
from tests.asterisk.hearing import assert_tones
from tests.fakes.tone_agent import Answer, Script, Session, ToneAgent, sweep, tones

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(60)]

EXTENSION = "101"
GREETING_HZ = (700, 900)
REPLY_HZ = (500, 1600)
PAUSE = 0.3

GREETING = [tones(*GREETING_HZ)]


@pytest.fixture
async def programs(asterisk: Trial, tmp_path: Path) -> AsyncIterator[Programs]:
    settings = {"LOG_FORMAT": "json", "ASTERISK_ARI_PORT": str(free_port())}
    async with Programs(asterisk, tmp_path, settings, with_local=False, awaited="/live") as running:
        yield running


@asynccontextmanager
async def one_call(trial: Trial, programs: Programs, script: Script) -> AsyncIterator[tuple[Caller, Session]]:
    agent = ToneAgent(script)
    async with agent.listening(programs.local_port), calling(trial, programs.directory / "caller") as caller:
        await caller.dial(EXTENSION)
        yield caller, await agent.session()


async def test_a_call_without_ari_is_a_whole_call(asterisk: Trial, programs: Programs) -> None:
    goodbye = Answer([tones(*REPLY_HZ)], said="bye", tools=[("hangup", {})])
    async with one_call(asterisk, programs, Script(GREETING, [goodbye])) as (caller, session):
        greeted = await caller.agent.wait_quiet(PAUSE)
        assert_tones(caller.heard(), GREETING_HZ)
        await caller.phone.send_digit("5")
        await caller.finish(words("good bye", 8000))
        closed = await caller.phone.wait_for("CALL_CLOSED")
        assert_tones(caller.heard(greeted + PAUSE), REPLY_HZ)
        assert closed.at > caller.silent_from(greeted + PAUSE)
        assert session.digits == ["5"]
        assert len(session.answered) == 1
        assert programs.health()["calls"]["attached"] == {"audiosocket/stream": 1}
        await until(lambda: programs.health()["calls"].get("agent_hung_up") == 1)
        assert await leftovers(asterisk, programs) == []


async def test_a_caller_without_ari_who_hangs_up_leaves_nothing_behind(asterisk: Trial, programs: Programs) -> None:
    async with one_call(asterisk, programs, Script(sweep(10))) as (caller, _):
        await caller.agent.wait_voice()
        await caller.hang_up()
        await until(lambda: programs.health()["calls"].get("caller_hung_up") == 1)
        assert await leftovers(asterisk, programs) == []


async def test_the_human_key_reaches_a_human_without_ari(asterisk: Trial, programs: Programs) -> None:
    async with one_call(asterisk, programs, Script(GREETING)) as (caller, _):
        await caller.agent.wait_quiet(PAUSE)
        await caller.phone.send_digit("0")
        await caller.agent.wait_tone()
        await until(lambda: programs.health()["calls"].get("transferred") == 1)


async def test_a_killed_engine_without_ari_loses_no_caller(asterisk: Trial, programs: Programs) -> None:
    async with one_call(asterisk, programs, Script(GREETING)) as (caller, _):
        await caller.agent.wait_voice()
        programs.engine.kill()
        await caller.agent.wait_tone()


async def test_a_stopped_engine_without_ari_hands_its_callers_to_a_human(asterisk: Trial, programs: Programs) -> None:
    async with one_call(asterisk, programs, Script(GREETING)) as (caller, _):
        await caller.agent.wait_voice()
        assert await programs.engine.stop() == 0
        await caller.agent.wait_tone()


async def test_without_an_engine_a_caller_reaches_a_human(asterisk: Trial, tmp_path: Path) -> None:
    asterisk.cli(f"dialplan set global OFFHOOK_AUDIOSOCKET 127.0.0.1:{free_port()}")
    async with calling(asterisk, tmp_path) as caller:
        await caller.dial(EXTENSION)
        await caller.agent.wait_tone()
