"""Tools of real MCP servers: over both transports, with servers that die, come back and describe themselves badly."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.mcp import McpServer
from ai_engine.tools.mcp_settings import McpServerSettings
from tests.fakes import tool_servers
from tests.fakes.tool_call import ToolCall
from tests.waiting import until

ROOT = Path(__file__).parents[2]
KEYS = {"SHOP_KEY": "s3cret-key"}


def stdio(module: str = "mcp_stdio_server", pid_file: Path | None = None) -> dict[str, Any]:
    """Settings of a server that is a program; its process id is written into ``pid_file``."""
    note = f"echo $$ > {pid_file}; " if pid_file else ""
    script = f"{note}exec {sys.executable} -m tests.fakes.{module}"
    return {"command": "/bin/sh", "args": ["-c", script], "env": {"PYTHONPATH": str(ROOT)}}


@asynccontextmanager
async def connecting(settings: Mapping[str, Any], **options: Any) -> AsyncIterator[McpServer]:
    """The server's name is ``shop``; what ``settings`` say is as JSON has it."""
    checked = McpServerSettings.model_validate(settings, strict=False)
    server = McpServer("shop", checked, KEYS, first_wait_seconds=0.05, **options)
    server.open()
    try:
        yield server
    finally:
        await server.close()
        assert not server.up
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("mcp")]


async def use(server: McpServer, name: str, **arguments: Any) -> Mapping[str, Any]:
    result, _ = await Toolbox(server.tools).use(name, arguments, ToolCall())
    return result


@asynccontextmanager
async def over_http() -> AsyncIterator[Mapping[str, Any]]:
    async with tool_servers.McpServer().listening() as server:
        yield {"url": server.url}


@asynccontextmanager
async def over_stdio() -> AsyncIterator[Mapping[str, Any]]:
    yield stdio()


@pytest.mark.parametrize("transport", [over_http, over_stdio])
async def test_the_shop_over_both_transports(transport: Any) -> None:
    async with transport() as settings, connecting({**settings, "timeout_seconds": 2}) as server:
        await until(lambda: server.up)
        tools = {tool.name: tool for tool in server.tools}
        assert set(tools) == {"shop_lookup_order", "shop_slow", "shop_fails"}
        assert tools["shop_lookup_order"].description == "Say where an order is."
        assert tools["shop_lookup_order"].parameters["properties"]["number"]["type"] == "integer"
        assert tools["shop_lookup_order"].timeout_seconds == 2

        assert await use(server, "shop_lookup_order", number=7) == {
            "ok": True,
            "result": {"number": 7, "status": "on its way"},
        }
        missing = await use(server, "shop_lookup_order", number=8)
        assert missing["ok"] is False
        assert missing["error"].endswith("There is no order 8.")
        wrong = await use(server, "shop_lookup_order", number="many")
        assert wrong == {"ok": False, "error": "number: 'many' is not of type 'integer'"}
        assert await use(server, "shop_slow", seconds=0) == {"ok": True, "result": "That took a while."}
        failed = await use(server, "shop_fails")
        assert failed["ok"] is False
        assert "secret" not in failed["error"]


async def test_one_connection_for_all_calls() -> None:
    async with tool_servers.McpServer().listening() as shop, connecting({"url": shop.url}) as server:
        await until(lambda: server.up)
        calls = [use(server, "shop_slow", seconds=0.1) for _ in range(5)]
        async with asyncio.timeout(5):
            results = await asyncio.gather(use(server, "shop_lookup_order", number=42), *calls)
        assert all(result["ok"] for result in results)
        assert server.connects == 1


async def test_only_what_is_allowed() -> None:
    async with over_http() as settings, connecting({**settings, "allowed": ["lookup_*"]}) as server:
        await until(lambda: server.up)
        assert [tool.name for tool in server.tools] == ["shop_lookup_order"]


async def test_a_slow_tool_is_left_and_the_connection_stays() -> None:
    async with over_http() as settings, connecting({**settings, "timeout_seconds": 0.2}) as server:
        await until(lambda: server.up)
        assert await use(server, "shop_slow", seconds=30) == {
            "ok": False,
            "error": "shop_slow did not answer within 0.2 s",
        }
        assert (await use(server, "shop_slow", seconds=0))["ok"]
        assert (server.up, server.connects) == (True, 1)


async def test_keys_go_to_the_server_only() -> None:
    shop = tool_servers.McpServer(key=KEYS["SHOP_KEY"])
    headers = {"Authorization": "Bearer ${SHOP_KEY}"}
    with capture_logs() as logs:
        async with shop.listening():
            async with connecting({"url": shop.url, "headers": headers}) as server:
                await until(lambda: server.up)
                assert (await use(server, "shop_lookup_order", number=7))["ok"]
            async with connecting({"url": shop.url, "headers": {"Authorization": "Bearer wrong"}}) as stranger:
                await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
                assert not stranger.up
    assert shop.calls == [("lookup_order", {"number": 7})]
    assert KEYS["SHOP_KEY"] not in repr(logs)


async def test_a_key_that_is_no_header_is_not_logged() -> None:
    server = McpServer(
        "shop",
        McpServerSettings(url="http://127.0.0.1:9/mcp", headers={"X-Key": "${SHOP_KEY}"}),
        {"SHOP_KEY": "s3cret\r\nkey"},
        first_wait_seconds=0.01,
    )
    with capture_logs() as logs:
        server.open()
        await until(lambda: len(logs) > 1)
        await server.close()
    assert "s3cret" not in repr(logs)


