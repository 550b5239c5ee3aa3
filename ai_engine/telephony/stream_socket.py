"""One media stream, from the start that was let in to its end: what is read, what is written, and who is told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from ai_engine.errors import OffhookError, PeerError
from ai_engine.jobs.ports import Attempt, RouteContext, SignedRequest
from ai_engine.jobs.status import Progress, Status
from ai_engine.protocol.media_streams import (
    LONGEST_MESSAGE,
    Event,
    StreamConnected,
    StreamStarted,
    StreamStopped,
    parse_event,
)
from ai_engine.telephony.stream_outbox import LINGER_SECONDS, SLOW, Outbox

NORMAL, PROTOCOL_ERROR, NOT_TEXT, REFUSED, TOO_LONG, INTERNAL, BUSY = 1000, 1002, 1003, 1008, 1009, 1011, 1013
"""Codes that a socket is closed with (RFC 6455, 7.4.1)."""

_MOST_IN_A_WINDOW = 3000
_WINDOW_SECONDS = 10.0
"""A stream has 50 messages a second; six times as many are a stall that has ended, more are an attack."""

_BY_US = "closed by us"

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
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> StreamLeg:
        """A stream that has shown its token. On the office's loop; must return at once.

        ``send``, ``close`` and ``hand_over`` may be called from any thread, and return at once: ``close`` takes a code
        of RFC 6455, and the socket is closed when all that was sent before is on its way. ``hand_over`` has the network
        connect whoever is at the other end with a human, which ends the stream; its future has CannotCall where that
        fails. None: the network knows no human. Raises OffhookError when no call can be taken.
        """
        ...


Validate = Callable[[SignedRequest, str], bool]
"""As ``Telephony.validate_request``."""

Admit = Callable[[Attempt, StreamStarted], bool]
"""Whether a stream that knows the token is the attempt's, as far as its network can tell more."""

Ended = Callable[[Attempt, StreamStarted, bool], Awaitable[None]]
"""A stream is over; the last says whether it was we who closed it, which is how the engine hangs up."""

HandOver = Callable[[Attempt, StreamStarted], Coroutine[Any, Any, None]]
"""Connect the other end of a stream, which is thereby over, with a human. Raises CannotCall."""


@dataclass(frozen=True, slots=True)
class Network:
    """One whose streams are let in."""

    context: RouteContext
    validate: Validate
    admit: Admit
    ended: Ended
    hand_over: HandOver | None = None
    """None where there is no human."""
    door: StreamDoor | None = None
    """Its own, in place of that of the network that came first."""


class Refused(Exception):
    """A socket that is closed with ``code`` and counted as ``counter``."""

    def __init__(self, code: int, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.counter = counter


class Gone(Exception):
    """The peer closed, or its connection broke."""


class Stream:
    """One media stream, from its start to its end."""

    def __init__(
        self,
        counters: Counter[str],
        websocket: WebSocket,
        network: Network,
        attempt: Attempt,
        start: StreamStarted,
    ) -> None:
        """``counters`` are those of all streams."""
        self._counters = counters
        self._websocket = websocket
        self._network = network
        self._attempt = attempt
        self._start = start
        self._outbox = Outbox()
        self._window_began = 0.0
        self._in_window = 0
        self._log = log.bind(call_id=attempt.call_id, attempt=attempt.number, stream_sid=start.stream_sid)

    async def run(self, door: StreamDoor) -> None:
        hand_over = None if self._network.hand_over is None else self._in_office(self._network.hand_over)
        try:
            leg = door.open(self._attempt, self._start, self._outbox.send, self._outbox.close, hand_over)
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
        await self._network.ended(self._attempt, self._start, reason == _BY_US)

    def _in_office(self, hand_over: HandOver) -> Callable[[], Future[None]]:
        office = asyncio.get_running_loop()
        return lambda: asyncio.run_coroutine_threadsafe(hand_over(self._attempt, self._start), office)

    async def _carry(self, leg: StreamLeg) -> str:
        """Read and write until either ends; why it did."""
        jobs = {asyncio.create_task(job) for job in (self._read(leg), self._write(), self._overflow())}
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
                        raise Refused(PROTOCOL_ERROR, "second_starts", "a second start")
                    case StreamConnected():
                        continue
                leg.received(event)
                if isinstance(event, StreamStopped):
                    self._counters["stopped"] += 1
                    return NORMAL, "stopped"
        except Refused as refused:
            self._counters[refused.counter] += 1
            self._log.warning("media stream shut out", reason=str(refused))
            return refused.code, str(refused)
        except Gone as gone:
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
        return self._closed()

    def _closed(self) -> tuple[int, str]:
        self._counters["closed_by_us"] += 1
        return self._outbox.close_code or NORMAL, _BY_US

    async def _overflow(self) -> tuple[int, str]:
        await self._outbox.overflowed.wait()
        if self._outbox.close_code is not None:
            return self._closed()
        self._counters["slow_readers"] += 1
        self._log.warning("media stream shut out", reason=SLOW)
        return REFUSED, SLOW

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
            raise Refused(REFUSED, "floods", "too many messages")


async def next_event(websocket: WebSocket) -> Event:
    """What comes next. Raises Gone and Refused."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise Gone(f"closed by the peer ({message.get('code', 1005)})")
    text = message.get("text")
    if text is None:
        raise Refused(NOT_TEXT, "protocol_errors", "a binary message")
    if len(text) > LONGEST_MESSAGE:
        raise Refused(TOO_LONG, "protocol_errors", f"a message of {len(text)} characters")
    try:
        return parse_event(text)
    except PeerError as error:
        raise Refused(PROTOCOL_ERROR, "protocol_errors", str(error)) from error


async def goodbye(websocket: WebSocket, code: int) -> None:
    """Close, if that is still possible, and wait no longer than a peer deserves who may not read."""
    with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await websocket.close(code)
