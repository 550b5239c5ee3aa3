"""Trying providers out before callers do: what is measured, what is said of a failure, and how the command ends."""

import asyncio
import json
import os
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.app.advice import next_step, printable
from ai_engine.app.check import Outcome, Trial, check_providers, providers_in_use
from ai_engine.app.check_voice import Sentence, read_sentence
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.config import EngineConfig, load
from ai_engine.config.agent_file import read_agent
from ai_engine.config.agent_merge import with_agent
from ai_engine.errors import ConfigError, ProviderError
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.tone_agent import Answer, Script, ToneAgent, tones
from tests.fakes.word_tones import spoken

KEY = "sk-test-4711-abcdefgh"
GREETING = "Hello. How can I help you?"
SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish", "OPENAI_API_KEY": KEY}
SCENARIO = Scenario(GREETING, [Turn("Hello, can you hear me?", "I hear you well."), Turn("book a table", "Done.")])
SCRIPT = Script([tones(500, 700, 900)], [Answer([tones(800)]), Answer([tones(600)], said="what are your hours")])


def configured(folder: Path, providers: str = "", more: str = "") -> EngineConfig:
    return load(written(folder, providers, more), SECRETS, also=["openai"] if "openai:" in providers else [])


def written(folder: Path, providers: str, more: str = "") -> Path:
    file = folder / "c.yaml"
    file.write_text(f"default_agent: a\nagents: {{a: {{greeting: '{GREETING}'}}}}\nproviders: {{{providers}}}\n{more}")
    return file


def openai(server: OpenAIRealtimeServer, more: str = "") -> str:
    return f"openai: {{type: openai_realtime, url: '{server.url}'{more}}}"


@asynccontextmanager
async def tone_server(*scripts: Script) -> AsyncIterator[tuple[ToneAgent, str]]:
    agent = ToneAgent(*(scripts or (SCRIPT,)))
    async with agent.listening(0) as port:
        yield agent, f"local: {{url: 'ws://127.0.0.1:{port}/v1'}}"


async def only(config: EngineConfig, name: str, trial: Trial | None = None, **agents: Any) -> Outcome:
    [outcome] = await check_providers(config, [name], trial or Trial(), agents)
    return outcome


# -- what is measured ---------------------------------------------------------------------------------------


async def test_a_session_greets_and_answers_what_is_typed(tmp_path: Path) -> None:
    async with tone_server() as (server, section):
        outcome = await only(configured(tmp_path, section), "local")
    assert outcome.problem == ""
    assert outcome.connect_ms is not None
    greeting, typed = outcome.replies["greeting"], outcome.replies["typed"]
    assert (greeting.text, greeting.audio_ms) == ("tones 500 700 900.", 750.0)
    assert (typed.text, typed.audio_ms) == ("tones 800.", 250.0)
    assert greeting.first_audio_ms is not None
    assert 0 < greeting.first_audio_ms <= greeting.last_audio_ms
    assert "first_token" in typed.stages
    [session] = server.sessions
    assert session.closed
    assert session.start["agent"]["greeting"] == GREETING
    assert {"type": "text", "turn": 1, "text": Trial().typed} in session.messages


async def test_sound_is_timed_against_real_time(tmp_path: Path) -> None:
    async with OpenAIRealtimeServer(SCENARIO, key=KEY, speed=5.0).listening() as server:
        outcome = await only(configured(tmp_path, openai(server)), "openai")
    assert outcome.problem == ""
    greeting = outcome.replies["greeting"]
    assert greeting.text == GREETING
    assert greeting.audio_ms == pytest.approx(6 * 200, abs=21)
    assert greeting.speed is not None
    assert 1.5 < greeting.speed <= 6.0, "the fake sends five times as fast as it sounds, the machine may be slower"
    assert outcome.replies["typed"].text == "I hear you well."
    assert outcome.units["input_tokens"] > 0
    assert server.violations == []


async def test_a_recorded_sentence_is_said_in_real_time(tmp_path: Path) -> None:
    pcm = bytes(2 * 16000) + spoken("book a table", 16000) + bytes(2 * 16000)
    trial = Trial(typed="", spoken=Sentence(pcm, SLIN16))
    async with OpenAIRealtimeServer(replace(SCENARIO, turns=SCENARIO.turns[1:]), key=KEY).listening() as server:
        outcome = await only(configured(tmp_path, openai(server)), "openai", trial)
        [session] = server.sessions
    assert outcome.problem == ""
    reply = outcome.replies["spoken"]
    assert (reply.heard, reply.text) == (["book a table"], "Done.")
    assert reply.first_audio_ms is not None
    assert reply.first_audio_ms > 0
    assert "transcript" in reply.stages
    assert list(outcome.replies) == ["greeting", "spoken"]
    [turn] = session.turns
    assert 600 <= 1000 * len(turn.pcm) / 2 / 8000 <= 600 + 200 + 400 + 40, "the silence of the recording was sent, too"
    assert server.violations == []


