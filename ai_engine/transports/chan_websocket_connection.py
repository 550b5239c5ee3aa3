"""One media WebSocket: what is sent, what is heard, and every way it can end."""

import asyncio
import time
from ssl import SSLContext
from typing import Protocol, cast

import structlog
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ai_engine.audio.format import FRAME_MS, SAMPLE_BYTES, AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.errors import PeerError
from ai_engine.protocol.chan_websocket import (
    SUBPROTOCOL,
    DigitEnded,
    Failed,
    Full,
    HasRoom,
    MarkProcessed,
    MediaStarted,
    parse_event,
)
from ai_engine.protocol.lookahead import Lookahead
from ai_engine.session.ports import Line
from ai_engine.transports.attached import Attached
from ai_engine.transports.tcp import LINGER_SECONDS, SLOW_SECONDS, Timer, tune, without_stale
from ai_engine.transports.wheel import Seat, TimerWheel

NAME = "websocket"

COUNTERS = ("accepted", "protocol_errors", "asterisk_errors", "xoff", "slow_peers", "stale_frames", "faults")
"""``asterisk_errors`` are what Asterisk said it could not do, ``xoff`` how often its queue was full."""

_LONGEST_MESSAGE = 64 * 1024
"""Bytes; a frame of sound has 640, an event with all channel variables a few thousand."""

_LOGGED_ERRORS = 5
"""Of one connection."""

log = structlog.get_logger()


class Door(Protocol):
    """What a connection asks of the transport that made it."""

    wheel: TimerWheel
    counters: dict[str, int]
    """With the keys of ``COUNTERS``."""
    ahead_ms: int
    tls: SSLContext | None
    """For ``wss``."""

    def forget(self, connection: "ChanWebSocketConnection") -> None:
        """It is gone."""
        ...


class ChanWebSocketConnection(Attached, asyncio.Protocol):
    """One media WebSocket (a ``Media``): sound leaves from ``MEDIA_START`` until close, silence too."""

    transport = NAME

    def __init__(self, door: Door, url: str, id: str, format: AudioFormat, codec: str) -> None:
        """``url`` is the one of the connection that Asterisk named ``id``, and ``codec`` is ``format`` in its words."""
        super().__init__()
        self.format = format
        self.lost = asyncio.Event()
        """Set when the connection is gone."""
        self._door = door
        self._codec = codec
        self._id = id
        self._uri = parse_uri(url)
        self.peer = f"{self._uri.host}:{self._uri.port}"
        self._ws = ClientProtocol(self._uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=_LONGEST_MESSAGE)
        self._ws.debug = False  # it would log every frame
        self._framer = Framer(format)
        self._lookahead = Lookahead(door.ahead_ms, format.silence())
        self._text: bytearray | None = None
        """The pieces of a text message that has not ended."""
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tcp: asyncio.Transport | None = None
        self._seat: Seat | None = None
        self._full = False
        """Asterisk's queue takes no more."""
        self._unread = False
        """Asterisk does not read what we write."""
        self._errors = 0
        self._timer = Timer()
        """Of a peer that takes nothing, at last of closing."""

    @property
    def open(self) -> bool:
        """Whether sound flows."""
        return self._seat is not None and self._end is None

    async def dial(self, seconds: float) -> None:
        """Connect and wait for ``MEDIA_START``, all within ``seconds``; only once. Raises PeerError."""
        loop = asyncio.get_running_loop()
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
                self._forget()
        if self._end is not None:
            raise PeerError(self._end)

    # -- Media ------------------------------------------------------------------------------------------------

    @property
    def lag_ms(self) -> float:
        """How much later than ``next_frame`` gave it a frame is played; measured while we speak, to about a frame."""
        return self._lookahead.lag_ms

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        if self.open:
            self._send(self._lookahead.flush())  # what another line announced
        super().attach(line)

    def flush(self) -> None:
        """Have Asterisk forget what it was sent early, but for the end of a sound that is to die away."""
        if self.open:
            self._send(self._lookahead.flush(self._line, time.monotonic()))

    def close(self) -> None:
        """Say goodbye and close; ``line`` is not called again."""
        self._let_go()
        self._leave("closed by us", CloseCode.NORMAL_CLOSURE)

    # -- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        if self._end is not None:
            self._tcp.abort()
            return
        tune(self._tcp)
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
        self._timer.stop()
        self._forget()
        log.info("media WebSocket closed", connection_id=self._id, peer=self.peer, reason=self._end)

    # -- what arrives -----------------------------------------------------------------------------------------

    def _handle(self, events: list[Event]) -> None:
        fresh = without_stale(events, _is_sound)
        if len(fresh) < len(events):
            self._door.counters["stale_frames"] += len(events) - len(fresh)
        for event in fresh:
            if self._end is not None:
                return
            if isinstance(event, Frame):
                self._read(event)

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
        self._lookahead = Lookahead(self._door.ahead_ms, self.format.silence(), is_json=event.is_json)
        self._seat = self._door.wheel.join(self._tick, self._fault)
        self._door.counters["accepted"] += 1
        log.info("media WebSocket accepted", connection_id=self._id, peer=self.peer)
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
        if not messages:
            return
        for message in messages:
            if isinstance(message, str):
                self._ws.send_text(message.encode())
            else:
                self._ws.send_binary(message)
        self._write()

    def _write(self) -> None:
        """All in one piece: one system call."""
        waiting = self._ws.data_to_send()
        if waiting and self._tcp is not None and (data := b"".join(waiting)):
            self._tcp.write(data)

    # -- the end ----------------------------------------------------------------------------------------------

    def _watch_patience(self) -> None:
        if self._end is not None:
            return
        if not (self._full or self._unread):
            self._timer.stop()
        elif not self._timer.running:
            self._timer.set(SLOW_SECONDS, self._too_slow)

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
            self._timer.set(LINGER_SECONDS, self._tcp.abort)

    def _close_tcp(self) -> None:
        if self._tcp is not None and not self._tcp.is_closing():
            self._tcp.close()
            self._timer.set(LINGER_SECONDS, self._tcp.abort)

    def _finish(self, reason: str) -> None:
        """Send no more."""
        if self._end is None:
            self._end = reason
        if self._seat is not None:
            self._seat.leave()
        if not self._started.done():
            self._started.set_exception(PeerError(self._end))
            self._started.exception()  # nobody may be waiting for it

    def _forget(self) -> None:
        self._door.forget(self)
        self.lost.set()
        self._tell_lost()


def _is_sound(event: Event) -> bool:
    return isinstance(event, Frame) and event.opcode is Opcode.BINARY


def _refusal(error: Exception) -> str:
    if not isinstance(error, InvalidStatus):
        return f"what answers is no media WebSocket: {error}"
    status = error.response.status_code
    why = {404: "knows no such connection", 409: "says the connection is taken"}.get(status, "refuses the connection")
    return f"Asterisk {why} (HTTP {status})"
