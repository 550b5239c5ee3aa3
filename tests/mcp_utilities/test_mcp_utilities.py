"""scripts/mcp_tools and scripts/check_mcp, with our own server over both transports and with somebody else's."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from scripts.mcp_utilities import check, tools
from tests.fakes.front_door import TOKEN, FrontDoor, front_door
from tests.fakes.tool_servers import McpServer
from tests.waiting import until

ROOT = Path(__file__).parents[2]
OURS = ("--command", f"{sys.executable} -m tests.fakes.call_agent_program mcp")
SHOP = ("--command", f"{sys.executable} -m tests.fakes.mcp_stdio_server")
REQUEST = json.dumps({"to": "+14155550123", "prompt": "Say hello."})

Capsys = pytest.CaptureFixture[str]
Main = Callable[[list[str]], int]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MCP_TOKEN", TOKEN)
    monkeypatch.setenv("CALL_AGENT_TOKEN", f"{TOKEN},another")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FrontDoor]:
    async with front_door(tokens=[TOKEN]) as door:
        monkeypatch.setenv("MCP_URL", f"{door.url}/mcp")
        monkeypatch.setenv("CALL_AGENT_URL", door.url)
        yield door


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[McpServer]:
    async with McpServer(key=TOKEN).listening() as shop:
        monkeypatch.setenv("MCP_URL", shop.url)
        yield shop


async def run(main: Main, *words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def test_our_own_server(door: FrontDoor, capsys: Capsys) -> None:
    assert await run(tools.main, "list", "--json") == 0
    assert [tool["name"] for tool in json.loads(capsys.readouterr().out)] == ["call_agent", "call_agent_status"]

    assert await run(tools.main, "call", "call_agent", REQUEST, "--json") == 0
    call_id = json.loads(capsys.readouterr().out)["structuredContent"]["callId"]
    assert call_id == (await door.desk.calls())[0].id

    assert await run(tools.main, "call", "call_agent_status", json.dumps({"callId": call_id})) == 0
    told = capsys.readouterr().out
    assert f"Call {call_id}: queued, attempt 0." in told
    assert '"status": "queued"' in told


@pytest.mark.parametrize("way", [(), OURS])
async def test_our_own_server_is_in_order(door: FrontDoor, capsys: Capsys, way: tuple[str, ...]) -> None:
    assert await run(check.main, *way, "--json", "--expect", "call_agent", "call_agent_status") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["checks"]] == [
        "connect", "list tools", "schema of call_agent", "schema of call_agent_status", "tool call_agent",
        "tool call_agent_status",
    ]  # fmt: skip
    assert all(one["ok"] for one in found["checks"])


async def test_a_call_through_the_program(door: FrontDoor, capsys: Capsys) -> None:
    assert await run(tools.main, "call", "call_agent", REQUEST, *OURS) == 0
    assert (await door.desk.calls())[0].id in capsys.readouterr().out


async def test_tables_for_people(door: FrontDoor, capsys: Capsys) -> None:
    assert await run(tools.main, "list") == 0
    assert "Place a real phone call" in capsys.readouterr().out
    assert await run(tools.main, "info", "call_agent") == 0
    told = capsys.readouterr().out
    assert "The number to call, E.164." in told
    assert any(line.split()[:3] == ["to", "string", "needed"] for line in told.splitlines())
    assert await run(check.main) == 0
    assert "offhook 1.2, protocol" in capsys.readouterr().out


@pytest.mark.usefixtures("shop")
async def test_somebody_elses_server(capsys: Capsys) -> None:
    assert await run(tools.main, "info", "lookup_order", "--json") == 0
    assert json.loads(capsys.readouterr().out)["inputSchema"]["required"] == ["number"]
    assert await run(tools.main, "call", "lookup_order", '{"number": 7}') == 0
    told = capsys.readouterr().out
    assert (told.count("on its way"), json.loads(told)["number"]) == (1, 7)
    assert await run(tools.main, "call", "lookup_order", '{"number": 8}') == 1
    assert "There is no order 8." in capsys.readouterr().out
    assert await run(check.main) == 0


async def test_somebody_elses_program(capsys: Capsys) -> None:
    assert await run(tools.main, "call", "lookup_order", '{"number": 7}', *SHOP) == 0
    assert "on its way" in capsys.readouterr().out


@pytest.mark.usefixtures("shop")
async def test_arguments_from_the_input(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"number": 42}'))
    assert await run(tools.main, "call", "lookup_order", "-") == 0
    assert "delivered" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["{", "[]", "7"])
async def test_arguments_that_are_no_object(arguments: str, capsys: Capsys) -> None:
    assert await run(tools.main, "call", "lookup_order", arguments) == 2
    assert "JSON object" in capsys.readouterr().err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("verb", ["info", "call"])
async def test_a_tool_that_is_none(verb: str, capsys: Capsys) -> None:
    assert await run(tools.main, verb, "nothing") == 3
    assert "there are lookup_order, slow, fails" in capsys.readouterr().err


async def test_a_tool_that_takes_too_long(shop: McpServer, capsys: Capsys) -> None:
    assert await run(tools.main, "call", "slow", '{"seconds": 60}', "--timeout", "0.5") == 1
    assert "slow: " in capsys.readouterr().err
    assert shop.calls == [("slow", {"seconds": 60})]


async def test_a_server_that_goes_away_in_mid_call(capsys: Capsys, tmp_path: Path) -> None:
    gone = f"sh -c 'echo $$ > {tmp_path}/pid; exec {sys.executable} -m tests.fakes.mcp_stdio_server'"
    calling = asyncio.create_task(run(tools.main, "call", "slow", '{"seconds": 60}', "--command", gone))
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and pid.read_text())
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert await calling in (tools.TOOL_FAILED, tools.NOT_REACHED)
    assert "Connection closed" in capsys.readouterr().err


async def test_tools_that_are_described_badly(capsys: Capsys) -> None:
    odd = ("--command", f"{sys.executable} -m tests.fakes.mcp_odd_server")
    assert await run(check.main, "--json", *odd) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert not found["schema of nonsense"]["ok"]
    assert "'strnig' is not valid" in found["schema of nonsense"]["detail"]
    assert found["schema of good.tool"]["ok"]


@pytest.mark.usefixtures("shop")
async def test_a_tool_that_is_missing(capsys: Capsys) -> None:
    assert await run(check.main, "--expect", "refund", "--json") == 1
    assert json.loads(capsys.readouterr().out)["checks"][-1] == {
        "name": "tool refund", "ok": False, "detail": "is missing", "milliseconds": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "way",
    [
        ("--url", "http://127.0.0.1:9/mcp"),
        ("--command", "/no/such/program"),
        ("--command", "true"),
        ("--command", ""),
    ],
)
async def test_a_server_that_cannot_be_reached(way: tuple[str, ...], capsys: Capsys) -> None:
    assert await run(tools.main, "list", *way) == 5
    assert way[1] in capsys.readouterr().err
    assert await run(check.main, "--json", *way) == 5
    (only,) = json.loads(capsys.readouterr().out)["checks"]
    assert (only["name"], only["ok"]) == ("connect", False)


async def test_a_program_that_says_nothing(capsys: Capsys) -> None:
    assert await run(check.main, "--command", "sleep 60", "--timeout", "0.1") == 5
    assert "does not answer within 0.1 s" in capsys.readouterr().out


async def test_a_token_that_is_refused(door: FrontDoor, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_TOKEN", "not-the-token")
    assert await run(tools.main, "list") == 5
    told = capsys.readouterr().err
    assert "401" in told
    assert "not-the-token" not in told
    monkeypatch.delenv("MCP_TOKEN")
    assert await run(tools.main, "list") == 0


@pytest.mark.parametrize("name", ["mcp_tools", "check_mcp"])
async def test_the_scripts_teach(name: str) -> None:
    program = await asyncio.create_subprocess_exec(
        ROOT / "scripts" / name, "--help", cwd="/", stdout=asyncio.subprocess.PIPE
    )
    told = (await program.communicate())[0].decode()
    assert program.returncode == 0
    assert f"scripts/{name}" in told
    assert "exit status:" in told
