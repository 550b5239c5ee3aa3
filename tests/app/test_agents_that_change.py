"""Agents' files that change while the whole engine holds calls, over a real AudioSocket and with a real MCP server."""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ai_engine.app.engine import App
from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import ToolAsked
from ai_engine.config import load
from scripts.trial.programs import free_port
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Scenario
from tests.transports.audiosocket_peer import Peer, uuid_message
from tests.waiting import until

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish", "CALL_AGENT_TOKEN": "t"}
ROOT = Path(__file__).parents[2]
BASE = """\
default_agent: base
downstream_mode: stream
asterisk: {{ari_port: 1}}
audiosocket: {{port: 0}}
health: {{port: 0, probe_seconds: 0}}
recording: {{enabled: false}}
agents: {{base: {{tools: [hangup]}}}}
call_agent: {{telephony: {{provider: mock}}, server: {{port: {port}}}, store: {{path: calls.sqlite}}}}
studio: {{agents: agents, directory: studio}}
"""
SHOP = f"""\
greeting: One.
tools: [hangup, shop.lookup_order]
mcp:
  shop: {{command: {sys.executable}, args: [-m, tests.fakes.mcp_stdio_server], env: {{PYTHONPATH: {ROOT}}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(BASE.format(port=free_port()))
    (tmp_path / "agents").mkdir()
    yield tmp_path / "agents"
    gc.unfreeze()


class World:
    def __init__(self, folder: Path) -> None:
        self.agents: list[ScriptedAgent] = []
        self.app = App(load(folder.parent / "c.yaml", SECRETS), lambda: 0, {"local": self._agent})

    def _agent(self, line: AudioFormat) -> ScriptedAgent:
        self.agents.append(ScriptedAgent(("Hello.", 40)))
        return self.agents[-1]

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch, agent: str) -> AsyncIterator["World"]:
        admit = self.app._registry.admit

        def as_if_the_dialplan_had_asked(control: Any) -> None:
            control.variables = {"agent": agent}
            admit(control)

        monkeypatch.setattr(self.app._registry, "admit", as_if_the_dialplan_had_asked)
        running = asyncio.create_task(self.app.run())
        await until(lambda: self.app.readiness()["audiosocket"]["up"])
        try:
            yield self
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await running

    @asynccontextmanager
    async def caller(self) -> AsyncIterator[ScriptedAgent]:
        before = len(self.agents)
        async with Peer(self.app._sound.audiosocket) as phone:
            phone.send(uuid_message(uuid4()))
            await until(lambda: len(self.agents) > before and self.agents[-1].briefings)
            yield self.agents[before]

    def servers(self) -> list[str]:
        """The MCP servers there is a connection, or an attempt at one, for."""
        return [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("mcp ")]


def tools(agent: ScriptedAgent) -> list[str]:
    return [tool.name for tool in agent.briefings[0].tools]


async def test_a_call_keeps_what_it_began_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(folder).running(monkeypatch, "shop") as world:
        (folder / "shop.yaml").write_text(SHOP)
        await until(lambda: world.app.snapshot()["tools"]["mcp"].get("shop", {}).get("up"), 20)
        async with world.caller() as first:
            assert (first.briefings[0].greeting, tools(first)) == ("One.", ["hangup", "shop_lookup_order"])
            (folder / "shop.yaml").write_text("greeting: Two.\ntools: [hangup]\n")
            async with world.caller() as second:
                assert (second.briefings[0].greeting, tools(second)) == ("Two.", ["hangup"])
            assert world.app.snapshot()["tools"]["mcp"] == {}
            first.tell(ToolAsked("1", "shop_lookup_order", {"number": 7}))
            await until(lambda: "tool 1 True" in first.told)
            assert world.servers() == ["mcp shop"]
        await until(lambda: world.servers() == [])
        (folder / "shop.yaml").unlink()
        async with Peer(world.app._sound.audiosocket) as phone:
            phone.send(uuid_message(uuid4()))
            await until(lambda: world.app._registry.totals["failed"] == 1)


async def test_what_is_as_it_was_stays_connected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop.yaml").write_text(SHOP)
    async with World(folder).running(monkeypatch, "shop") as world:
        await until(lambda: world.app.snapshot()["tools"]["mcp"]["shop"]["up"], 20)
        breaker = world.app._calls.now.breakers["local"]
        (folder / "shop.yaml").write_text(SHOP.replace("One.", "Two.") + "end_silence_ms: 1300\nidle_seconds: 60\n")
        async with world.caller() as agent:
            [session] = world.app._registry.calls
            assert (session._settings.vad.end_silence_ms, session._settings.no_input_seconds) == (1300, 15)
            assert (agent.briefings[0].greeting, tools(agent)) == ("Two.", ["hangup", "shop_lookup_order"])
        assert world.app.snapshot()["tools"]["mcp"]["shop"]["connects"] == 1
        assert world.app._calls.now.breakers["local"] is breaker


async def test_a_mistake_in_a_file_holds_no_call_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop.yaml").write_text("greeting: One.\n")
    async with World(folder).running(monkeypatch, "shop") as world:
        (folder / "shop.yaml").write_text("greeting: [")
        async with world.caller() as agent:
            assert agent.briefings[0].greeting == "One."


async def test_a_disk_that_hangs_holds_no_call_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop.yaml").write_text("greeting: One.\n")
    answers = threading.Event()
    async with World(folder).running(monkeypatch, "shop") as world:
        monkeypatch.setattr(world.app._live, "poll", answers.wait)
        try:
            async with world.caller() as agent:
                assert agent.briefings[0].greeting == "One."
        finally:
            answers.set()


async def test_a_provider_that_comes_with_a_file_is_tried_before_a_caller_needs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.parent / "c.yaml"
    file.write_text(file.read_text().replace("probe_seconds: 0", "probe_seconds: 15"))
    async with World(folder).running(monkeypatch, "shop") as world:
        (folder / "shop.yaml").write_text(
            "provider: far\nproviders: {far: {type: local, url: 'ws://127.0.0.1:1/v1'}}\n"
        )
        await until(lambda: (world.app.snapshot()["providers"].get("far") or {}).get("last_probe"))
        far = world.app.snapshot()["providers"]["far"]
        assert (far["last_probe"]["ok"], far["failures"]) == (False, 1)
        (folder / "shop.yaml").unlink()
        await until(lambda: "far" not in world.app.snapshot()["providers"])


async def test_a_key_that_is_put_right_in_its_file_is_tried_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.parent / "c.yaml"
    file.write_text(file.read_text().replace("probe_seconds: 0", "probe_seconds: 3600"))
    server = OpenAIRealtimeServer(Scenario("Good day."), key="sk-right")
    async with server.listening(), World(folder).running(monkeypatch, "base") as world:

        def convo(key: str) -> str:
            return f'[agent.mllm]\nvendor = "openai"\nurl = "{server.url}"\napi_key = "{key}"\n'

        def probed() -> bool | None:
            last = (world.app.snapshot()["providers"].get("shop.mllm") or {}).get("last_probe")
            return last and bool(last["ok"])

        (folder / "shop.toml").write_text(convo("sk-wrong"))
        await until(lambda: probed() is False)
        (folder / "shop.toml").write_text(convo("sk-right"))
        await until(lambda: probed() is True)
        assert not world.app._calls.now.breakers["shop.mllm"].tripped