async def test_keys_of_a_program_stand_in_its_environment(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    settings = {"command": "/bin/sh", "args": ["-c", f"printenv > {seen}"], "env": {"SHOP_KEY": "${SHOP_KEY}"}}
    os.environ["OFFHOOK_TRIED"] = "not for programs"
    try:
        async with connecting(settings):
            await until(lambda: seen.exists() and seen.read_text())
    finally:
        del os.environ["OFFHOOK_TRIED"]
    assert f"SHOP_KEY={KEYS['SHOP_KEY']}" in seen.read_text()
    assert "OFFHOOK_TRIED" not in seen.read_text()


async def test_tools_appear_when_the_server_does() -> None:
    async with AsyncExitStack() as serving:
        shop = tool_servers.McpServer()
        async with shop.listening():
            port = int(shop.url.split(":")[-1].split("/")[0])
        with capture_logs() as logs:
            async with connecting({"url": shop.url}) as server:
                await until(lambda: logs)
                assert (server.up, server.tools) == (False, ())
                await serving.enter_async_context(shop.listening(port))
                await until(lambda: server.up)
                assert (await use(server, "shop_lookup_order", number=7))["ok"]


async def test_a_server_that_leaves_in_mid_call_and_comes_back() -> None:
    async with AsyncExitStack() as serving:
        shop = tool_servers.McpServer()
        await serving.enter_async_context(shop.listening())
        port = int(shop.url.split(":")[-1].split("/")[0])
        async with connecting({"url": shop.url, "timeout_seconds": 30}) as server:
            await until(lambda: server.up)
            tools = Toolbox(server.tools)
            asked = asyncio.create_task(tools.use("shop_slow", {"seconds": 30}, ToolCall()))
            await until(lambda: shop.calls)
            await serving.aclose()
            result, _ = await asked
            assert result["ok"] is False
            await until(lambda: not server.up)
            down, _ = await tools.use("shop_lookup_order", {"number": 7}, ToolCall())
            assert down == {"ok": False, "error": "shop cannot be reached at the moment"}
            async with shop.listening(port):
                await until(lambda: server.up)
                back, _ = await tools.use("shop_lookup_order", {"number": 7}, ToolCall())
                assert back["ok"]


async def test_a_program_that_is_killed_in_mid_call_and_started_anew(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with connecting({**stdio(pid_file=pid_file), "timeout_seconds": 30}) as server:
        await until(lambda: server.up)
        first = int(pid_file.read_text())
        tools = Toolbox(server.tools)
        asked = asyncio.create_task(tools.use("shop_slow", {"seconds": 30}, ToolCall()))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        result, _ = await asked
        assert result == {"ok": False, "error": "shop cannot be reached at the moment"}
        await until(lambda: server.connects == 2)
        assert int(pid_file.read_text()) != first
        assert (await tools.use("shop_lookup_order", {"number": 7}, ToolCall()))[0]["ok"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_an_idle_program_that_dies_is_noticed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with connecting(stdio(pid_file=pid_file), heartbeat_seconds=0.05) as server:
        await until(lambda: server.up)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        await until(lambda: server.connects == 2)


async def test_a_program_has_an_ordinary_priority(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pytest.skip("no right to real-time priority")
    try:
        async with connecting({"command": "/bin/sh", "args": ["-c", f"chrt -p $$ > {seen}"]}):
            await until(lambda: seen.exists() and "priority" in seen.read_text())
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert "SCHED_OTHER" in seen.read_text()


@pytest.mark.parametrize("command", ["/no/such/program", "/bin/true", "/bin/cat"])
async def test_a_program_that_is_no_server(command: str) -> None:
    with capture_logs() as logs:
        async with connecting({"command": command}) as server:
            if command != "/bin/cat":  # which says back whatever it hears, and keeps the client waiting
                await until(lambda: len(logs) > 1)
            await asyncio.sleep(0)
            assert not server.up


async def test_it_can_be_closed_at_any_moment() -> None:
    never_opened = McpServer("shop", McpServerSettings(command="true"), {})
    await never_opened.close()
    for moment in range(40):  # a cancellation that met an error of the client's own was lost once in some dozens
        async with connecting({"command": "/bin/true"}):
            await asyncio.sleep(moment / 500)


async def test_tools_that_are_described_badly() -> None:
    with capture_logs() as logs:
        async with connecting(stdio("mcp_odd_server")) as server:
            await until(lambda: server.up)
            names = [tool.name for tool in server.tools]
            assert names[0] == "shop_good_tool"
            assert names[1].startswith("shop_xxxx")
            assert (len(names[1]), names[2:]) == (64, ["shop_huge"])
            assert server.refused == {
                "good tool": "has the name of another one",
                "nonsense": "has a schema that is no JSON Schema: "
                "properties.a.type: 'strnig' is not valid under any of the given schemas",
                "elsewhere": "has a schema that refers to 'http://127.0.0.1:9/schema' outside itself",
                "nowhere": "has a schema that refers to '#/$defs/none', which is not there",
                "endless": "has a schema that refers to itself without end",
            }
            assert await use(server, "shop_good_tool") == {"ok": True, "result": "good.tool"}
            assert await use(server, "shop_huge") == {"ok": False, "error": "shop_huge answered more than 64 KiB"}
    errors = {entry["tool"]: entry["why"] for entry in logs if entry["event"] == "MCP tool cannot be used"}
    assert errors == server.refused


async def test_characters_that_cannot_be_sent_end_nothing() -> None:
    async with connecting(stdio("mcp_odd_server")) as server:
        await until(lambda: server.up)
        assert (await use(server, "shop_good_tool", text="\ud800"))["ok"]
        assert (await use(server, "shop_good_tool"))["ok"]
        assert server.connects == 1
