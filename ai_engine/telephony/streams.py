"""The WebSocket at which the sound of a call arrives as Twilio Media Streams, from whichever network speaks it."""

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from fastapi import APIRouter, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from ai_engine.errors import OffhookError, PeerError
from ai_engine.jobs.ports import Attempt, RouteContext, SignedRequest
from ai_engine.jobs.settings import Server
from ai_engine.jobs.status import Progress, Status
from ai_engine.protocol.media_streams import (
    LONGEST_MESSAGE,
    Event,
    Other,
    StreamConnected,
    StreamStarted,
    StreamStopped,
    parse_event,
)
from ai_engine.telephony.incoming import address_of, handshake, public_base
from ai_engine.telephony.stream_outbox import SLOW, Outbox

PATH = "/voice/stream"

NORMAL, PROTOCOL_ERROR, NOT_TEXT, REFUSED, TOO_LONG, INTERNAL, BUSY = 1000, 1002, 1003, 1008, 1009, 1011, 1013
"""Codes that a socket is closed with (RFC 6455, 7.4.1)."""

_MOST_BEFORE_START = 8
"""Messages."""

_MOST_IN_A_WINDOW = 3000
_WINDOW_SECONDS = 10.0
"""A stream has 50 messages a second; six times as many are a stall that has ended, more are an attack."""

_LINGER_SECONDS = 2.0
"""How long the last messages and the goodbye may take."""

_MOST_TOKENS = 4096

log = structlog.get_logger(__name__)


class StreamLeg(Protocol):
    """The call's end of a media stream. Both are called on the office's loop, and must return at once."""

    def received(self, event: Event) -> None:
        """All but ``StreamConnected`` and ``StreamStarted``, in order."""
        ...

    def ended(self, reason: str) -> None:
        """The socket is gone, whoever closed it; once, and last."""
        ...


class StreamDoor(Protocol):
    """Takes media streams in; implemented by whoever holds the calls."""

    def open(
        self, attempt: Attempt, start: StreamStarted, send: Callable[[str], None], close: Callable[[int], None]
    ) -> StreamLeg:
        """A stream that has shown its token. On the office's loop; must return at once.

        ``send`` and ``close`` may be called from any thread, and return at once: ``close`` takes a code of RFC 6455,
        and the socket is closed when all that was sent before is on its way. Raises OffhookError when no call can be
        taken.
        """
        ...


Validate = Callable[[SignedRequest, str], bool]
"""As ``Telephony.validate_request``."""

Admit = Callable[[Attempt, StreamStarted], bool]
"""Whether a stream that knows the token is the attempt's, as far as its network can tell more."""

Ended = Callable[[Attempt, StreamStarted, bool], Awaitable[None]]
"""A stream is over; the last says whether it was we who closed it, which is how the engine hangs up."""


@dataclass(frozen=True, slots=True)
class _Network:
    context: RouteContext
    validate: Validate
    admit: Admit
    ended: Ended


def add_stream_route(
    router: APIRouter,
    context: RouteContext,
    door: StreamDoor,
    settings: Server,
    validate: Validate,
    *,
    admit: Admit | None = None,
    ended: Ended | None = None,
) -> "MediaSockets":
    """Let a network's streams in at `/voice/stream`, beside those of other networks of the same router.

    ``validate`` decides before the socket is accepted. Returns what serves it, for its ``counters``.
    """
    network = _Network(context, validate, admit or _anybody, ended or _nothing)
    there = (getattr(route, "endpoint", None) for route in router.routes)
    sockets = next((endpoint for endpoint in there if isinstance(endpoint, MediaSockets)), None)
    if sockets is None:
        sockets = MediaSockets(door, settings)
        router.add_api_websocket_route(PATH, sockets)
    sockets.let_in(network)
    return sockets


