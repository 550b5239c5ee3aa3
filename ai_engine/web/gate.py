"""Reads the body of every request before it goes any further: as much, and as long, as is allowed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_engine.web.problems import Problem

_MOST_THROWN_AWAY = 8 * 1024 * 1024
_CLOSE = {"Connection": "close"}

log = structlog.get_logger(__name__)


class Gate:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, most_bytes: int, seconds: float = 10.0) -> None:
        """A body may have ``most_bytes``, and take ``seconds``."""
        self.turned_away: Counter[str] = Counter()
        """How many, by reason: ``too_large``, ``too_slow``."""
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except Problem as problem:
            reason = problem.kind.replace("-", "_")
            self.turned_away[reason] += 1
            log.warning("request turned away", reason=reason, path=scope["path"][:200])
            await problem.response()(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _first(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """None when the client has gone. Raises Problem."""
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self._most_bytes and b"expect" in headers:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._read(receive)
        except TimeoutError:
            detail = f"The body took longer than {self._seconds:g} s."
            raise Problem(408, "too-slow", detail, headers=_CLOSE) from None

    async def _read(self, receive: Receive) -> bytes | None:
        body, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size <= self._most_bytes:
                body += piece
            more = message.get("more_body", False)
            # Who is still sending when the connection is closed does not see the answer.
            if size > self._most_bytes and not (more and size < _MOST_THROWN_AWAY):
                raise self._too_large()
            if not more:
                return bytes(body)

    def _too_large(self) -> Problem:
        detail = f"A body may have {self._most_bytes} bytes (call_agent.server.body_bytes)."
        return Problem(413, "too-large", detail, headers=_CLOSE)


def _first(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
