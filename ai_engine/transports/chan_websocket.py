"""The chan_websocket way: we connect to Asterisk's media WebSocket, Asterisk keeps the time and a queue for us."""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

import structlog
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ai_engine.audio.format import FRAME_MS, SAMPLE_BYTES, AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.errors import PeerError
from ai_engine.protocol.chan_websocket import (
    CONNECTION_ID_FACT,
    SUBPROTOCOL,
    DigitEnded,
    Failed,
    Full,
    HasRoom,
    Lookahead,
    MarkProcessed,
    MediaStarted,
    parse_event,
)
from ai_engine.session.ports import Leg, Line, Topology
from ai_engine.transports.wheel import Seat, TimerWheel

_CODECS = {8000: "slin", 16000: "slin16"}
"""By rate, in Asterisk's words."""

_HIGH_WATER_BYTES = 64 * 1024
"""Two to four seconds of sound that the kernel would not take: the peer has stopped reading."""

_SLOW_SECONDS = 2.0
"""How long it may stay so, and how long Asterisk's queue may stay full."""

_SEND_BUFFER_BYTES = 16 * 1024
"""In the kernel, instead of megabytes that would hide for minutes that nobody reads."""

_LONGEST_MESSAGE = 64 * 1024
"""Bytes; a frame of sound has 640, an event with all channel variables a few thousand."""

_BACKLOG_FRAMES = 10
"""200 ms: what is heard at once after a stall; older sound is stale."""

_LINGER_SECONDS = 1.0
"""How long Asterisk may take to say goodbye."""

