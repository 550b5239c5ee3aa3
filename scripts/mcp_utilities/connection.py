"""A connection with the MCP server that the command line names."""

import argparse
import asyncio
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Tool

_OUR_URL = "http://127.0.0.1:4545/mcp"
_MOST_PAGES = 100
_REFUSED = 400
_NOT_ALLOWED = (401, 403)

ENVIRONMENT = """environment:
  MCP_URL            as --url
  MCP_TOKEN          the bearer token of that server; CALL_AGENT_TOKEN where it is not set
"""


class NotReached(Exception):
    """The server cannot be talked with; ``str()`` says why."""


def add_server(parser: argparse.ArgumentParser) -> None:
    """Options that name a server."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="URL", help=f"streamable HTTP, {_OUR_URL}")
    where.add_argument("--command", dest="program", metavar="'PROGRAM ARGS'", help="instead: a program that is one")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="per step, %(default)g")
    parser.add_argument("--json", action="store_true", help="for programs")


@asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[Client]:
    """Raises NotReached, also when the connection is lost later."""
    refusals: list[str] = []
    try:
        async with AsyncExitStack() as parts:
            async with asyncio.timeout(options.timeout):
                client = await parts.enter_async_context(await _client(options, parts, refusals))
            yield client
    except TimeoutError:
        raise NotReached(f"{name_of(options)} does not answer within {options.timeout:g} s") from None
    except Exception as error:  # noqa: BLE001 - the edge of somebody's server: whatever it does, say it
        raise NotReached(f"{name_of(options)}: {' '.join([*refusals[-1:], why(error)])}") from error


async def every_tool(client: Client) -> list[Tool]:
    """Of all pages."""
    tools: list[Tool] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


def name_of(options: argparse.Namespace) -> str:
    return str(options.program or _url(options))


def why(error: BaseException) -> str:
    """The first line of the error that began it."""
    cause = next(_leaves(error))
    return (str(cause).partition("\n")[0] or type(cause).__name__)[:500]


async def _client(options: argparse.Namespace, parts: AsyncExitStack, refusals: list[str]) -> Client:
    """What HTTP says of a request that is refused, which the client keeps to itself, is added to ``refusals``."""

    async def note(response: httpx2.Response) -> None:
        if response.status_code >= _REFUSED:
            advice = " (is MCP_TOKEN right?)" if response.status_code in _NOT_ALLOWED else ""
            refusals.append(f"HTTP {response.status_code}{advice}:")

    if options.program is not None:
        words = shlex.split(options.program)
        if not words or shutil.which(words[0]) is None:
            raise FileNotFoundError("there is no such program")
        # Started by hand, it is given what a program started by hand is given.
        return Client(
            StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ)),
            read_timeout_seconds=options.timeout,
        )
    token = os.environ.get("MCP_TOKEN") or os.environ.get("CALL_AGENT_TOKEN", "").partition(",")[0].strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    hooks = {"response": [note]}
    http = await parts.enter_async_context(
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(options.timeout, read=None), event_hooks=hooks)
    )
    return Client(streamable_http_client(_url(options), http_client=http), read_timeout_seconds=options.timeout)


def _url(options: argparse.Namespace) -> str:
    return str(options.url or os.environ.get("MCP_URL") or _OUR_URL)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    elif isinstance(error, MCPError) and error.__cause__ is not None:
        yield from _leaves(error.__cause__)
    else:
        yield error
