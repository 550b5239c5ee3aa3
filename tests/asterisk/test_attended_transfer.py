"""A human is asked first: two real phones, a real Asterisk, and an engine that may die when it is done."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.measure import likeness
from scripts.trial.measure import tones as tones_in
from scripts.trial.programs import Programs
from scripts.trial.rootfs import CHECKOUT
from tests.asterisk.callers import Caller, calling, channels, leftovers, pcm_of, until, words
from tests.fakes.tone_agent import Answer, Clause, Script, Session, ToneAgent, tones

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(60)]

SUMMARY = "Ann wants three tractors."
BRIEFING_HZ = (1500, 2100, 1700)
GREETING_HZ = (900, 1300)
BACK_HZ = (1900, 1100, 1600)
MUSIC_HZ = (330, 392)
"""The first two notes."""
RING_SECONDS = 3

DESTINATIONS = f"""
tools:
  destinations:
    sales:
      extension: "2000"
      description: sells tractors
      attended: true
      ring_seconds: {RING_SECONDS}
"""


@dataclass(slots=True)
class Scene:
    """An engine whose agent asks sales whenever the caller presses 5."""

    trial: Trial
    programs: Programs
    agent: ToneAgent
    caller: Caller
    human: Caller

    async def ask(self) -> Session:
        """The caller is greeted and presses 5; returns the caller's session with the agent."""
        await self.caller.dial()
        await self.caller.agent.wait_quiet(0.3)
        await self.caller.phone.send_digit("5")
        await self.human.phone.wait_for("CALL_INCOMING")
        return await self.agent.session(0)

    async def answer(self) -> float:
        """The human answers and hears the briefing to its end; when they began to hear it, in epoch seconds."""
        await self.human.phone.answer()
        await self.human.phone.wait_for("CALL_ESTABLISHED")
        heard = await self.human.agent.wait_voice()
        await until(lambda: _holds(self.human, BRIEFING_HZ))
        return heard


@asynccontextmanager
async def staged(trial: Trial, directory: Path, **settings: str) -> AsyncIterator[Scene]:
    config = directory / "ai-agent.yaml"
    config.write_text((CHECKOUT / "config" / "ai-agent.yaml").read_text() + DESTINATIONS)
    asking = [("transfer", {"to": "sales", "summary": SUMMARY})]
    agent = ToneAgent(
        Script([tones(*GREETING_HZ)], [Answer([tones(*BACK_HZ)])], on_digit=asking),
        Script([Clause(SUMMARY, tones(*BRIEFING_HZ).pcm)]),
    )
    programs = Programs(
        trial, directory / "programs", {"LOG_FORMAT": "json", **settings}, with_local=False, config=config
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agent.listening(programs.local_port))
        await stack.enter_async_context(programs)
        caller = await stack.enter_async_context(calling(trial, directory / "caller"))
        human = await stack.enter_async_context(calling(trial, directory / "human"))
        extension = f"[offhook]\nexten => 2000,1,Dial(PJSIP/1000/{human.phone.sip_uri},30)\n same => n,Hangup()\n"
        folder = trial.etc / "extensions.d"
        folder.mkdir(exist_ok=True)
        (folder / "sales.conf").write_text(extension)
        trial.cli("dialplan reload")
        yield Scene(trial, programs, agent, caller, human)


def _holds(who: Caller, hz: tuple[int, ...], after: float = 0.0) -> bool:
    """Whether these tones came one after the other."""
    heard = [round(tone.hz) for tone in tones_in(who.heard(after))]
    found = iter(heard)
    return all(any(abs(tone - one) < 20 for tone in found) for one in hz)