class _Refused(Exception):
    """A socket that is closed with ``code`` and counted as ``counter``."""

    def __init__(self, code: int, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.counter = counter


class _Gone(Exception):
    """The peer closed, or its connection broke."""


class MediaSockets:
    """The endpoint: every media socket of a server, from the handshake to its end."""

    def __init__(self, door: StreamDoor, settings: Server) -> None:
        self.counters: Counter[str] = Counter()
        """``pending`` and ``open`` are now; all others count what has happened, by what it was."""
        self._door = door
        self._settings = settings
        self._networks: list[_Network] = []
        self._pending: Counter[str] = Counter()
        """By address."""
        self._used: dict[str, None] = {}
        """Attempts whose token was shown, the oldest first."""

    def let_in(self, network: _Network) -> None:
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

    def _valid(self, network: _Network, incoming: SignedRequest, peer: str) -> bool:
        urls = network.context.urls()
        base = public_base(self._settings, peer, incoming.headers, urls.public)
        return network.validate(incoming, base or urls.local)

    async def _deny(self, websocket: WebSocket, address: str, status: int, counter: str) -> None:
        self.counters[counter] += 1
        log.warning("media socket refused", address=address, status=status, reason=counter)
        await websocket.send_denial_response(Response(status_code=status))

    # -- until we know whose it is -----------------------------------------------------------------------------

    async def _serve(self, websocket: WebSocket, networks: list[_Network], address: str) -> None:
        self.counters["pending"] += 1
        self._pending[address] += 1
        try:
            await websocket.accept()
            async with asyncio.timeout(self._settings.start_seconds):
                network, attempt, start = await self._introduced(websocket, networks)
        except TimeoutError:
            await self._shut_out(websocket, address, _Refused(REFUSED, "start_timeouts", "said no call in time"))
            return
        except _Refused as refused:
            await self._shut_out(websocket, address, refused)
            return
        except _Gone:
            self.counters["gone_before_start"] += 1
            return
        finally:
            self.counters["pending"] -= 1
            self._pending[address] -= 1
            self._pending += Counter()  # forgets addresses with none
        self.counters["accepted"] += 1
        self.counters["open"] += 1
        try:
            await _Stream(self, websocket, network, attempt, start).run(self._door)
        finally:
            self.counters["open"] -= 1

    async def _introduced(
        self, websocket: WebSocket, networks: list[_Network]
    ) -> tuple[_Network, Attempt, StreamStarted]:
        for _ in range(_MOST_BEFORE_START):
            match await next_event(websocket):
                case StreamStarted() as start:
                    return *self._admitted(start, networks), start
                case StreamConnected() | Other():
                    continue
                case _:
                    raise _Refused(PROTOCOL_ERROR, "protocol_errors", "another message before start")
        raise _Refused(PROTOCOL_ERROR, "protocol_errors", "no start among its first messages")

    def _admitted(self, start: StreamStarted, networks: list[_Network]) -> tuple[_Network, Attempt]:
        call_id, token = start.parameters.get("callId", ""), start.parameters.get("token", "")
        found = [(network, attempt) for network in networks if (attempt := network.context.find(call_id)) is not None]
        if not found:
            raise _Refused(REFUSED, "unknown_calls", "no such call, or it is over")
        for network, attempt in found:
            if _same(token, attempt.token) and attempt.key not in self._used and network.admit(attempt, start):
                self._use_up(attempt.key)
                return network, attempt
        raise _Refused(REFUSED, "wrong_tokens", "a wrong token, one that was used, or another call's stream")

    def _use_up(self, key: str) -> None:
        self._used[key] = None
        if len(self._used) > _MOST_TOKENS:
            del self._used[next(iter(self._used))]

    async def _shut_out(self, websocket: WebSocket, address: str, refused: _Refused) -> None:
        self.counters[refused.counter] += 1
        log.warning("media socket shut out", address=address, reason=str(refused))
        await goodbye(websocket, refused.code)


class _Stream:
    """One media stream, from its start to its end."""

    def __init__(
        self, sockets: MediaSockets, websocket: WebSocket, network: _Network, attempt: Attempt, start: StreamStarted
    ) -> None:
        self._counters = sockets.counters
        self._websocket = websocket
        self._network = network
        self._attempt = attempt
        self._start = start
        self._outbox = Outbox()
        self._window_began = 0.0
        self._in_window = 0
        self._log = log.bind(call_id=attempt.call_id, attempt=attempt.number, stream_sid=start.stream_sid)

    async def run(self, door: StreamDoor) -> None:
        try:
            leg = door.open(self._attempt, self._start, self._outbox.send, self._outbox.close)
        except OffhookError as error:
            self._counters["not_taken"] += 1
            self._log.warning("media stream not taken", reason=str(error))
            await goodbye(self._websocket, BUSY)
            await self._network.ended(self._attempt, self._start, True)
            return
        self._log.info("media stream started")
        news = asyncio.create_task(self._tell_started())
        reason = "the server stops"
        try:
            reason = await self._carry(leg)
        finally:
            leg.ended(reason)
            self._log.info("media stream ended", reason=reason)
        await news
        await self._network.ended(self._attempt, self._start, self._outbox.close_code is not None)

    async def _carry(self, leg: StreamLeg) -> str:
        """Read and write until either ends; why it did."""
        jobs = {asyncio.create_task(self._read(leg)), asyncio.create_task(self._write())}
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
        code, reason = next(iter(done)).result()
        await goodbye(self._websocket, code)
        return reason

    async def _read(self, leg: StreamLeg) -> tuple[int, str]:
        try:
            while True:
                event = await next_event(self._websocket)
                self._note_pace()
                match event:
                    case StreamStarted():
                        raise _Refused(PROTOCOL_ERROR, "second_starts", "a second start")
                    case StreamConnected():
                        continue
                leg.received(event)
                if isinstance(event, StreamStopped):
                    self._counters["stopped"] += 1
                    return NORMAL, "stopped"
        except _Refused as refused:
            self._counters[refused.counter] += 1
            self._log.warning("media stream shut out", reason=str(refused))
            return refused.code, str(refused)
        except _Gone as gone:
            self._counters["gone"] += 1
            return NORMAL, str(gone)
        except Exception:  # noqa: BLE001 - the edge of a stream: what breaks one must not break another
            self._counters["faults"] += 1
            self._log.exception("media stream failed")
            return INTERNAL, "internal error"

    async def _write(self) -> tuple[int, str]:
        try:
            while (message := await self._outbox.next()) is not None:
                await self._websocket.send_text(message)
        except (WebSocketDisconnect, RuntimeError, OSError):  # RuntimeError: starlette, after a close
            return NORMAL, "closed by the peer"
        if self._outbox.overflowed:
            self._counters["slow_readers"] += 1
            self._log.warning("media stream shut out", reason=SLOW)
            return REFUSED, SLOW
        self._counters["closed_by_us"] += 1
        return self._outbox.close_code or NORMAL, "closed by us"

    async def _tell_started(self) -> None:
        attempt, context = self._attempt, self._network.context
        try:
            await asyncio.to_thread(context.report, attempt.call_id, attempt.number, Progress(Status.IN_PROGRESS))
            await asyncio.to_thread(context.note, attempt.call_id, "stream", self._start.stream_sid)
        except Exception:  # noqa: BLE001 - a store that fails must not end a conversation
            self._log.exception("the start of a media stream could not be noted")

    def _note_pace(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._window_began > _WINDOW_SECONDS:
            self._window_began, self._in_window = now, 0
        self._in_window += 1
        if self._in_window > _MOST_IN_A_WINDOW:
            raise _Refused(REFUSED, "floods", "too many messages")


async def next_event(websocket: WebSocket) -> Event:
    """What comes next. Raises _Gone and _Refused."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone(f"closed by the peer ({message.get('code', 1005)})")
    text = message.get("text")
    if text is None:
        raise _Refused(NOT_TEXT, "protocol_errors", "a binary message")
    if len(text) > LONGEST_MESSAGE:
        raise _Refused(TOO_LONG, "protocol_errors", f"a message of {len(text)} characters")
    try:
        return parse_event(text)
    except PeerError as error:
        raise _Refused(PROTOCOL_ERROR, "protocol_errors", str(error)) from error


async def goodbye(websocket: WebSocket, code: int) -> None:
    """Close, if that is still possible, and wait no longer than a peer deserves who may not read."""
    with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            await websocket.close(code)


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _anybody(_: Attempt, __: StreamStarted) -> bool:
    return True


async def _nothing(_: Attempt, __: StreamStarted, ___: bool) -> None:
    return
