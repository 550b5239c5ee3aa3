"""The servers that a caller's tools reach, over real loopback sockets.

target = HttpTarget({"/orders": Reply(body={"status": "on its way"}), "/gone": Reply(302, location="/orders")})
async with target.listening():
    ... f"{target.url}/orders?number=7" ...
target.requests        # method, path, query, headers, json, form, aborted

shop = McpServer(key="secret")
async with shop.listening():
    ... streamable HTTP at shop.url ...
shop.calls             # [("lookup_order", {"number": 7})]
"""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from aiohttp import web
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fakes.mcp_stdio_server import shop
from tests.waiting import until

_PIECE = b"x" * 65536


@dataclass(frozen=True, slots=True)
class Reply:
    """What the target says at a path."""

    status: int = 200
    body: Any = field(default_factory=dict)
    """As JSON."""
    raw: bytes | None = None
    """Sent instead of ``body``, as it is."""
    huge_bytes: int = 0
    """Sent instead of ``body``: a JSON string of this many bytes, in pieces; the client may hang up."""
    content_type: str = "application/json"
    location: str | None = None
    """Where a redirect leads."""
    delay_seconds: float = 0.0


@dataclass(slots=True)
class TargetRequest:
    """One request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str] = field(repr=False)
    """Their names are looked up whatever their case."""
    raw: bytes = field(repr=False)
    json: Any = None
    """None when the body is not JSON, or does not say it is."""
    form: dict[str, str] = field(default_factory=dict)
    sent_bytes: int = 0
    """Of a huge body."""
    aborted: bool = False
    """The client hung up before the end of the answer."""


class HttpTarget:
    """A server for HTTP tools."""

    def __init__(self, replies: Mapping[str, Reply | Sequence[Reply]]) -> None:
        """By path; of several replies each is given once, the last one from then on. Other paths get 404."""
        self._replies = {path: (said,) if isinstance(said, Reply) else tuple(said) for path, said in replies.items()}
        self._asked: Counter[str] = Counter()
        self.url = ""
        self.requests: list[TargetRequest] = []

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["HttpTarget"]:
        """Serve on 127.0.0.1 while the block runs."""
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        record = await _record(request)
        self.requests.append(record)
        replies = self._replies.get(request.path, (Reply(404, {"error": "not found"}),))
        reply = replies[min(self._asked[request.path], len(replies) - 1)]
        self._asked[request.path] += 1
        try:
            await asyncio.sleep(reply.delay_seconds)
            return await _send(request, record, reply)
        except (asyncio.CancelledError, ConnectionResetError):
            record.aborted = True
            raise


class McpServer:
    """A real MCP server over streamable HTTP; its tools are those of ``mcp_stdio_server``."""

    def __init__(self, key: str | None = None) -> None:
        """``key``: the bearer token without which it answers 401; None: it asks for none."""
        self._key = key
        self.url = ""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        """Of each request; the names are in lower case."""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["McpServer"]:
        """Serve on 127.0.0.1 while the block runs."""
        app = shop(lambda name, arguments: self.calls.append((name, arguments))).streamable_http_app()
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            line.bind(("127.0.0.1", port))
            self.url = f"http://127.0.0.1:{line.getsockname()[1]}/mcp"
            config = uvicorn.Config(
                self._guarded(app), log_config=None, ws="none", lifespan="on", timeout_graceful_shutdown=1
            )
            server = _Uvicorn(config)
            serving = asyncio.create_task(server.serve([line]))
            try:
                await until(lambda: server.started or serving.done())
                yield self
            finally:
                server.should_exit = True
                await serving

    def _guarded(self, app: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
                if self._key and self.headers[-1].get("authorization") != f"Bearer {self._key}":
                    await PlainTextResponse("Unauthorized", 401)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded


class _Uvicorn(uvicorn.Server):
    """It leaves the test's signal handlers alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _record(request: web.Request) -> TargetRequest:
    raw = await request.read()
    query = {name: request.query.getall(name) for name in request.query}
    record = TargetRequest(request.method, request.path, query, request.headers, raw)
    if request.content_type == "application/json":
        try:
            record.json = json.loads(raw)
        except ValueError:
            record.json = None
    elif request.content_type == "application/x-www-form-urlencoded":
        record.form = {name: str(value) for name, value in (await request.post()).items()}
    return record


async def _send(request: web.Request, record: TargetRequest, reply: Reply) -> web.StreamResponse:
    headers = {"Content-Type": reply.content_type} | ({"Location": reply.location} if reply.location else {})
    if not reply.huge_bytes:
        whole = json.dumps(reply.body).encode() if reply.raw is None else reply.raw
        return web.Response(status=reply.status, body=whole, headers=headers)
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    await response.write(b'"')
    while record.sent_bytes < reply.huge_bytes:
        piece = _PIECE[: reply.huge_bytes - record.sent_bytes]
        await response.write(piece)
        record.sent_bytes += len(piece)
    await response.write(b'"')
    return response