WAYS = [
    {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "stream"},
    {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "file"},
    {"AUDIO_TRANSPORT": "legacy", "DOWNSTREAM_MODE": "stream"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
async def test_caller_and_human_talk_although_the_engine_dies(
    asterisk: Trial, tmp_path: Path, way: dict[str, str]
) -> None:
    async with staged(asterisk, tmp_path, **way) as scene:
        await scene.ask()
        caller, human = scene.caller, scene.human
        await until(lambda: _holds(caller, (*GREETING_HZ, *MUSIC_HZ)))
        await scene.answer()
        assert (await scene.agent.session(1)).start["agent"]["greeting"] == SUMMARY
        await human.phone.send_digit("1")
        await until(lambda: "Bridge" in _applications(asterisk))
        await until(lambda: scene.programs.health()["calls"].get("transferred") == 1)
        log = scene.programs.engine.log_text()
        assert "did not meet" not in log
        assert "Traceback" not in log
        scene.programs.engine.kill()
        for speaker, listener in ((caller, human), (human, caller)):
            await _hears(listener, speaker)
        assert _time_to_hangup(asterisk) == {0}, "the dead-man timeout runs"
        await human.hang_up()
        await caller.phone.wait_for("CALL_CLOSED")
        await until(lambda: channels(asterisk) == 0)


@pytest.mark.parametrize("downstream", ["stream", "file"])
async def test_a_human_who_declines_leaves_the_caller_with_the_agent(
    asterisk: Trial, tmp_path: Path, downstream: str
) -> None:
    async with staged(asterisk, tmp_path, DOWNSTREAM_MODE=downstream) as scene:
        session = await scene.ask()
        await scene.answer()
        await scene.human.phone.send_digit("2")
        await scene.human.phone.wait_for("CALL_CLOSED")
        await until(lambda: session.tool_results)
        (result,) = session.tool_results.values()
        assert result["outcome"] == "declined"
        declined = time.time()
        await until(lambda: time.time() > declined + 0.8)
        assert abs(scene.caller.heard(declined + 0.3)).max(initial=0) < 300, "the music goes on"
        await scene.caller.finish(words("hello there", 8000))
        await until(lambda: _holds(scene.caller, BACK_HZ, declined))
        await scene.caller.hang_up()
        assert await leftovers(asterisk, scene.programs) == []
        assert "Traceback" not in scene.programs.engine.log_text()


async def test_a_human_who_is_busy_and_one_who_does_not_answer(asterisk: Trial, tmp_path: Path) -> None:
    async with staged(asterisk, tmp_path) as scene:
        session = await scene.ask()
        await scene.human.phone.hang_up()
        await until(lambda: len(session.tool_results) == 1)
        await scene.caller.phone.send_digit("5")
        await until(lambda: len(session.tool_results) == 2)
        assert [result["outcome"] for result in session.tool_results.values()] == ["busy", "no_answer"]
        await scene.caller.hang_up()
        assert await leftovers(asterisk, scene.programs) == []


async def test_a_caller_who_hangs_up_while_it_rings_ends_the_ringing(asterisk: Trial, tmp_path: Path) -> None:
    async with staged(asterisk, tmp_path) as scene:
        await scene.ask()
        await scene.caller.hang_up()
        hung_up = time.time()
        closed = await scene.human.phone.wait_for("CALL_CLOSED")
        assert closed.at - hung_up < RING_SECONDS - 1
        assert await leftovers(asterisk, scene.programs) == []


async def test_an_engine_that_dies_meanwhile_leaves_nobody_alone(asterisk: Trial, tmp_path: Path) -> None:
    async with staged(asterisk, tmp_path) as scene:
        await scene.ask()
        await scene.answer()
        scene.programs.engine.kill()
        killed = time.time()
        await scene.programs.start_engine()
        await scene.human.phone.wait_for("CALL_CLOSED")
        await until(lambda: _holds(scene.caller, BRIEFING_HZ, killed), 5)  # its next session has the second script


async def _hears(listener: Caller, speaker: Caller) -> None:
    said = words("what are your opening hours", 8000)
    began = await speaker.finish(said)
    await until(lambda: likeness(listener.heard(began - 0.05), pcm_of(said)) > 0.9, 3)


def _concise(trial: Trial) -> list[list[str]]:
    return [line.split("!") for line in trial.cli("core show channels concise").splitlines() if "!" in line]


def _applications(trial: Trial) -> list[str]:
    return [fields[5] for fields in _concise(trial)]


def _time_to_hangup(trial: Trial) -> set[int]:
    """Of all channels, in seconds; 0: never."""
    shown = [trial.cli(f"core show channel {fields[0]}") for fields in _concise(trial)]
    return {int(seconds) for text in shown for seconds in re.findall(r"Time to Hangup: (\d+)", text)}
