"""Deepgram on one port: its voice agent, its two transcribers, its voice, and the list of projects.

server = DeepgramServer(scenario)
async with server.listening():
    AsyncDeepgramClient(api_key="test-key", environment=server.environment)
    server.agent_sessions[0].received     # listen_sessions, speak_sessions: every connection that was tried, in order

Every message is held to the types of the vendor's own SDK, both ways; ``violations`` says what was not.
A transcriber is not told of the past: it goes on where an earlier one was that ended without CloseStream.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deepgram.environment import DeepgramClientEnvironment
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.fakes import deepgram_agent, deepgram_agent_types, deepgram_flux, deepgram_nova, deepgram_speak
from tests.fakes.deepgram_listen import Listener
from tests.fakes.deepgram_query import Rules
from tests.fakes.deepgram_wire import Pace, Session, Wire
from tests.fakes.scenario import Scenario

PROJECTS = "/v1/projects"

_TRANSCRIBERS: dict[str, type[Listener]] = {
    deepgram_nova.PATH: deepgram_nova.Nova,
    deepgram_flux.PATH: deepgram_flux.Flux,
}
_RULES: dict[str, Rules] = {
    deepgram_nova.PATH: deepgram_nova.RULES,
    deepgram_flux.PATH: deepgram_flux.RULES,
    deepgram_speak.PATH: deepgram_speak.RULES,
}
_SENT = {
    deepgram_agent.PATH: deepgram_agent_types.SENT,
    deepgram_nova.PATH: deepgram_nova.SENT,
    deepgram_flux.PATH: deepgram_flux.SENT,
    deepgram_speak.PATH: deepgram_speak.SENT,
}


class DeepgramServer:
    """The server."""

    def __init__(self, scenario: Scenario, key: str = "test-key", pace: Pace | None = None) -> None:
        self._scenario = scenario
        self._key = key
        self._pace = pace or Pace()
        self._port = 0
        self._heard_turns = 0
        """By a transcriber that ended without CloseStream."""
        self._opened: dict[ServerConnection, Session] = {}
        self.agent_sessions: list[Session] = []
        self.listen_sessions: list[Session] = []
        self.speak_sessions: list[Session] = []
        self.probes: list[int] = []
        """How each request for the projects was answered."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    @property
    def environment(self) -> DeepgramClientEnvironment:
        """For the official client."""
        http = self.url.replace("ws://", "http://")
        return DeepgramClientEnvironment(base=http, production=self.url, agent=self.url, agent_rest=http)

    @property
    def violations(self) -> list[str]:
        """Of every session."""
        sessions = (*self.agent_sessions, *self.listen_sessions, *self.speak_sessions)
        return [one for session in sessions for one in session.violations]

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["DeepgramServer"]:
        """Serve on 127.0.0.1 while the block runs."""
        options: dict[str, Any] = {
            "process_request": self._answer,
            "compression": None,
            "max_queue": None,  # a client that goes on talking must not keep us from seeing its close
        }
        async with serve(self._serve, "127.0.0.1", port, **options) as server:
            self._port = server.sockets[0].getsockname()[1]
            yield self

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """What the handshake is answered with; None when the socket opens."""
        path = urlsplit(request.path).path
        if path == PROJECTS:
            return self._projects(connection, request)
        if path not in _SENT:
            return _refuse(connection, 404, "NOT_FOUND", "No such path.")
        session = self._new_session(path, request)
        response = await self._refusal(connection, request, session)
        if response is None:
            self._opened[connection] = session
        else:
            session.refused, session.closed = response.status_code, True
        return response

    def _projects(self, connection: ServerConnection, request: Request) -> Response:
        if not self._knows(request):
            response = _refuse(connection, 401, "INVALID_AUTH", "Invalid credentials.")
        else:
            projects = [{"project_id": "00000000-0000-4000-8000-000000000000", "name": "Test"}]
            response = _respond(connection, 200, {"projects": projects})
        self.probes.append(response.status_code)
        return response

    def _new_session(self, path: str, request: Request) -> Session:
        sessions = self.agent_sessions
        if path != deepgram_agent.PATH:
            sessions = self.speak_sessions if path == deepgram_speak.PATH else self.listen_sessions
        query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        headers = {
            name.lower(): value for name, value in request.headers.raw_items() if name.lower() != "authorization"
        }
        sessions.append(Session(len(sessions), path, query, headers))
        return sessions[-1]

    async def _refusal(self, connection: ServerConnection, request: Request, session: Session) -> Response | None:
        if not self._knows(request):
            return _refuse(connection, 401, "INVALID_AUTH", "Invalid credentials.")
        if slow := self._scenario.fault(session.number, None, "slow"):
            await asyncio.sleep(slow.seconds)
        if refusal := self._scenario.fault(session.number, None, "refuse"):
            return _refuse(connection, refusal.status, "REFUSED", "As the scenario has it.")
        rules = _RULES.get(session.path)
        if rules and (why := rules.refusal(session.query)):
            session.violations.append(f"query: {why}")
            return _refuse(connection, 400, "INVALID_QUERY_PARAMETER", why)
        session.violations += rules.unknown(session.query) if rules else []
        return None

    def _knows(self, request: Request) -> bool:
        return request.headers.get("Authorization") in (f"Token {self._key}", f"Bearer {self._key}")

    async def _serve(self, socket: ServerConnection) -> None:
        session = self._opened.pop(socket)
        wire = Wire(socket, session, self._scenario, _SENT[session.path], self._pace)
        if session.path in _TRANSCRIBERS:
            await self._transcribe(wire)
            return
        talk = deepgram_agent.Agent(wire) if session.path == deepgram_agent.PATH else deepgram_speak.Speaker(wire)
        await wire.serve(talk.run, talk.limit)

    async def _transcribe(self, wire: Wire) -> None:
        first, self._heard_turns = self._heard_turns, 0
        listener = _TRANSCRIBERS[wire.session.path](wire, first)
        await wire.serve(listener.run, listener.limit)
        if not listener.finished:
            self._heard_turns = listener.reported


def _refuse(connection: ServerConnection, status: int, code: str, why: str) -> Response:
    return _respond(connection, status, {"err_code": code, "err_msg": why})


def _respond(connection: ServerConnection, status: int, body: dict[str, object]) -> Response:
    response = connection.respond(HTTPStatus(status), json.dumps(body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
