"""Somebody who is told how calls ended: an HTTP server that writes down what it is sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class HookServer:
    """``told`` grows with each request; ``failures`` of them are answered with 503 first."""

    failures: int = 0
    url: str = ""
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """Path, Authorization and body."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["HookServer"]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if self.failures:
            self.failures -= 1
            return web.Response(status=503)
        self.told.append((request.path, request.headers.get("Authorization", ""), await request.json()))
        return web.json_response({"ok": True})
