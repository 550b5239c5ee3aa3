"""Every brain holds the same ten turns with a caller at a real phone, through the real Asterisk."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.programs import Programs
from tests.asterisk import ten_turns
from tests.asterisk.callers import calling, leftovers
from tests.asterisk.ten_turns import (
    Conversation,
    assert_heard,
    assert_heard_at_last,
    assert_heard_the_beginning,
    assert_spoken,
)
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.openai_http import OpenAIServer
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.tool_servers import HttpTarget

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(240)]

SOMEBODY_WHO_DECLINES = ("1,Answer", "2,Wait,1.5", "3,SendDTMF,2", "4,Wait,30")

BRAINS = ["openai_realtime", "deepgram", "nova", "flux", "mixed", "local", "homemade"]
FLITE = ("local", "homemade")
"""Those that speak with the embedded voice, and not in tones."""


@dataclass(slots=True)
class Evidence:
    """What all the calls left behind."""

    conversations: Mapping[str, Conversation | BaseException]
    violations: Mapping[str, list[str]]
    transcripts: Mapping[str, list[dict[str, Any]]]
    """By agent."""
    requests: list[str]
    left: list[str]
    engine_log: str

    def of(self, brain: str) -> Conversation:
        found = self.conversations[brain]
        if isinstance(found, BaseException):
            raise found
        return found


@pytest.fixture(scope="module")
def evidence(asterisk: Trial, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(_gather(asterisk, tmp_path_factory.mktemp("brains")))


async def _gather(trial: Trial, directory: Path) -> Evidence:
    async with AsyncExitStack() as fakes:
        target = HttpTarget(ten_turns.TARGET)
        await fakes.enter_async_context(target.listening())
        realtime = OpenAIRealtimeServer(ten_turns.scenario())
        agents = DeepgramServer(ten_turns.scenario())
        nova, flux, mixed_ear = (DeepgramServer(ten_turns.spoken()) for _ in range(3))
        chats = [OpenAIServer(ten_turns.scenario()) for _ in range(5)]
        voice = OpenAIServer(ten_turns.scenario())
        for server in (realtime, agents, nova, flux, mixed_ear, *chats, voice):
            await fakes.enter_async_context(server.listening())
        think = [{"type": "openai", "url": chat.url} for chat in chats]
        brains = {
            "openai_realtime": {"url": realtime.url},
            "deepgram": {"url": agents.url},
            "nova": {
                "stt": {"type": "deepgram", "url": nova.url},
                "llm": think[0],
                "tts": {"type": "deepgram", "url": nova.url},
            },
            "flux": {
                "stt": {"type": "deepgram_flux", "url": flux.url, "eager_eot_threshold": 0.5},
                "llm": think[1],
                "tts": {"type": "deepgram", "url": flux.url},
            },
            "mixed": {
                "stt": {"type": "deepgram", "url": mixed_ear.url},
                "llm": think[2],
                "tts": {"type": "openai", "url": voice.url},
            },
            "local": {},
            "homemade": {"stt": "local", "llm": think[3], "tts": "local"},
        }
        config, extensions = ten_turns.configuration(directory / "brains.yaml", target, brains)
        settings = {
            "OPENAI_API_KEY": "test-key",
            "DEEPGRAM_API_KEY": "test-key",
            "LOCAL_AI_LLM": "openai",
            "LOCAL_AI_LLM_URL": chats[4].url,
            "LOCAL_AI_LLM_MODEL": "gpt-4o-mini",
            "LOCAL_AI_LLM_KEY": "test-key",
        }
        async with Programs(trial, directory, settings, config=config) as programs:
            for brain, extension in extensions.items():
                trial.cli(f"dialplan set global OFFHOOK_AGENT_{extension} {brain}")
            for step in SOMEBODY_WHO_DECLINES:
                trial.cli(f"dialplan add extension declines,{step} into offhook")
            held = await asyncio.gather(
                *(_hold(trial, directory / brain, extensions[brain]) for brain in brains), return_exceptions=True
            )
            left = await leftovers(trial, programs)
            transcripts = {
                json.loads((folder / "events.jsonl").read_text().splitlines()[0])["agent"]: json.loads(
                    (folder / "transcript.json").read_text()
                )
                for folder in programs.calls()
            }
            log = programs.engine.log_text()
    return Evidence(
        dict(zip(brains, held, strict=True)),
        {
            "openai_realtime": realtime.violations,
            "deepgram": agents.violations,
            "nova": nova.violations + chats[0].violations,
            "flux": flux.violations + chats[1].violations,
            "mixed": mixed_ear.violations + chats[2].violations + voice.violations,
            "homemade": chats[3].violations,
            "local": chats[4].violations,
        },
        transcripts,
        [f"{request.method} {request.path}" for request in target.requests],
        left,
        log,
    )


async def _hold(trial: Trial, directory: Path, extension: str) -> Conversation:
    async with calling(trial, directory) as caller:
        conversation = Conversation(caller)
        await caller.dial(extension)
        await conversation.hold()
        return conversation


def _assert_spoken(call: Conversation) -> None:
    for what, text in (
        ("greeting", ten_turns.GREETING),
        ("question", ten_turns.HOURS.say),
        ("interruption", ten_turns.STOP.say),
        ("tool", ten_turns.ORDER.then),
        ("failed tool", ten_turns.CANCEL.then),
        ("transfer declined", ten_turns.SALES.then),
        ("resume", ten_turns.ADDRESS.say),
        ("goodbye", ten_turns.GOODBYE),
    ):
        assert_spoken(call.of(what), text)


@pytest.mark.parametrize("brain", BRAINS)
class TestBrain:
    def test_every_turn_is_heard_as_it_was_meant(self, evidence: Evidence, brain: str) -> None:
        call = evidence.of(brain)
        if brain in FLITE:
            _assert_spoken(call)
            return
        assert_heard(call.of("greeting"), ten_turns.GREETING)
        assert_heard(call.of("question"), ten_turns.HOURS.say)
        assert_heard_the_beginning(call.of("interrupted"), ten_turns.SERVICES.say)
        assert_heard(call.of("interruption"), ten_turns.STOP.say)
        assert_heard(call.of("tool"), ten_turns.ORDER.then)
        assert_heard(call.of("failed tool"), ten_turns.CANCEL.then)
        assert_heard(call.of("key"), ten_turns.KEY.say)
        assert call.of("silence").pitches, "nobody broke the silence"
        assert_heard_at_last(call.of("transfer declined"), ten_turns.SALES.then)
        assert_heard(call.of("resume"), ten_turns.ADDRESS.say)
        assert_heard(call.of("goodbye"), ten_turns.GOODBYE)

    def test_the_provider_was_spoken_to_as_its_vendor_says(self, evidence: Evidence, brain: str) -> None:
        assert evidence.violations[brain] == []

    def test_the_record_says_what_was_heard(self, evidence: Evidence, brain: str) -> None:
        lines = evidence.transcripts[brain]
        said = [line["text"] for line in lines if line["speaker"] == "caller" and not line["text"].startswith("[")]
        assert said == [turn.heard for turn in ten_turns.TURNS if turn is not ten_turns.KEY]
        agent = [line for line in lines if line["speaker"] == "agent"]
        assert {line["provider"] for line in agent} == {brain}
        [cut] = [line for line in agent if line["cut"]]
        assert ten_turns.SERVICES.say.startswith(cut["text"][:10])
        assert len(cut["text"]) < len(ten_turns.SERVICES.say) / 2, "what was not heard is on record"
        used = [(line["tool"]["name"], line["tool"]["result"]["ok"]) for line in lines if line["speaker"] == "tool"]
        assert used == [("lookup_order", True), ("cancel_order", False), ("transfer", False), ("hangup", True)]


def test_tools_were_used_once_in_each_call(evidence: Evidence) -> None:
    assert evidence.requests.count("GET /orders/7") == len(BRAINS)
    assert evidence.requests.count("POST /orders/7/cancel") == len(BRAINS)


def test_nothing_is_left(evidence: Evidence) -> None:
    assert evidence.left == []
