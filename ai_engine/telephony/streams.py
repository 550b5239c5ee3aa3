"""The WebSocket at which the sound of a call arrives as Twilio Media Streams, from whichever network speaks it."""

import asyncio
import hmac
from collections import Counter
from contextlib import suppress

import structlog
from fastapi import APIRouter, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from ai_engine.jobs.ports import Attempt, RouteContext, SignedRequest
from ai_engine.jobs.settings import Server
from ai_engine.protocol.media_streams import Other, StreamConnected, StreamStarted
from ai_engine.telephony.incoming import address_of, handshake, public_base
from ai_engine.telephony.stream_socket import (
    NORMAL,
    PROTOCOL_ERROR,
    REFUSED,
    Admit,
    Ended,
    Gone,
    HandOver,
    Network,
    Refused,
    Stream,
    StreamDoor,
    StreamLeg,
    Validate,
    goodbye,
    next_event,
)

__all__ = ["NORMAL", "PATH", "MediaSockets", "StreamDoor", "StreamLeg", "add_stream_route"]

PATH = "/voice/stream"

_MOST_BEFORE_START = 8
"""Messages."""

_MOST_TOKENS = 4096

log = structlog.get_logger(__name__)


def add_stream_route(
    router: APIRouter,
    context: RouteContext,
    door: StreamDoor,
    settings: Server,
    validate: Validate,
    *,
    admit: Admit | None = None,
    ended: Ended | None = None,
    hand_over: HandOver | None = None,
) -> "MediaSockets":
    """Let a network's streams in at `/voice/stream`, beside those of other networks of the same router.

    ``validate`` decides before the socket is accepted. Returns what serves it, for its ``counters``.
    """
    network = Network(context, validate, admit or _anybody, ended or _nothing, hand_over, door)
    there = (getattr(route, "endpoint", None) for route in router.routes)
    sockets = next((endpoint for endpoint in there if isinstance(endpoint, MediaSockets)), None)
    if sockets is None:
        sockets = MediaSockets(door, settings)
        router.add_api_websocket_route(PATH, sockets)
    sockets.let_in(network)
    return sockets


class MediaSockets:
    """The endpoint: every media socket of a server, from the handshake to its end."""

    def __init__(self, door: StreamDoor, settings: Server) -> None:
        self.counters: Counter[str] = Counter()
        """``pending`` and ``open`` are now; all others count what has happened, by what it was."""
        self._door = door
        self._settings = settings
        self._networks: list[Network] = []
        self._pending: Counter[str] = Counter()
        """By address."""
        self._used: dict[str, None] = {}
        """Attempts whose token was shown, the oldest first."""

    def let_in(self, network: Network) -> None:
        self._networks.append(network)

    async def __call__(self, websocket: WebSocket) -> None:
        peer = websocket.client.host if websocket.client else ""
        incoming = handshake(websocket)
        address = address_of(self._settings, peer, incoming.headers)
        if (full := self._full(address)) is not None:
            await self._deny(websocket, address, *full)
            return
        networks = [network for network in self._networks if self._valid(network, incoming, peer)]
        if not networks:
            await self._deny(websocket, address, 401, "invalid_signatures")
            return
        with suppress(WebSocketDisconnect):
            await self._serve(websocket, networks, address)

    # -- before the socket is accepted -------------------------------------------------------------------------

    def _full(self, address: str) -> tuple[int, str] | None:
        if self.counters["pending"] + self.counters["open"] >= self._settings.streams:
            return 503, "too_many"
        if self.counters["pending"] >= self._settings.pending_streams:
            return 503, "too_many_pending"
        if self._pending[address] >= self._settings.pending_streams_per_address:
            return 429, "too_many_of_an_address"
        return None

    def _valid(self, network: Network, incoming: SignedRequest, peer: str) -> bool:
        urls = network.context.urls()
        base = public_base(self._settings, peer, incoming.headers, urls.public)
        return network.validate(incoming, base or urls.local)

    async def _deny(self, websocket: WebSocket, address: str, status: int, counter: str) -> None:
        self.counters[counter] += 1
        log.warning("media socket refused", address=address, status=status, reason=counter)
        await websocket.send_denial_response(Response(status_code=status))

    # -- until we know whose it is -----------------------------------------------------------------------------

    async def _serve(self, websocket: WebSocket, networks: list[Network], address: str) -> None:
        self.counters["pending"] += 1
        self._pending[address] += 1
        try:
            await websocket.accept()
            async with asyncio.timeout(self._settings.start_seconds):
                network, attempt, start = await self._introduced(websocket, networks)
        except TimeoutError:
            await self._shut_out(websocket, address, Refused(REFUSED, "start_timeouts", "said no call in time"))
            return
        except Refused as refused:
            await self._shut_out(websocket, address, refused)
            return
        except Gone:
            self.counters["gone_before_start"] += 1
            return
        finally:
            self.counters["pending"] -= 1
            self._pending[address] -= 1
            self._pending += Counter()  # forgets addresses with none
        self.counters["accepted"] += 1
        self.counters["open"] += 1
        try:
            await Stream(self.counters, websocket, network, attempt, start).run(network.door or self._door)
        finally:
            self.counters["open"] -= 1

    async def _introduced(
        self, websocket: WebSocket, networks: list[Network]
    ) -> tuple[Network, Attempt, StreamStarted]:
        for _ in range(_MOST_BEFORE_START):
            match await next_event(websocket):
                case StreamStarted() as start:
                    return *self._admitted(start, networks), start
                case StreamConnected() | Other():
                    continue
                case _:
                    raise Refused(PROTOCOL_ERROR, "protocol_errors", "another message before start")
        raise Refused(PROTOCOL_ERROR, "protocol_errors", "no start among its first messages")

    def _admitted(self, start: StreamStarted, networks: list[Network]) -> tuple[Network, Attempt]:
        call_id, token = start.parameters.get("callId", ""), start.parameters.get("token", "")
        found = [(network, attempt) for network in networks if (attempt := network.context.find(call_id)) is not None]
        if not found:
            raise Refused(REFUSED, "unknown_calls", "no such call, or it is over")
        for network, attempt in found:
            if _same(token, attempt.token) and attempt.key not in self._used and network.admit(attempt, start):
                self._use_up(attempt.key)
                return network, attempt
        raise Refused(REFUSED, "wrong_tokens", "a wrong token, one that was used, or another call's stream")

    def _use_up(self, key: str) -> None:
        self._used[key] = None
        if len(self._used) > _MOST_TOKENS:
            del self._used[next(iter(self._used))]

    async def _shut_out(self, websocket: WebSocket, address: str, refused: Refused) -> None:
        self.counters[refused.counter] += 1
        log.warning("media socket shut out", address=address, reason=str(refused))
        await goodbye(websocket, refused.code)


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _anybody(_: Attempt, __: StreamStarted) -> bool:
    return True


async def _nothing(_: Attempt, __: StreamStarted, ___: bool) -> None:
    return
