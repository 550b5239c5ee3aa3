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

from local_ai_server import admin, protocol
from local_ai_server.config import Settings
from local_ai_server.connection import Connection
from local_ai_server.crew import Crew
from local_ai_server.crews import Crews
from local_ai_server.errors import LocalAIError, ProtocolError, SlowClient
from local_ai_server.session import Session

_log = structlog.get_logger()
E = TypeVar("E", bound=BaseException)

PATH = "/v1"
_MAX_MESSAGE = 1024 * 1024
_CLOSE_SECONDS = 2.0
_PING_SECONDS = 10.0
_BROKEN_FRAMES = (1002, 1007, 1009)
"""Close codes WebSocket itself ends a connection with when the other side broke it: protocol, UTF-8, size."""


class LocalAIServer:
    """Serves sessions with the models of its crews."""

    def __init__(self, settings: Settings, crews: Crews) -> None:
        self._settings = settings
        self._crews = crews
        self._admin = admin.Admin(crews, settings.admin_token)
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
        crew = self._crews.current
        return {
            "status": self._state(),
            "protocol": protocol.VERSION,
            "backends": crew.names,
            "models": _models(crew),
            "sessions": self._sessions,
            "max_sessions": self._settings.max_sessions,
            "workers": crew.pool.alive,
            "workers_replaced": crew.pool.replaced,
            "queue": crew.pool.queue,
            "jobs": crew.pool.counts(),
            "counts": dict(self.counts),
            **self._crews.health(),
        }

    def _state(self) -> str:
        """``busy`` is well: the calls there are are served, and a new one is better off elsewhere."""
        if self._is_closing or not self._crews.current.pool.alive:
            return "unavailable"
        is_full = self._sessions >= self._settings.max_sessions
        return "busy" if is_full or self._why_busy(frozenset(protocol.PARTS)) else "ok"

    def _why_busy(self, parts: frozenset[str]) -> str:
        """Why a new call should not begin now; empty where it may."""
        seconds = self._crews.current.delay_seconds(parts)
        return (
            f"a new call would wait {seconds:.1f} s for its first words"
            if seconds > self._settings.busy_seconds
            else ""
        )

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == PATH:
            return None
        if path == admin.PATH:
            return _json(connection, *self._admin.answer(connection, request))
        if path == "/live":
            return _json(connection, HTTPStatus.OK, {"status": "ok"})
        if path in ("/ready", "/health"):
            state = self._state()
            status = HTTPStatus.SERVICE_UNAVAILABLE if state == "unavailable" else HTTPStatus.OK
            return _json(connection, status, self.health() if path == "/health" else {"status": state})
        known = ", ".join((PATH, "/live", "/ready", "/health", admin.PATH))
        return _json(connection, HTTPStatus.NOT_FOUND, {"error": f"there is only {known}"})

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
        if why_busy := self._why_busy(start.parts):
            self._count("busy", client, why_busy)
            await client.refuse("busy", why_busy)
            return
        session = await self._open(start, client)
        log = _log.bind(call_id=start.call_id, agent=start.agent.name)
        self.counts["sessions"] += 1
        log.info("session started", peer=client.peer)
        try:
            rates = session.input_rate, session.output_rate
            takes_notes = "llm" in start.parts and session.crew.takes_notes
            await client.send(protocol.Ready(protocol.VERSION, *rates, session.crew.backends, takes_notes))
            async with asyncio.TaskGroup() as group:
                group.create_task(session.run())
                group.create_task(self._feed(client, session))
        finally:
            self._crews.forget(session)
            self.counts["sound_dropped"] += session.sound_dropped
            log.info("session ended", sound_dropped=session.sound_dropped)

    async def _open(self, start: protocol.Start, client: Connection) -> Session:
        """A session with the present crew, which is warm for its agent. Raises AgentError, JobFailed.

        Sound is taken at the rate of the line where that is what we want or a fraction of it: then it is we who convert
        it, and only what belongs to a turn.
        """
        crew = self._crews.current
        crew.enter()
        try:
            wanted, made = await crew.prepare(start)
        except BaseException:
            crew.leave()
            raise
        taken = start.rate if start.rate and wanted and wanted % start.rate == 0 else wanted
        session = Session(start, (taken, made), crew, client.send)
        self._crews.follow(session)
        return session

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
        crew = self._crews.current
        return protocol.Status(crew.backends, _models(crew), self._sessions, crew.pool.alive, crew.pool.queue)

    def _count(self, what: str, client: Connection, reason: str) -> None:
        self.counts[what] += 1
        _log.warning("client shut out", code=what, peer=client.peer, reason=reason)


def _models(crew: Crew) -> dict[str, dict[str, object]]:
    return {kind: asdict(card) for kind, card in crew.cards.items()}


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
