"""Official clients reach the servers that tools are tried on."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from tests.fakes.tool_servers import HttpTarget, McpServer, Reply
from tests.waiting import until

ROOT = Path(__file__).parents[2]
STDIO = StdioServerParameters(command=sys.executable, args=["-m", "tests.fakes.mcp_stdio_server"], cwd=ROOT)


@asynccontextmanager
async def over_http(mode: str) -> AsyncIterator[Client]:
    async with McpServer().listening() as server, Client(server.url, mode=mode) as client:
        yield client


@asynccontextmanager
async def over_stdio(mode: str) -> AsyncIterator[Client]:
    async with Client(STDIO, mode=mode) as client:
        yield client


def text_of(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", [over_http, over_stdio])
async def test_the_shop_over_both_transports(transport: Any, mode: str) -> None:
    async with transport(mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"lookup_order", "slow", "fails"}
        assert tools["lookup_order"].description == "Say where an order is."
        assert tools["lookup_order"].input_schema["properties"]["number"]["type"] == "integer"

        found = await client.call_tool("lookup_order", {"number": 7})
        assert not found.is_error
        assert found.structured_content == {"number": 7, "status": "on its way"}
        assert "on its way" in text_of(found)

        missing = await client.call_tool("lookup_order", {"number": 8})
        assert missing.is_error
        assert text_of(missing).endswith("There is no order 8.")

        failed = await client.call_tool("fails")
        assert failed.is_error
        assert "secret" not in text_of(failed)
        assert (await client.call_tool("lookup_order", {"number": "many"})).is_error
        assert (await client.call_tool("no_such_tool")).is_error

        with pytest.raises(MCPError, match="timed out") as late:
            await client.call_tool("slow", {"seconds": 30}, read_timeout_seconds=0.1)
        assert late.value.code == -32001
        assert text_of(await client.call_tool("slow", {"seconds": 0})) == "That took a while."


async def test_calls_and_their_headers_are_recorded() -> None:
    async with (
        McpServer(key="secret").listening() as server,
        httpx2.AsyncClient(headers={"Authorization": "Bearer secret"}) as http,
        Client(streamable_http_client(server.url, http_client=http)) as client,
    ):
        await client.call_tool("lookup_order", {"number": 42})
    assert server.calls == [("lookup_order", {"number": 42})]
    assert {headers["authorization"] for headers in server.headers} == {"Bearer secret"}


async def test_without_the_key_there_is_no_shop() -> None:
    async with McpServer(key="secret").listening() as server:
        with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
            async with Client(server.url):
                pass
    assert server.headers
    assert server.calls == []


async def test_a_server_that_leaves_in_mid_call() -> None:
    async with AsyncExitStack() as serving:
        server = await serving.enter_async_context(McpServer().listening())
        async with Client(server.url) as client:
            call = asyncio.create_task(client.call_tool("slow", {"seconds": 30}))
            await until(lambda: server.calls)
            await serving.aclose()
            with pytest.raises(MCPError):
                await call


@asynccontextmanager
async def asking(replies: dict[str, Any]) -> AsyncIterator[tuple[HttpTarget, aiohttp.ClientSession]]:
    target = HttpTarget(replies)
    async with target.listening(), aiohttp.ClientSession(target.url) as client:
        yield target, client


async def test_requests_are_recorded() -> None:
    async with asking({"/orders": Reply(201, {"number": 7})}) as (target, client):
        async with client.post(
            "/orders", params=[("a", "1"), ("a", "2")], json={"people": 2}, headers={"X-Key": "k"}
        ) as response:
            assert (response.status, await response.json()) == (201, {"number": 7})
        await client.put("/orders", data={"name": "Zoë", "people": "2"})
        await client.get("/nowhere")
    first, second, third = target.requests
    assert (first.method, first.path, first.query) == ("POST", "/orders", {"a": ["1", "2"]})
    assert first.json == {"people": 2}
    assert first.headers["x-key"] == "k"
    assert second.form == {"name": "Zoë", "people": "2"}
    assert (third.json, third.raw) == (None, b"")
    assert not any(request.aborted for request in target.requests)


async def test_replies_follow_each_other() -> None:
    async with asking({"/orders": [Reply(503), Reply()]}) as (_, client):
        assert [(await client.get("/orders")).status for _ in range(3)] == [503, 200, 200]
        assert (await client.get("/nowhere")).status == 404


async def test_a_redirect() -> None:
    replies = {"/old": Reply(307, location="/new"), "/new": Reply(body="here")}
    async with asking(replies) as (target, client), client.post("/old", json=1) as response:
        assert await response.json() == "here"
    assert [(request.path, request.json) for request in target.requests] == [("/old", 1), ("/new", 1)]


async def test_garbage() -> None:
    replies = {"/raw": Reply(raw=b"\xff{"), "/page": Reply(raw=b"<html>", content_type="text/html")}
    async with asking(replies) as (_, client):
        async with client.get("/raw") as response:
            with pytest.raises(ValueError, match="codec"):
                await response.json()
        async with client.get("/page") as response:
            assert response.content_type == "text/html"


async def test_a_huge_body_can_be_left() -> None:
    async with asking({"/huge": Reply(huge_bytes=10**9), "/large": Reply(huge_bytes=10**6)}) as (target, client):
        assert len(await (await client.get("/large")).json()) == 10**6
        async with client.get("/huge") as response:
            assert await response.content.read(5) == b'"xxxx'
            response.close()
        await until(lambda: target.requests[-1].aborted)
    assert target.requests[-1].sent_bytes < 10**8


async def test_a_delay_can_be_left() -> None:
    async with asking({"/slow": Reply(delay_seconds=30)}) as (target, client):
        with pytest.raises(TimeoutError):
            await client.get("/slow", timeout=aiohttp.ClientTimeout(total=0.1))
        await until(lambda: target.requests[0].aborted)