async def test_tools_are_not_used_and_what_is_said_after_them_counts(tmp_path: Path) -> None:
    turn = Turn(Trial().typed, "One moment.", tools=[Call("hangup")], then="I cannot do that.")
    async with OpenAIRealtimeServer(Scenario(GREETING, [turn]), key=KEY).listening() as server:
        outcome = await only(configured(tmp_path, openai(server)), "openai")
        [session] = server.sessions
    typed = outcome.replies["typed"]
    assert (typed.tools, typed.text) == (["hangup"], "One moment. I cannot do that.")
    assert len(session.tool_results) == 1
    assert "test call" in str(session.tool_results)


async def test_every_provider_of_every_agent_is_tried_once(tmp_path: Path) -> None:
    config = configured(tmp_path, "x: {type: local}, y: {type: local}", "fallback_providers: [x, local]")
    assert providers_in_use(config) == ["local", "x"]
    agents = {name: ScriptedAgent(("Hello.", 400), ("Yes.", 400)) for name in ("local", "x")}
    outcomes = await check_providers(config, ["local", "x"], Trial(), {k: lambda _, v=v: v for k, v in agents.items()})
    assert [(one.provider, one.ok) for one in outcomes] == [("local", True), ("x", True)]
    assert [agent.closed for agent in agents.values()] == [1, 1]
    assert {tool.name for tool in agents["x"].briefings[0].tools} >= {"hangup", "transfer"}


# -- what is wrong ------------------------------------------------------------------------------------------


async def test_a_key_that_is_refused(tmp_path: Path) -> None:
    async with OpenAIRealtimeServer(SCENARIO, key="another").listening() as server:
        outcome = await only(configured(tmp_path, openai(server)), "openai")
    assert outcome.stage == "connect"
    assert "401" in outcome.problem
    assert outcome.next_step == "put a valid key into OPENAI_API_KEY (.env or the environment)"


async def test_a_key_that_stands_in_an_agents_file(tmp_path: Path) -> None:
    async with OpenAIRealtimeServer(SCENARIO, key="another").listening() as server:
        text = f'[agent.mllm]\nvendor = "openai"\nurl = "{server.url}"\napi_key = "{KEY}"\n'
        config = with_agent(configured(tmp_path), read_agent(Path("agents/shop.toml"), text))
        outcome = await only(config, "shop.mllm")
    assert "401" in outcome.problem
    assert outcome.next_step == "put a valid key into agents/shop.toml"
    assert KEY not in outcome.problem


async def test_a_model_that_is_no_more(tmp_path: Path) -> None:
    scenario = replace(SCENARIO, faults=[Fault("refuse", status=404)])
    async with OpenAIRealtimeServer(scenario, key=KEY).listening() as server:
        outcome = await only(configured(tmp_path, openai(server, ", model: gpt-old")), "openai")
    assert "404" in outcome.problem
    assert "providers.openai.model (gpt-old)" in outcome.next_step


async def test_nobody_at_the_address(tmp_path: Path) -> None:
    async with tone_server() as (_, section):
        pass
    config = configured(tmp_path, section.replace("/v1'", "/v1?token=hunter2'"))
    outcome = await only(config, "local")
    assert outcome.stage == "connect"
    assert "see that ws://127.0.0.1:" in outcome.next_step
    assert "hunter2" not in outcome.problem + outcome.next_step


