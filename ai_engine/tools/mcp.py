"""Tools of an MCP server, over one connection for all calls."""

import asyncio
import hashlib
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import structlog
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult, TextContent
from mcp_types import Tool as Listed

from ai_engine.session.ports import ToolContext
from ai_engine.tools.answer import MOST_BYTES, Censor, Result, cut, failed
from ai_engine.tools.mcp_settings import McpServerSettings
from ai_engine.tools.schema import refusal
from ai_engine.tools.template import fill

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 60.0
"""A program may have to be fetched and built before it starts."""
_PROBE_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_MOST_PAGES = 100

_AS_OTHERS = (
    "import os, sys; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Starts a program without the engine's real-time priority, which it would inherit and use against the calls."""


class McpTool:
    """Implements ``Tool``."""

    def __init__(self, server: "McpServer", listed: Listed) -> None:
        self.own_name = listed.name
        """As the server calls it."""
        self.name = _name(server.name, listed.name)
        self.description = listed.description or listed.title or listed.name
        self.parameters: Mapping[str, Any] = listed.input_schema
        self.timeout_seconds = server.timeout_seconds
        self._server = server

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        return await self._server.use(self, arguments)


class McpServer:
    """A connection that is made anew whenever it is lost."""

    def __init__(
        self,
        name: str,
        settings: McpServerSettings,
        keys: Mapping[str, str],
        *,
        heartbeat_seconds: float = 30.0,
        first_wait_seconds: float = 1.0,
    ) -> None:
        """``keys`` holds at least the secrets that ``settings`` refer to; waits between attempts double up to a
        minute."""
        self.name = name
        self.timeout_seconds = settings.timeout_seconds
        self.tools: tuple[McpTool, ...] = ()
        """What it offers now; none while it is down."""
        self.refused: dict[str, str] = {}
        """Tools it has that no agent can be given, and why."""
        self.connects = 0
        """How often a connection came about."""
        self._settings = settings
        self._keys = {key: keys[key] for key in settings.secrets()}
        self._censor = Censor(self._keys.values())
        self._heartbeat_seconds = heartbeat_seconds
        self._first_wait_seconds = first_wait_seconds
        # Reading the certificates takes as long as a frame of sound: once, before there are calls.
        self._tls = None if settings.url is None else httpx2.create_ssl_context()
        self._client: Client | None = None
        self._listed: list[Listed] = []
        self._doubted = asyncio.Event()
        self._closing = False
        self._running: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        return self._client is not None

    @property
    def opened(self) -> bool:
        return self._running is not None

    def is_for(self, settings: McpServerSettings, keys: Mapping[str, str]) -> bool:
        """Whether it is what ``settings`` describe, with these secrets."""
        return settings == self._settings and all(keys.get(name) == key for name, key in self._keys.items())

    def open(self) -> None:
        """Begin to connect; returns at once."""
        self._running = asyncio.create_task(self._run(), name=f"mcp {self.name}")

    async def close(self) -> None:
        """Disconnect, in a few seconds whatever the server does. May be called without ``open``."""
        self._closing = True
        self._doubted.set()
        if self._running is None:
            return
        self._running.cancel()
        _, stuck = await asyncio.wait([self._running], timeout=_CLOSE_SECONDS)
        if stuck:
            log.warning("MCP server does not let go", server=self.name)

    async def use(self, tool: McpTool, arguments: Mapping[str, Any]) -> Result:
        """Have the server do it."""
        client = self._client
        if client is None:
            return failed(f"{self.name} cannot be reached at the moment")
        try:
            # What UTF-8 cannot carry would end the connection, for every call.
            answer = await client.call_tool(
                tool.own_name, self._censor.data(arguments), read_timeout_seconds=self.timeout_seconds
            )
        except MCPError as error:
            self._doubted.set()
            return failed(self._complaint(tool, error))
        except (RuntimeError, ValueError) as error:
            log.warning("MCP tool answered nonsense", tool=tool.name, error=self._why(error))
            return failed(f"{tool.name} gave an answer that does not fit its own description")
        return self._result(tool, answer)

    # -- the connection --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connect, and connect again, until closed."""
        wait = self._first_wait_seconds
        # Cancelling alone does not do: the client loses a cancellation that meets an error of its own.
        while not self._closing:
            try:
                async with self._connected() as client:
                    wait = self._first_wait_seconds
                    await self._watch(client)
            except Exception as error:  # noqa: BLE001 - the edge of somebody's server: whatever it does, try again
                if self._closing:
                    return
                log.warning("MCP server is down", server=self.name, error=self._why(error), retry_seconds=wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, 60.0)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        async with AsyncExitStack() as parts:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await parts.enter_async_context(await self._client_for(parts))
                await self._list(client)
            self._client = client
            self.connects += 1
            log.info("MCP server is up", server=self.name, tools=[tool.name for tool in self.tools])
            try:
                yield client
            finally:
                self._client, self.tools, self._listed = None, (), []

    async def _client_for(self, parts: AsyncExitStack) -> Client:
        settings = self._settings
        if settings.command is not None:
            if shutil.which(settings.command) is None:
                raise FileNotFoundError(f"there is no program {settings.command!r}")
            env = {name: fill(text, {}, self._keys) for name, text in settings.env.items()}
            args = ["-I", "-S", "-c", _AS_OTHERS, settings.command, *settings.args]
            return Client(StdioServerParameters(command=sys.executable, args=args, env=env))
        assert settings.url is not None
        assert self._tls is not None
        headers = {name: fill(text, {}, self._keys) for name, text in settings.headers.items()}
        timeout = httpx2.Timeout(_PROBE_SECONDS, read=None)  # a tool may be slow, and an event stream silent
        http = await parts.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=timeout, verify=self._tls))
        return Client(streamable_http_client(settings.url, http_client=http))

    async def _watch(self, client: Client) -> None:
        """Returns when we close; raises when the server does not answer any more."""
        while not self._closing:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            self._doubted.clear()
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._list(client)

    async def _list(self, client: Client) -> None:
        listed: list[Listed] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            listed += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        if listed != self._listed:
            self._listed = listed
            self.tools = tuple([tool async for tool in self._usable(listed)])

    async def _usable(self, listed: list[Listed]) -> AsyncIterator[McpTool]:
        self.refused = {}
        taken: set[str] = set()
        for one in listed:
            await asyncio.sleep(0)  # checking a schema takes a millisecond, and calls are going on
            if not self._settings.allows(one.name):
                continue
            tool = McpTool(self, one)
            why = refusal(one.input_schema)
            if why is None and tool.name not in taken:
                taken.add(tool.name)
                yield tool
                continue
            self.refused[one.name] = "has the name of another one" if why is None else f"has a schema that {why}"
            log.error("MCP tool cannot be used", server=self.name, tool=one.name, why=self.refused[one.name])

    # -- its words -------------------------------------------------------------------------------------------

    def _result(self, tool: McpTool, answer: CallToolResult) -> Result:
        texts = "\n".join(
            block.text if isinstance(block, TextContent) else f"[{block.type}]" for block in answer.content
        )
        if answer.is_error:
            return failed(self._censor.text(cut(texts)) or f"{tool.name} failed")
        data = texts if answer.structured_content is None else answer.structured_content
        if isinstance(data, Mapping) and set(data) == {"result"}:
            data = data["result"]  # how the official servers wrap what is no object
        if len(json.dumps(data, default=str)) > MOST_BYTES:
            return failed(f"{tool.name} answered more than {MOST_BYTES // 1024} KiB")
        return {"ok": True, "result": self._censor.data(data)}

    def _complaint(self, tool: McpTool, error: MCPError) -> str:
        match error.code:
            case code if code == REQUEST_TIMEOUT:
                return f"{tool.name} did not answer within {self.timeout_seconds:g} s"
            case code if code == CONNECTION_CLOSED:
                return f"{self.name} cannot be reached at the moment"
            case _:
                return f"{tool.name}: {self._why(error)}"

    def _why(self, error: BaseException) -> str:
        """The first line of the error that began it."""
        cause = next(_leaves(error))
        text = str(cause).partition("\n")[0] or type(cause).__name__
        return self._censor.text(cut(text))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _name(server: str, tool: str) -> str:
    """A name every provider takes; one that is too long ends with a part of its hash."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", f"{server}_{tool}")
    if len(name) <= 64:
        return name
    return f"{name[:55]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
