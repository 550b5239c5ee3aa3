"""Tools before, in and after a call of the whole engine, over a real AudioSocket and against a real server."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ai_engine.app.engine import App
from ai_engine.app.tools import CallTools
from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import ToolAsked
from ai_engine.config import EngineConfig, load
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.tool_call import ToolCall
from tests.fakes.tool_servers import HttpTarget, Reply
from tests.transports.audiosocket_peer import Peer, uuid_message
from tests.waiting import until

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish", "CRM_KEY": "s3cret"}
ROOT = Path(__file__).parents[2]
FILE = """\
default_agent: a
downstream_mode: stream
asterisk: {{ari_port: 1}}
audiosocket: {{port: 0}}
health: {{port: 0}}
recording: {{enabled: false}}
agents:
  a:
    greeting: Hello {{customer}}, this is {{agent}}. {{unknown}}
    prompt: "Their city: {{city}}. Answer as {{\\"text\\": 1}}."
    tools: [hangup, who, gone, slow, check_order, report]
  plain: {{}}
  mail: {{tools: [leave_voicemail, transfer, shop.lookup_order]}}
tools:
  destinations: {{sales: {{extension: "2000"}}}}
  voicemail: {{}}
  mcp:
    shop: {{command: {python}, args: [-m, tests.fakes.mcp_stdio_server], env: {{PYTHONPATH: {root}}}}}
  http:
    who:
      when: pre_call
      description: Find the caller.
      url: {url}/who?agent={{agent}}
      headers: {{X-Key: "${{CRM_KEY}}"}}
      result: {{customer: name, visits: visits}}
    gone: {{when: pre_call, description: x, url: "{url}/nowhere", result: {{city: city}}}}
    slow: {{when: pre_call, description: x, url: "{url}/slow", result: {{town: town}}, timeout_seconds: 0.2}}
    check_order:
      description: Look an order up.
      url: {url}/orders/{{number}}
      parameters: {{number: {{type: integer}}}}
    report:
      when: post_call
      method: POST
      description: Tell the CRM.
      url: {url}/report
      body:
        call: "{{call_id}}"
        why: "{{outcome}}"
        said: "{{transcript}}"
        turns: "{{turns}}"
        seconds: "{{duration_seconds}}"
"""
REPLIES: dict[str, Reply | list[Reply]] = {
    "/who": Reply(body={"name": "Zoë", "visits": 3}),
    "/slow": Reply(delay_seconds=30),
    "/orders/7": Reply(body={"status": "on its way"}),
    "/report": [Reply(503), Reply()],
}


@asynccontextmanager
async def configured(tmp_path: Path, replies: dict[str, Any]) -> AsyncIterator[tuple[EngineConfig, HttpTarget]]:
    target = HttpTarget(replies)
    async with target.listening():
        file = tmp_path / "c.yaml"
        file.write_text(FILE.format(url=target.url, python=sys.executable, root=ROOT))
        yield load(file, SECRETS), target


@asynccontextmanager
async def tools_of(config: EngineConfig) -> AsyncIterator[CallTools]:
    tools = CallTools(config)
    tools.open()
    try:
        yield tools
    finally:
        await tools.close()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("mcp")]


@pytest.fixture
def unfreeze() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unfreeze")
async def test_a_call_with_tools_at_every_stage(tmp_path: Path) -> None:
    agent = ScriptedAgent(("Hello.", 40))

    def make(line: AudioFormat) -> ScriptedAgent:
        return agent

    async with configured(tmp_path, REPLIES) as (config, target):
        app = App(config, lambda: 0, {"local": make})
        running = asyncio.create_task(app.run())
        await until(lambda: app.readiness()["audiosocket"]["up"])
        async with Peer(app._sound.audiosocket) as phone:
            phone.send(uuid_message(uuid4()))
            await until(lambda: agent.told)
            agent.tell(ToolAsked("1", "check_order", {"number": 7}))
            await until(lambda: "tool 1 True" in agent.told)
            assert not [request for request in target.requests if request.path == "/report"]
        await until(lambda: app.snapshot()["tools"]["used"].get("report", {}).get("calls") == 2)
        used = app.snapshot()["tools"]["used"]
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    [briefing] = [briefing for briefing in agent.briefings if briefing.call_id != "probe"]
    assert briefing.greeting == "Hello Zoë, this is a. {unknown}"
    assert briefing.prompt == 'Their city: . Answer as {"text": 1}.'
    assert briefing.facts == {"customer": "Zoë", "visits": "3", "city": "", "town": ""}
    assert [tool.name for tool in briefing.tools] == ["hangup", "check_order"]
    assert used == {
        "who": {"calls": 1, "failures": 0},
        "gone": {"calls": 1, "failures": 1},
        "slow": {"calls": 1, "failures": 1},
        "check_order": {"calls": 1, "failures": 0},
        "report": {"calls": 2, "failures": 1},
    }
    asked = {request.path: request for request in target.requests}
    assert asked["/who"].query == {"agent": ["a"]}
    assert asked["/who"].headers["x-key"] == "s3cret"
    said = asked["/report"].json
    assert said["call"] == briefing.call_id
    assert said["why"] == "caller_hung_up"
    assert isinstance(said["seconds"], int)
    assert 'tool: check_order({"number": 7}) -> ' in said["said"]
    assert [turn["speaker"] for turn in said["turns"]] == [line.split(":")[0] for line in said["said"].splitlines()]


async def test_each_agent_has_its_own(tmp_path: Path) -> None:
    async with configured(tmp_path, REPLIES) as (config, target), tools_of(config) as tools:
        assert [tool.name for tool in tools.toolbox("plain").specs] == [
            *("hangup", "send_dtmf", "transfer", "leave_voicemail")
        ]
        assert await tools.now.find_out("plain", {}) == {}
        assert target.requests == []
        [transfer] = [tool for tool in tools.toolbox("plain").specs if tool.name == "transfer"]
        assert "sales" in transfer.parameters["properties"]["to"]["enum"]


async def test_tools_of_a_server_appear_once_it_is_up(tmp_path: Path) -> None:
    async with configured(tmp_path, REPLIES) as (config, _), tools_of(config) as tools:
        assert [tool.name for tool in tools.toolbox("mail").specs] == ["leave_voicemail", "transfer"]
        assert tools.snapshot()["mcp"] == {"shop": {"up": False, "tools": [], "refused": {}, "connects": 0}}
        await until(lambda: tools.snapshot()["mcp"]["shop"]["up"])
        toolbox = tools.toolbox("mail")
        assert [tool.name for tool in toolbox.specs] == ["leave_voicemail", "transfer", "shop_lookup_order"]
        result, _ = await toolbox.use("shop_lookup_order", {"number": 7}, ToolCall())
        assert result["result"]["status"] == "on its way"


async def test_tools_before_a_call_run_side_by_side(tmp_path: Path) -> None:
    replies = {"/who": Reply(delay_seconds=0.3, body={"name": "Zoë"}), "/slow": Reply(delay_seconds=30)}
    async with configured(tmp_path, replies) as (config, target), tools_of(config) as tools:
        looking = asyncio.create_task(tools.now.find_out("a", {"agent": "a"}))
        await until(lambda: len(target.requests) == 3)
        assert not looking.done()
        assert await looking == {"customer": "Zoë", "visits": "", "city": "", "town": ""}