async def test_a_server_that_never_answers(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def stall(_: ServerConnection) -> None:
        await over.wait()

    async with serve(stall, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = configured(tmp_path, f"openai: {{type: openai_realtime, url: 'ws://127.0.0.1:{port}/v1'}}")
        outcome = await only(config, "openai", Trial(seconds=0.2))
        over.set()
    assert (outcome.stage, outcome.problem) == ("connect", "it was not ready within 0.2 s")


@pytest.mark.parametrize(("kind", "says"), [("stall", "said nothing"), ("close", "closed the connection")])
async def test_a_greeting_that_does_not_come(tmp_path: Path, kind: Any, says: str) -> None:
    scenario = replace(SCENARIO, faults=[Fault(kind, after_ms=0)])
    async with OpenAIRealtimeServer(scenario, key=KEY).listening() as server:
        outcome = await only(configured(tmp_path, openai(server)), "openai", Trial(seconds=0.5))
    assert outcome.stage == "greeting"
    assert says in outcome.problem
    assert outcome.connect_ms is not None


async def test_an_answer_that_breaks_off(tmp_path: Path) -> None:
    agent = ScriptedAgent(("Hello.", 400))
    agent.respond = lambda text: agent.reply("It is", 400, ends=False)  # type: ignore[method-assign,assignment,return-value]
    outcome = await only(configured(tmp_path), "local", Trial(seconds=0.2), local=lambda _: agent)
    assert (outcome.stage, "broke off" in outcome.problem) == ("typed", True)
    assert agent.closed == 1


async def test_what_is_too_slow_for_a_call_is_not_good(tmp_path: Path) -> None:
    agent = ScriptedAgent(("Hello.", 400), ("Yes.", 400))
    agent.start_seconds = 0.15
    config = configured(tmp_path, more="streaming: {timeouts: {provider_start_ms: 100}}")
    outcome = await only(config, "local", local=lambda _: agent)
    assert outcome.stage == "connect"
    assert "provider_start_ms" in outcome.next_step
    assert outcome.replies["typed"].text == "Yes."


async def test_a_mistake_of_ours_does_not_hide_the_others(tmp_path: Path) -> None:
    config = configured(tmp_path, "x: {type: local}")
    good = ScriptedAgent(("Hello.", 400), ("Yes.", 400))
    agents: dict[str, Any] = {"local": lambda _: object(), "x": lambda _: good}
    with capture_logs() as logs:
        outcomes = await check_providers(config, ["local", "x"], Trial(), agents)
    assert [one.ok for one in outcomes] == [False, True]
    assert "AttributeError" in outcomes[0].problem
    assert [line["event"] for line in logs] == ["check failed"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (
            403,
            "OPENAI_API_KEY (.env or the environment), and see that it may use providers.openai.model (gpt-realtime)",
        ),
        (402, "OPENAI_API_KEY has reached its limit"),
        (429, "OPENAI_API_KEY has reached its limit"),
        (404, "providers.openai.voice (marin)"),
        (400, "agents.a"),
        (503, "status page"),
        (
            0,
            "providers.openai.voice (marin), at agents.a, and at the log",
        ),
    ],
)
def test_the_next_step(tmp_path: Path, status: int, says: str) -> None:
    config = configured(tmp_path, "openai: {type: openai_realtime}", "default_provider: openai\n")
    assert says in next_step(config, "openai", "a", ProviderError("no", status))


def test_what_is_printed_has_no_key_and_is_one_line(tmp_path: Path) -> None:
    config = configured(tmp_path, "openai: {type: openai_realtime}", "default_provider: openai\n")
    assert printable(config, "openai", f"bad\nkey {KEY}!") == "bad key (key)!"


# -- the recorded sentence ----------------------------------------------------------------------------------


def recorded(path: Path, pcm: bytes, *, rate: int = 8000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm)
    return path


def test_silence_around_a_sentence_is_left_out(tmp_path: Path) -> None:
    words = spoken("one two", 44100)
    file = recorded(tmp_path / "s.wav", bytes(44100) + words + bytes(2 * 44100), rate=44100)
    frames = read_sentence(file).frames(SLIN8)
    assert {len(frame) for frame in frames} == {SLIN8.frame_bytes}
    assert 20 * len(frames) == pytest.approx(AudioFormat(44100).ms(len(words)) + 200, abs=61)


def test_of_several_channels_it_is_the_first(tmp_path: Path) -> None:
    words = spoken("one", 8000)
    both = b"".join(words[i : i + 2] + b"\x00\x00" for i in range(0, len(words), 2))
    assert read_sentence(recorded(tmp_path / "s.wav", both, channels=2)).pcm == words


@pytest.mark.parametrize(
    ("pcm", "more", "says"),
    [(b"\x80" * 800, {"width": 1}, "8 bits"), (bytes(16000), {}, "no voice"), (b"", {}, "no voice")],
)
def test_a_recording_nobody_can_say(tmp_path: Path, pcm: bytes, more: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_sentence(recorded(tmp_path / "s.wav", pcm, **more))
    with pytest.raises(ConfigError, match="cannot be played"):
        read_sentence(tmp_path / "none.wav")


# -- the command --------------------------------------------------------------------------------------------


async def command(file: Path, *more: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ai_engine", "--config", str(file), "--env-file", "", "check", *more),
        env={"PATH": os.environ["PATH"], **SECRETS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_tells_scripts_and_people(tmp_path: Path) -> None:
    sentence = recorded(tmp_path / "hours.wav", spoken("what are your hours", 8000))
    async with (
        tone_server(Script(SCRIPT.greeting, SCRIPT.answers[::-1])) as (_, local),
        OpenAIRealtimeServer(SCENARIO, key="another").listening() as server,
    ):
        file = written(tmp_path, f"{local}, {openai(server)}")
        good, plain, broken, unknown = await asyncio.gather(
            command(file, "--providers", "--json", "--say", "", "--wav", str(sentence)),
            command(file, "--providers", "local", "openai"),
            command(written_broken(tmp_path), "--providers"),
            command(file, "--providers", "nobody"),
        )
    status, out, err = good
    assert (status, err) == (0, "")
    [said] = [json.loads(line) for line in out.splitlines()]
    assert (said["provider"], said["type"], said["ok"]) == ("local", "local", True)
    assert said["greeting"]["audio_ms"] == 750
    assert said["spoken"]["transcript"] == "what are your hours"

    status, out, err = plain
    assert status == 1
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["local", "good"], ["openai", "BAD"]]
    assert lines[-1].startswith("openai (connect): ")
    assert lines[-1].endswith("put a valid key into OPENAI_API_KEY (.env or the environment)")
    assert "\x1b" not in out
    assert KEY not in out + err

    assert (broken[0], broken[1]) == (2, "")
    assert unknown[0] == 2
    assert "there is no provider 'nobody' (known: local, openai" in unknown[2]


def written_broken(folder: Path) -> Path:
    file = folder / "broken.yaml"
    file.write_text("default_agent: b\nagents: {a: {}}\n")
    return file
