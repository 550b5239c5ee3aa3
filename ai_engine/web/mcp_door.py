"""The MCP server on streamable HTTP."""

import asyncio
from typing import Any

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from ai_engine.web.doorkeeper import Doorkeeper


class McpDoor:
    """An ASGI application for one path; every request is complete in itself, so that nothing stays open."""

    def __init__(self, server: Server[Any], doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        self._open = asyncio.Event()
        self._closing = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Problem."""
        await self._doorkeeper.admit(scope)
        await self._manager.handle_request(scope, receive, send)

    async def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="mcp door")
        await self._open.wait()

    async def stop(self) -> None:
        """Once nothing is asked any more. May be called without ``start``."""
        self._closing.set()
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        # Its task group is to be left by the task that entered it.
        async with self._manager.run():
            self._open.set()
            await self._closing.wait()
