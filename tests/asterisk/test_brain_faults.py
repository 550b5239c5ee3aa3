"""Every stage of every brain fails in every way it can, in a real SIP call, and another brain goes on with it."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.programs import Programs
from tests.asterisk import ten_turns
from tests.asterisk.callers import calling, leftovers
from tests.asterisk.ten_turns import ADDRESS, BYE, HOURS, Conversation, alike, heard_words
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.openai_http import OpenAIServer
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Fault, Scenario, Turn
from tests.fakes.tool_servers import HttpTarget
from tests.fakes.word_tones import pitches

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(400)]

SUNDAY = Turn("and are you open on sunday", "On Sunday we are closed.")
TURNS = (HOURS, ADDRESS, SUNDAY, BYE)
STRUCK = 1
"""The turn in whose answer something fails, from 0."""

REPLY_SECONDS = 2.0
"""How long the engine waits for a reply; then it takes the provider to have stalled."""

AT_ONCE = 8
"""Calls at the same time."""

AT_THE_START = {
    "wrong key": Fault("refuse", status=401),
    "too many": Fault("refuse", status=429),
    "slow to connect": Fault("slow", seconds=20),
    "closes in the greeting": Fault("close", after_ms=400),
}
IN_A_TURN = {
    "stalls": Fault("stall", turn=STRUCK),
    "sends garbage": Fault("garbage", turn=STRUCK),
    "closes in mid-word": Fault("close", turn=STRUCK, after_ms=600),
    "reports an error": Fault("error", turn=STRUCK),
    "ends the session": Fault("limit", turn=STRUCK),
}
WITHOUT_A_LIMIT = {name: fault for name, fault in IN_A_TURN.items() if fault.kind != "limit"}
REFUSALS = {
    "wrong key": Fault("refuse", turn=STRUCK, status=401),
    "too many": Fault("refuse", turn=STRUCK, status=429),
    "unwell": Fault("refuse", turn=STRUCK, status=503),
    "slow to answer": Fault("slow", turn=STRUCK, seconds=20),
}
CONNECTING = {name: fault for name, fault in AT_THE_START.items() if fault.kind != "close"}
STAGES: Mapping[str, Mapping[str, Fault]] = {
    "openai_realtime": AT_THE_START | IN_A_TURN,
    "deepgram": AT_THE_START | IN_A_TURN,
    "nova hears": CONNECTING | IN_A_TURN,
    "flux hears": CONNECTING | IN_A_TURN,
    "a model thinks": REFUSALS | WITHOUT_A_LIMIT,
    "aura speaks": CONNECTING | WITHOUT_A_LIMIT,
}
CASES = [(stage, name) for stage, faults in STAGES.items() for name in faults]


@dataclass(frozen=True, slots=True)
class Story:
    """What the caller heard of one call, and what the engine recorded."""

    greeting: list[int]
    question: list[int]
    struck: list[int]
    """The answer in which something failed, and the one that took its place."""
    gap: float
    """Seconds without a sound between the two, or before the first."""
    after: list[int]
    transcript: list[dict[str, Any]]
    ended: str


@dataclass(frozen=True, slots=True)
class Evidence:
    stories: Mapping[tuple[str, str], Story | BaseException]
    left: list[str]


@pytest.fixture(scope="module")
def evidence(asterisk: Trial, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(_gather(asterisk, tmp_path_factory.mktemp("faults")))


async def _gather(trial: Trial, directory: Path) -> Evidence:
    async with AsyncExitStack() as fakes:
        target = await fakes.enter_async_context(HttpTarget({}).listening())
        brains = {_name(*case): await _brain(fakes, *case) for case in CASES}
        spare = OpenAIRealtimeServer(Scenario(ten_turns.GREETING, TURNS))
        await fakes.enter_async_context(spare.listening())
        config, extensions = ten_turns.configuration(
            directory / "faults.yaml",
            target,
            brains,
            providers={"spare": {"type": "openai_realtime", "url": spare.url}},
            fallback_providers=["spare"],
            # A probe would meet the fault that is meant for the call.
            health={"probe_seconds": 0},
            no_input={"seconds": 20},
            timeouts={"reply_ms": int(REPLY_SECONDS * 1000)},
        )
        keys = {"OPENAI_API_KEY": "test-key", "DEEPGRAM_API_KEY": "test-key"}
        async with Programs(trial, directory, keys, config=config, with_local=False) as programs:
            for brain, extension in extensions.items():
                trial.cli(f"dialplan set global OFFHOOK_AGENT_{extension} {brain}")
            free = asyncio.Semaphore(AT_ONCE)
            calls = (_call(trial, programs, directory / _name(*case), extensions[_name(*case)], free) for case in CASES)
            stories = await asyncio.gather(*calls, return_exceptions=True)
            left = await leftovers(trial, programs)
    assert spare.violations == []
    return Evidence(dict(zip(CASES, stories, strict=True)), left)


def _name(stage: str, fault: str) -> str:
    return f"{stage}-{fault}".replace(" ", "_")


async def _brain(fakes: AsyncExitStack, stage: str, name: str) -> dict[str, Any]:
    """A brain one stage of which fails, and only once."""
    fault = STAGES[stage][name]
    whole = Scenario(ten_turns.GREETING, TURNS)
    struck = replace(whole, faults=[fault])
    if stage == "openai_realtime":
        realtime = OpenAIRealtimeServer(struck)
        await fakes.enter_async_context(realtime.listening())
        return {"type": "openai_realtime", "url": realtime.url}
    if stage == "deepgram":
        agent = DeepgramServer(struck)
        await fakes.enter_async_context(agent.listening())
        return {"type": "deepgram", "url": agent.url}
    ear = DeepgramServer(struck if stage.endswith("hears") else whole)
    model = OpenAIServer(struck if stage.endswith("thinks") else whole)
    voice = DeepgramServer(struck if stage.endswith("speaks") else whole)
    for server in (ear, model, voice):
        await fakes.enter_async_context(server.listening())
    return {
        "stt": {"type": "deepgram_flux" if stage.startswith("flux") else "deepgram", "url": ear.url},
        "llm": {"type": "openai", "url": model.url},
        "tts": {"type": "deepgram", "url": voice.url},
    }


async def _call(trial: Trial, programs: Programs, directory: Path, extension: str, free: asyncio.Semaphore) -> Story:
    async with free, calling(trial, directory) as caller:
        conversation = Conversation(caller)
        dialled = time.time()
        await caller.dial(extension)
        quiet = await conversation.listen("greeting", dialled, pause=2.5)
        quiet = await conversation.ask("question", HOURS, quiet, pause=1.0)
        asked = await conversation.say(ADDRESS)
        quiet = await conversation.listen("struck", asked, pause=3.5)
        struck = caller.heard(asked, quiet + 0.5)
        quiet = await conversation.ask("after", SUNDAY, quiet, pause=1.0)
        await conversation.say(BYE)
        with suppress(TimeoutError):
            await caller.phone.wait_for("CALL_CLOSED", 10)
    folder = await _recording(programs, directory.name)
    return Story(
        conversation.of("greeting").pitches,
        conversation.of("question").pitches,
        heard_words(struck),
        conversation.of("struck").longest_gap,
        conversation.of("after").pitches,
        json.loads((folder / "transcript.json").read_text()),
        json.loads((folder / "events.jsonl").read_text().splitlines()[-1])["reason"],
    )


async def _recording(programs: Programs, agent: str) -> Path:
    """Where the call of ``agent`` was recorded."""
    async with asyncio.timeout(10):
        while True:
            for folder in programs.calls():
                events = folder / "events.jsonl"
                if (folder / "turns.json").exists() and json.loads(events.read_text().splitlines()[0])[
                    "agent"
                ] == agent:
                    return folder
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("stage", "fault"), CASES, ids=lambda value: str(value).replace(" ", "_"))
def test_another_brain_goes_on_with_the_same_conversation(evidence: Evidence, stage: str, fault: str) -> None:
    story = evidence.stories[stage, fault]
    if isinstance(story, BaseException):
        raise story
    _assert_at_last(story.greeting, ten_turns.GREETING)
    assert alike(story.question, pitches(HOURS.say))
    if (stage, fault) == ("flux hears", "stalls"):
        # It never says that it heard nothing: the caller is asked, and after a second time another brain takes over.
        _assert_at_last(story.struck, ten_turns.NUDGE)
        assert alike(story.after, pitches(ADDRESS.say)), "the fake takes what comes next for what it did not hear"
        return
    if (stage, fault) == ("nova hears", "stalls") and alike(story.struck, pitches(ten_turns.FALLBACK)):
        return  # it had just said something when it fell silent: then a turn without a word may as well be noise
    assert alike(story.after, pitches(SUNDAY.say))
    _assert_at_last(story.struck, ADDRESS.say)
    assert story.ended == "agent_hung_up", "the caller ended up somewhere else"
    fillers = [line for line in story.transcript if line.get("provider") == "offhook"]
    assert len(fillers) <= 1, "more than one filler"
    # A response that failed is asked for once more before the provider is given up.
    brain = _name(stage, fault) if (stage, fault) == ("openai_realtime", "reports an error") else "spare"
    assert story.transcript[-2 if story.transcript[-1]["speaker"] == "tool" else -1]["provider"] == brain
    said = [line["text"] for line in story.transcript if line["speaker"] == "caller"]
    assert said.count(ADDRESS.heard) == 1
    patience = REPLY_SECONDS if fault in ("stalls", "slow to answer") else 0.0
    assert story.gap < patience + 3.0, "the next provider took too long"


def test_nothing_is_left_of_all_these_calls(evidence: Evidence) -> None:
    assert evidence.left == []


def _assert_at_last(heard: list[int], text: str) -> None:
    """All of ``text``, after whatever there was of it before, and perhaps a filler, which is no row of tones."""
    wanted = pitches(text)
    assert alike(heard[-len(wanted) :], wanted), f"heard {heard}, not {wanted} at last ({text})"
