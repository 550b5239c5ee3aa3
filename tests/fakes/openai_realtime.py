"""A server of the OpenAI Realtime API (GA, on WebSocket) that plays a scenario, as strict as the vendor's.

scenario = Scenario("Hello.", [Turn("what are your hours", "From nine to six.")])
server = OpenAIRealtimeServer(scenario)
async with server.listening():
    client = AsyncOpenAI(api_key="test-key", websocket_base_url=server.url)
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.response.create()                      # it says the greeting, in word_tones
        ...
    session = await server.session()                            # the first connection's
    session.turns, session.received, session.truncated, session.tool_results
assert server.violations == []                                  # of anybody, in any session

A turn is answered by its place among the user messages of the conversation, a typed one by its words. Without any,
``response.create`` gets the greeting; when nothing is left to answer, ``STILL_THERE``.
Not covered: ``idle_timeout_ms``, ``max_output_tokens``, ``prompt``, MCP, images; VAD ignores ``threshold``.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.fakes.openai_realtime_session import Session
from tests.fakes.openai_realtime_talk import RealtimeTalk
from tests.fakes.scenario import Scenario
from tests.waiting import until

_MAX_MESSAGE_BYTES = 24 * 2**20
"""15 MiB of sound in base64, which is what the vendor takes, fit in."""


class OpenAIRealtimeServer:
    """The server; ``speed`` is how many times faster than real time sound goes out."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        key: str = "test-key",
        speed: float = 4.0,
        transcribes_after: float = 0.05,
    ) -> None:
        """``transcribes_after``: seconds from a turn's end to its transcript, whatever else happens meanwhile."""
        self._scenario, self._key = scenario, key
        self._speed, self._transcribes_after = speed, transcribes_after
        self._over = asyncio.Event()
        self._connects = 0
        self._admitted: dict[UUID, Session] = {}
        self.sessions: list[Session] = []
        """Of the connections that were not refused."""
        self.url = ""
        """Without ``/realtime``, as the SDK wants it; known while it listens."""

    @property
    def violations(self) -> list[str]:
        """What broke the protocol, whoever did."""
        return [violation for session in self.sessions for violation in session.violations]

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["OpenAIRealtimeServer"]:
        """Serve on 127.0.0.1 while the block runs."""
        self._over.clear()
        async with serve(
            self._serve,
            "127.0.0.1",
            port,
            process_request=self._admit,
            compression=None,
            max_size=_MAX_MESSAGE_BYTES,
            open_timeout=None,
        ) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1"
            try:
                yield self
            finally:
                self._over.set()

    async def session(self, number: int = 0) -> Session:
        """Of the connection ``number``, from 0, of those not refused; raises TimeoutError when it does not come."""
        await until(lambda: len(self.sessions) > number)
        return self.sessions[number]

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        number, self._connects = self._connects, self._connects + 1
        address = urlsplit(request.path)
        query = dict(parse_qsl(address.query))
        fault = self._scenario.fault(number, None, "slow", "refuse")
        if fault is not None and fault.kind == "slow":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), fault.seconds)
        if fault is not None and fault.kind == "refuse":
            return _refusal(connection, fault.status, f"refused_{fault.status}", "As the scenario has it.")
        if address.path != "/v1/realtime":
            return _refusal(connection, 404, None, f"Invalid URL (GET {address.path})")
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return _refusal(connection, 401, "invalid_api_key", "Incorrect API key provided.")
        if "model" not in query:
            return _refusal(connection, 400, "missing_model", "You must provide a model parameter.")
        headers = {name: value for name, value in request.headers.raw_items() if name.lower() != "authorization"}
        self._admitted[connection.id] = Session(number, query, headers)
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        session = self._admitted.pop(socket.id)
        self.sessions.append(session)
        talk = RealtimeTalk(socket, session, self._scenario, self._speed, self._transcribes_after)
        await talk.run()


def _refusal(connection: ServerConnection, status: int, code: str | None, message: str) -> Response:
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    response = connection.respond(HTTPStatus(status), json.dumps({"error": error}))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