_LOGGED_ERRORS = 5
"""Of one connection."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChanWebSocketSettings:
    """Where Asterisk's HTTP server is, and how far ahead of time it is sent sound."""

    url: str = "ws://127.0.0.1:8088"
    """``ws://`` or ``wss://``, host, port, and Asterisk's ``prefix`` if it has one; ``/media/…`` is added."""
    ahead_ms: int = 100
    """60 to 200: what bridges our hitches, and is taken back when the agent is interrupted."""
    connect_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence that names the setting."""
        try:
            plain = parse_uri(self.url).query == ""
        except (InvalidURI, ValueError):
            plain = False
        if not plain:
            raise ValueError(f"url: {self.url!r} is not like ws://host:8088 or wss://host:8089/prefix")
        if not 60 <= self.ahead_ms <= 200:
            raise ValueError(f"ahead_ms: {self.ahead_ms} is not from 60 to 200")
        if not self.connect_seconds > 0:
            raise ValueError(f"connect_seconds: {self.connect_seconds} is not above 0")


class ChanWebSocketTransport:
    """Connects to the media WebSockets Asterisk offers, one for each leg (a ``Transport``)."""

    name = "websocket"
    topology = Topology.BRIDGED

    def __init__(self, settings: ChanWebSocketSettings, wheel: TimerWheel) -> None:
        self.settings = settings
        self.wheel = wheel
        self.counters = dict.fromkeys(
            (
                "connected",
                "refused",
                "protocol_errors",
                "asterisk_errors",
                "xoff",
                "slow_peers",
                "stale_frames",
                "faults",
            ),
            0,
        )
        self.tls = ssl.create_default_context() if parse_uri(settings.url).secure else None
        self._connections: set[ChanWebSocketConnection] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        return len(self._connections)

    def invite(self, format: AudioFormat) -> "ChanWebSocketInvitation":
        """Get ready for one connection; ``format`` is 8000 or 16000 Hz, for others it raises ValueError."""
        codec = _CODECS.get(format.rate)
        if codec is None:
            raise ValueError(f"no media WebSocket at {format.rate} Hz")
        leg = Leg(uuid4(), codec, "INCOMING", "none", "websocket", "server", transport_data="f(json)")
        return ChanWebSocketInvitation(self, format, leg)

    async def close(self) -> None:
        """Connect no more, end every connection, and wait until they are gone."""
        self._closed = True
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.lost.wait()

    def admit(self, connection: "ChanWebSocketConnection") -> None:
        """Raises PeerError after ``close``."""
        if self._closed:
            raise PeerError("no media WebSocket is opened any more, the engine is stopping")
        self._connections.add(connection)

    def forget(self, connection: "ChanWebSocketConnection") -> None:
        self._connections.discard(connection)


class ChanWebSocketInvitation:
    """One leg on which Asterisk waits for us (an ``Invitation``)."""

    def __init__(self, transport: ChanWebSocketTransport, format: AudioFormat, leg: Leg) -> None:
        self.leg = leg
        self._transport = transport
        self._format = format
        self._connection: ChanWebSocketConnection | None = None
        self._withdrawn = False

    async def connected(self, facts: Mapping[str, str]) -> "ChanWebSocketConnection":
        """Connect and wait for ``MEDIA_START``; raises PeerError with a plain sentence."""
        if self._withdrawn or self._connection is not None:
            raise PeerError("this media leg is taken or was given up")
        id = facts.get(CONNECTION_ID_FACT, "")
        if not re.fullmatch(r"[\w.-]+", id, re.ASCII):
            raise PeerError(f"Asterisk named no {CONNECTION_ID_FACT} for the media leg")
        connection = ChanWebSocketConnection(self._transport, self._format, self.leg.codec, id)
        self._transport.admit(connection)
        self._connection = connection
        try:
            await connection.dial()
        except PeerError as error:
            self._transport.counters["refused"] += 1
            log.warning("media WebSocket refused", peer=connection.peer, connection_id=id, reason=str(error))
            raise
        finally:
            if not connection.open:
                connection.close()
        return connection

    def withdraw(self) -> None:
        """Connect no more, and close what is connected; may be called more than once."""
        self._withdrawn = True
        if self._connection is not None:
            self._connection.close()


class ChanWebSocketConnection(asyncio.Protocol):
    """One media WebSocket (a ``Media``): sound leaves from ``MEDIA_START`` until close, silence too."""

    def __init__(self, door: ChanWebSocketTransport, format: AudioFormat, codec: str, id: str) -> None:
        self.format = format
        self.transport = door.name
        self.lost = asyncio.Event()
        """Set when the connection is gone."""
        self._door = door
        self._codec = codec
        self._id = id
        self._uri = parse_uri(f"{door.settings.url.rstrip('/')}/media/{id}")
        self.peer = f"{self._uri.host}:{self._uri.port}"
        self._ws = ClientProtocol(self._uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=_LONGEST_MESSAGE)
        self._ws.debug = False  # it would log every frame
        self._framer = Framer(format)
        self._lookahead = Lookahead(door.settings.ahead_ms, format.silence())
        self._text: bytearray | None = None
        """The pieces of a text message that has not ended."""
        self._line: Line | None = None
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tcp: asyncio.Transport | None = None
        self._seat: Seat | None = None
        self._end: str | None = None
        """Why the connection ends, once it does; the first reason stands."""
        self._closed_by_us = False
        self._full = False
        """Asterisk's queue takes no more."""
        self._unread = False
        """Asterisk does not read what we write."""
        self._errors = 0
        self._timer: asyncio.TimerHandle | None = None
        """Of a peer that takes nothing, at last of closing."""

    @property
    def open(self) -> bool:
        """Whether sound flows."""
        return self._seat is not None and self._end is None

    async def dial(self) -> None:
        """Connect and wait for ``MEDIA_START``; only once. Raises PeerError."""
        loop, seconds = asyncio.get_running_loop(), self._door.settings.connect_seconds
        try:
            async with asyncio.timeout(seconds):
                await loop.create_connection(lambda: self, self._uri.host, self._uri.port, ssl=self._door.tls)
                await self._started
        except TimeoutError:
            self._leave(f"Asterisk's media WebSocket at {self.peer} did not answer within {seconds:g} s")
        except (OSError, UnicodeError) as error:
            self._leave(f"Asterisk's media WebSocket at {self.peer} cannot be reached: {error}")
        finally:
            if self._tcp is None:  # what was never made is never lost
                self._finish("given up")
                self._gone()
        if self._end is not None:
            raise PeerError(self._end)

    # -- Media ------------------------------------------------------------------------------------------------

    @property
    def lag_ms(self) -> float:
        """How much later than ``next_frame`` gave it a frame is played; measured while we speak, to about a frame."""
        return self._lookahead.lag_ms

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        if self._closed_by_us:
            return
        self.flush()
        self._line = line
        if self.lost.is_set():
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def flush(self) -> None:
        """Have Asterisk forget what it was sent early; what is due from now on is sent as ever."""
        if self.open:
            self._send(self._lookahead.flush())

    def close(self) -> None:
        """Say goodbye and close; ``line`` is not called again."""
        self._closed_by_us = True
        self._line = None
        self._leave("closed by us", CloseCode.NORMAL_CLOSURE)

    # -- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        if self._end is not None:
            self._tcp.abort()
            return
        sock = self._tcp.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._tcp.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._ws.send_request(self._ws.connect())
        self._write()

    def data_received(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        events = ws.events_received()
        self._write()  # a pong, or the answer to a goodbye
        try:
            self._handle(events)
        except PeerError as error:
            self._shut_out("protocol_errors", str(error))
        if ws.handshake_exc is not None:
            self._leave(_refusal(ws.handshake_exc))
        if ws.parser_exc is not None:
            self._shut_out("protocol_errors", f"no WebSocket: {ws.parser_exc}")
        if ws.close_rcvd is not None:
            self._leave(f"closed by Asterisk ({ws.close_rcvd})")
            self._close_tcp()

    def pause_writing(self) -> None:
        self._unread = True
        self._watch_patience()

    def resume_writing(self) -> None:
        self._unread = False
        self._watch_patience()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"connection lost: {exc}" if exc else "closed by Asterisk")
        self._stop_timer()
        self._gone()
        log.info("media WebSocket closed", connection_id=self._id, peer=self.peer, reason=self._end)

    # -- what arrives -----------------------------------------------------------------------------------------

    def _handle(self, events: list[Event]) -> None:
        frames = [event for event in events if isinstance(event, Frame)]
        stale = sum(frame.opcode is Opcode.BINARY for frame in frames) - _BACKLOG_FRAMES
        for frame in frames:
            if self._end is not None:
                return
            if frame.opcode is Opcode.BINARY and stale > 0:
                stale -= 1
                self._door.counters["stale_frames"] += 1
            else:
                self._read(frame)

    def _read(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY or (frame.opcode is Opcode.CONT and self._text is None):
            self._hear(bytes(frame.data), frame.fin)
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self._obey(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self._text = bytearray(frame.data)
        elif frame.opcode is Opcode.CONT and self._text is not None:
            self._text += frame.data
            if frame.fin:
                text, self._text = bytes(self._text), None
                self._obey(text)

    def _hear(self, pcm: bytes, complete: bool) -> None:
        if self._seat is None:
            raise PeerError("sound before MEDIA_START")
        for frame in self._framer.push(pcm):
            if self._line is not None:
                self._line.frame_received(frame)
        if complete and self._framer.waiting_bytes % SAMPLE_BYTES:
            raise PeerError("a message that ends inside a sample")

    def _obey(self, message: bytes) -> None:
        event = parse_event(message)
        if self._seat is None:
            self._start(event)
            return
        match event:
            case MarkProcessed(id):
                self._lookahead.mark_processed(id, time.monotonic())
            case DigitEnded(digit):
                if self._line is not None:
                    self._line.digit_received(digit)
            case Full():
                self._door.counters["xoff"] += 1
                self._full = True
                self._watch_patience()
            case HasRoom():
                self._full = False
                self._watch_patience()
            case Failed(text):
                self._note_error(text)
            case MediaStarted():
                raise PeerError("a second MEDIA_START")

    def _start(self, event: object) -> None:
        if not isinstance(event, MediaStarted):
            raise PeerError("the first message was not MEDIA_START")
        if event.connection_id != self._id:
            raise PeerError("MEDIA_START is for another connection")
        offered = (event.format, event.frame_bytes, event.ptime)
        if offered != (self._codec, self.format.frame_bytes, FRAME_MS):
            raise PeerError(
                f"Asterisk speaks {event.format} in frames of {event.frame_bytes} bytes and {event.ptime} ms,"
                f" not the {self._codec} it was asked for"
            )
        settings = self._door.settings
        self._lookahead = Lookahead(settings.ahead_ms, self.format.silence(), is_json=event.is_json)
        self._seat = self._door.wheel.join(self._tick, self._fault)
        self._door.counters["connected"] += 1
        log.info("media WebSocket open", connection_id=self._id, peer=self.peer)
        if not self._started.done():
            self._started.set_result(None)

    def _note_error(self, text: str) -> None:
        self._door.counters["asterisk_errors"] += 1
        self._errors += 1
        if self._errors <= _LOGGED_ERRORS:
            log.warning("Asterisk reports an error on a media WebSocket", connection_id=self._id, error=text)

    # -- what leaves ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._full:
            return
        messages = self._lookahead.tick(self._line, self._door.wheel.last_tick)
        if self._end is None:
            self._send(messages)

    def _send(self, messages: list[str | bytes]) -> None:
        for message in messages:
            if isinstance(message, str):
                self._ws.send_text(message.encode())
            else:
                self._ws.send_binary(message)
        self._write()

    def _write(self) -> None:
        if (data := b"".join(self._ws.data_to_send())) and self._tcp is not None:
            self._tcp.write(data)

    # -- the end ----------------------------------------------------------------------------------------------

    def _watch_patience(self) -> None:
        if self._end is not None:
            return
        if not (self._full or self._unread):
            self._stop_timer()
        elif self._timer is None:
            self._set_timer(_SLOW_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._shut_out("slow_peers", "Asterisk's queue stays full" if self._full else "peer does not read")
        if self._tcp is not None:
            self._tcp.abort()

    def _fault(self, error: Exception) -> None:
        log.error("media WebSocket failed", connection_id=self._id, peer=self.peer, exc_info=error)
        self._door.counters["faults"] += 1
        self._leave(f"internal error: {error!r}", CloseCode.INTERNAL_ERROR)

    def _shut_out(self, counter: str, reason: str) -> None:
        if self._end is None:
            self._door.counters[counter] += 1
            log.warning("media WebSocket shut out", connection_id=self._id, peer=self.peer, reason=reason)
            self._leave(reason, CloseCode.PROTOCOL_ERROR)
            self._close_tcp()

    def _leave(self, reason: str, code: CloseCode = CloseCode.GOING_AWAY) -> None:
        """Say goodbye, if we are on speaking terms, and wait a moment for Asterisk to close."""
        if self._end is not None:
            return
        self._finish(reason)
        if self._ws.state is not State.OPEN:
            self._close_tcp()
        elif self._tcp is not None:
            self._ws.send_close(code)
            self._write()
            self._set_timer(_LINGER_SECONDS, self._tcp.abort)

    def _close_tcp(self) -> None:
        if self._tcp is not None and not self._tcp.is_closing():
            self._tcp.close()
            self._set_timer(_LINGER_SECONDS, self._tcp.abort)

    def _finish(self, reason: str) -> None:
        """Send no more."""
        if self._end is None:
            self._end = reason
        if self._seat is not None:
            self._seat.leave()
        if not self._started.done():
            self._started.set_exception(PeerError(self._end))
            self._started.exception()  # nobody may be waiting for it

    def _gone(self) -> None:
        self._door.forget(self)
        self.lost.set()
        self._tell_lost()

    def _tell_lost(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.media_lost(self._end or "")

    def _set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, callback)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _refusal(error: Exception) -> str:
    if not isinstance(error, InvalidStatus):
        return f"what answers is no media WebSocket: {error}"
    status = error.response.status_code
    why = {404: "knows no such connection", 409: "says the connection is taken"}.get(status, "refuses the connection")
    return f"Asterisk {why} (HTTP {status})"
