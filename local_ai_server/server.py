"""The WebSocket shell: connections, limits and health, around the sessions."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import TypeVar

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from local_ai_server import protocol
from local_ai_server.backends import Card
from local_ai_server.config import Settings
from local_ai_server.connection import Connection
from local_ai_server.errors import JobFailed, LocalAIError, ProtocolError, SlowClient
from local_ai_server.llm.base import LanguageModel
from local_ai_server.session import Session
from local_ai_server.workers import WorkerPool

_log = structlog.get_logger()
E = TypeVar("E", bound=BaseException)

PATH = "/v1"
_MAX_MESSAGE = 1024 * 1024
_CLOSE_SECONDS = 2.0
_PING_SECONDS = 10.0
_BROKEN_FRAMES = (1002, 1007, 1009)
"""Close codes WebSocket itself ends a connection with when the other side broke it: protocol, UTF-8, size."""


class LocalAIServer:
    """Serves sessions from one pool of workers."""

    def __init__(self, settings: Settings, pool: WorkerPool, model: LanguageModel, card: Card | None = None) -> None:
        self._settings = settings
        self._pool = pool
        self._model = model
        self._card = card
        self._backends = protocol.Backends(settings.stt, settings.llm, settings.tts)
        self._sessions = 0
        self._is_closing = False
        self.counts: Counter[str] = Counter()
        """Events since the start: ``sessions``, ``busy``, ``bad_message``, ``slow_client`` …"""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        """Accept connections while the block runs; leaving it ends every session."""
        server = await serve(
            self._serve_connection,
            self._settings.host,
            self._settings.port,
            process_request=self._answer_http,
            compression=None,  # sound does not shrink, and JSON this short is not worth the delay
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=_MAX_MESSAGE,
            logger=_websocket_log(),
        )
        try:
            yield server
        finally:
            self._is_closing = True
            server.close()
            await server.wait_closed()

    def health(self) -> dict[str, object]:
        """What ``/health`` says."""
        is_ready = self._pool.alive > 0 and not self._is_closing
        return {
            "status": "ok" if is_ready else "unavailable",
            "protocol": protocol.VERSION,
            "backends": asdict(self._backends),
            "models": self._models(),
            "sessions": self._sessions,
            "max_sessions": self._settings.max_sessions,
            "workers": self._pool.alive,
            "workers_replaced": self._pool.replaced,
            "queue": self._pool.queue,
            "counts": dict(self.counts),
        }

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == PATH:
            return None
        health = self.health()
        if path == "/live":
            return _json(connection, HTTPStatus.OK, {"status": "ok"})
        if path in ("/ready", "/health"):
            status = HTTPStatus.OK if health["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
            return _json(connection, status, health if path == "/health" else {"status": health["status"]})
        return _json(connection, HTTPStatus.NOT_FOUND, {"error": f"there is only {PATH}, /live, /ready and /health"})

    async def _serve_connection(self, socket: ServerConnection) -> None:
        client = Connection(socket, self._settings.send_seconds)
        if self._sessions >= self._settings.max_sessions:
            self._count("busy", client, "all sessions are taken")
            await client.refuse("busy", f"all {self._settings.max_sessions} sessions are taken")
            return
        self._sessions += 1
        try:
            await self._talk(client)
        except* ConnectionClosed as errors:
            sent = _first(errors, ConnectionClosed).sent
            if sent and sent.code in _BROKEN_FRAMES:
                self._count("bad_message", client, sent.reason)
        except* ProtocolError as errors:
            reason = str(_first(errors, LocalAIError))
            self._count("bad_message", client, reason)
            await client.refuse("bad_message", reason)
        except* SlowClient as errors:
            self._count("slow_client", client, str(_first(errors, LocalAIError)))
            client.abort()
        except* Exception:  # noqa: BLE001 - the edge of a session: the client is told, the others go on
            self.counts["internal"] += 1
            _log.exception("session failed", peer=client.peer)
            await client.refuse("internal", "the session failed; the server's log says why")
        finally:
            self._sessions -= 1

    async def _talk(self, client: Connection) -> None:
        """One session, from ``start`` until an exception says how it ended."""
        start = await client.receive_start(self._settings.start_seconds)
        rates = await self._prepare(start)
        session = Session(start, rates, self._pool, self._model, client.send)
        log = _log.bind(call_id=start.call_id, agent=start.agent.name)
        self.counts["sessions"] += 1
        log.info("session started", peer=client.peer)
        try:
            await client.send(protocol.Ready(protocol.VERSION, *rates, self._backends))
            async with asyncio.TaskGroup() as group:
                group.create_task(session.run())
                group.create_task(self._feed(client, session))
        finally:
            self.counts["sound_dropped"] += session.sound_dropped
            log.info("session ended", sound_dropped=session.sound_dropped)

    async def _prepare(self, start: protocol.Start) -> tuple[int, int]:
        """Warm the models for an agent, everywhere; ``(input_rate, output_rate)``.

        Sound is taken at the rate of the line where that is what we want or a fraction of it: then it is we who convert
        it, and only what belongs to a turn.
        """
        await self._model.prepare(start.agent)
        prepared: list[tuple[int, int]] = await self._pool.run_everywhere("prepare", start.agent)
        if not prepared:
            raise JobFailed("no worker is alive")
        wanted, made = prepared[0]
        return (start.rate if start.rate and wanted % start.rate == 0 else wanted), made

    async def _feed(self, client: Connection, session: Session) -> None:
        while True:
            message = await client.receive()
            if isinstance(message, bytes):
                session.hear(message)
            elif isinstance(message, protocol.StatusAsked):
                await client.send(self._status())
            else:
                session.receive(message)

    def _status(self) -> protocol.Status:
        return protocol.Status(self._backends, self._models(), self._sessions, self._pool.alive, self._pool.queue)

    def _models(self) -> dict[str, dict[str, object]]:
        cards = {**self._pool.cards, **({"llm": self._card} if self._card else {})}
        return {kind: asdict(card) for kind, card in cards.items()}

    def _count(self, what: str, client: Connection, reason: str) -> None:
        self.counts[what] += 1
        _log.warning("client shut out", code=what, peer=client.peer, reason=reason)


def _first(error: BaseException, kind: type[E]) -> E:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, kind)
    return error


def _json(connection: ServerConnection, status: HTTPStatus, body: object) -> Response:
    response = connection.respond(status, json.dumps(body) + "\n")
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


def _websocket_log() -> logging.Logger:
    """websockets tells of every broken handshake with a traceback; a port scan must not fill the log with them."""
    logger = logging.getLogger("local_ai_server.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
