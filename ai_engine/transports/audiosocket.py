"""The AudioSocket door: Asterisk's TCP connections, matched with the calls that expect them."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import cast
from uuid import UUID, uuid4

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.errors import PeerError
from ai_engine.protocol.audiosocket import (
    Audio,
    AudioSocketParser,
    Dtmf,
    Failure,
    HungUp,
    Message,
    Uuid,
    encode_audio,
    encode_hangup,
)
from ai_engine.session.ports import Expected, Line, Media
from ai_engine.transports.wheel import Seat, TimerWheel

_HIGH_WATER_BYTES = 64 * 1024
"""Four seconds of slin that the kernel would not take: the peer has stopped reading."""

_SLOW_SECONDS = 2.0
"""How long it may stay so."""

_SEND_BUFFER_BYTES = 16 * 1024
"""In the kernel, instead of megabytes that would hide for minutes that nobody reads."""

_BACKLOG_FRAMES = 10
"""200 ms: what is heard at once after a stall; older sound is stale."""

_LINGER_SECONDS = 1.0
"""How long a closing connection may take to hand over what was written."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AudioSocketSettings:
    """Where Asterisk connects to, and who may."""

    host: str = "127.0.0.1"
    port: int = 8090
    """0 takes any free port."""
    advertise: str = ""
    """``host:port`` that Asterisk is told to connect to, when it is not the one we listen on."""
    handshake_seconds: float = 2.0
    """A peer that has not said which call it is by then is dropped."""
    max_connections: int = 500
    allowed_peers: Sequence[str] = ("127.0.0.0/8", "::1/128")
    """Networks in CIDR notation."""
    rate: int = 8000
    """Of the sound in both directions; 8000 fits every Asterisk and every trunk."""


class AudioSocketListener:
    """Accepts connections under UUIDs that were invited, each once (a ``MediaListener``)."""

    def __init__(self, settings: AudioSocketSettings, wheel: TimerWheel) -> None:
        self.settings = settings
        self.wheel = wheel
        self.format = AudioFormat(settings.rate)
        self.silence = encode_audio(settings.rate, self.format.silence())
        self.counters = dict.fromkeys(
            (
                "accepted",
                "refused_peer",
                "refused_full",
                "refused_unknown_uuid",
                "handshake_timeouts",
                "protocol_errors",
                "slow_peers",
                "stale_frames",
                "faults",
            ),
            0,
        )
        self._allowed: list[IPv4Network | IPv6Network] = [ip_network(peer) for peer in settings.allowed_peers]
        self._invited: dict[UUID, asyncio.Future[Media]] = {}
        self._connections: set[AudioSocketConnection] = set()
        self._server: asyncio.Server | None = None
        self._address = ""

    @property
    def listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @property
    def address(self) -> str:
        """``host:port`` for Asterisk to connect to."""
        return self.settings.advertise or self._address

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises OSError when the address is not to be had."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        self._server = await loop.create_server(
            lambda: AudioSocketConnection(self), settings.host, settings.port, backlog=512
        )
        port = self._server.sockets[0].getsockname()[1]
        wildcards = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
        self._address = _host_port(wildcards.get(settings.host, settings.host), port)
        log.info(f"AudioSocket server listening {_host_port(settings.host, port)}")

    async def close(self) -> None:
        """Accept no more, end every connection, and wait until they are gone."""
        if self._server is None:
            return
        self._server.close()
        for invitation in self._invited.values():
            if not invitation.done():
                invitation.set_exception(PeerError("the AudioSocket server was closed"))
                invitation.exception()
        self._invited.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.lost.wait()
        await self._server.wait_closed()
        self._server = None

    def expect(self) -> Expected:
        """Invite one connection under a fresh UUID."""
        uuid = uuid4()
        invitation: asyncio.Future[Media] = asyncio.get_running_loop().create_future()
        self._invited[uuid] = invitation
        invitation.add_done_callback(lambda _: self._invited.pop(uuid, None))
        return Expected(uuid, self.address, self.format, invitation)

    def admit(self, connection: "AudioSocketConnection", peer: str) -> bool:
        """Whether a connection from ``peer`` may come in."""
        address = ip_address(peer.partition("%")[0])
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if not any(address in network for network in self._allowed):
            self.refuse("refused_peer", "peer not allowed", peer)
            return False
        if len(self._connections) >= self.settings.max_connections:
            self.refuse("refused_full", "too many connections", peer)
            return False
        self._connections.add(connection)
        return True

    def introduce(self, connection: "AudioSocketConnection", uuid: UUID) -> bool:
        """Hand the connection to the call that invited ``uuid``; False if none did, or it is taken."""
        invitation = self._invited.pop(uuid, None)
        if invitation is None or invitation.done():
            return False
        invitation.set_result(connection)
        return True

    def forget(self, connection: "AudioSocketConnection") -> None:
        self._connections.discard(connection)

    def refuse(self, counter: str, reason: str, peer: str) -> None:
        """Count and log why a peer was shut out."""
        self.counters[counter] += 1
        log.warning("AudioSocket connection refused", reason=reason, peer=peer)


class AudioSocketConnection(asyncio.Protocol):
    """One connection of Asterisk (a ``Media``): a frame leaves every 20 ms from accept until close, silence too."""

    def __init__(self, listener: AudioSocketListener) -> None:
        self.format = listener.format
        self.transport = "audiosocket"
        self.lost = asyncio.Event()
        """Set when the connection is gone."""
        self._listener = listener
        self._parser = AudioSocketParser()
        self._framer = Framer(listener.format)
        self._line: Line | None = None
        self._uuid: UUID | None = None
        self._end: str | None = None
        """Why the connection ends, once it does; the first reason stands."""
        self._closed_by_us = False
        self._peer = ""
        self._tcp: asyncio.Transport
        self._seat: Seat | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Of the handshake, then of a peer that does not read, at last of closing."""

    # -- Media ------------------------------------------------------------------------------------------------

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        if self._closed_by_us:
            return
        self._line = line
        if self.lost.is_set():
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def close(self) -> None:
        """Ask Asterisk to end its side and close; ``line`` is not called again."""
        self._closed_by_us = True
        self._line = None
        if self._end is None:
            self._finish("closed by us")
            self._tcp.write(encode_hangup())
            self._close_tcp()

    # -- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        host, port = self._tcp.get_extra_info("peername")[:2]
        self._peer = _host_port(host, port)
        if not self._listener.admit(self, host):
            self._end = "refused"
            self._tcp.close()
            return
        sock = self._tcp.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._tcp.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._seat = self._listener.wheel.join(self._send_frame, self._fault)
        self._set_timer(self._listener.settings.handshake_seconds, self._handshake_timed_out)
        self._listener.counters["accepted"] += 1

    def data_received(self, data: bytes) -> None:
        if self._end is not None:
            return
        try:
            messages = self._parser.feed(data)
            stale = sum(isinstance(message, Audio) for message in messages) - _BACKLOG_FRAMES
            for message in messages:
                if stale > 0 and isinstance(message, Audio):
                    stale -= 1
                    self._listener.counters["stale_frames"] += 1
                else:
                    self._handle(message)
                if self._end is not None:
                    return
        except PeerError as error:
            self._shut_out("protocol_errors", str(error))

    def pause_writing(self) -> None:
        if self._end is None:
            self._set_timer(_SLOW_SECONDS, self._too_slow)

    def resume_writing(self) -> None:
        if self._end is None:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"connection lost: {exc}" if exc else "closed by Asterisk")
        self._stop_timer()
        self._listener.forget(self)
        self.lost.set()
        log.info("AudioSocket connection closed", peer=self._peer, reason=self._end)
        self._tell_lost()

    # -- what happens on it -----------------------------------------------------------------------------------

    def _send_frame(self) -> None:
        frame = self._line.next_frame() if self._line is not None else None
        if self._end is None:
            self._tcp.write(self._listener.silence if frame is None else encode_audio(self.format.rate, frame))

    def _handle(self, message: Message) -> None:
        if self._uuid is None:
            self._identify(message)
            return
        match message:
            case Audio(rate, pcm):
                if rate != self.format.rate:
                    raise PeerError(f"sound at {rate} Hz where {self.format.rate} Hz was agreed")
                for frame in self._framer.push(pcm):
                    if self._line is not None:
                        self._line.frame_received(frame)
            case Dtmf(digit):
                if self._line is not None:
                    self._line.digit_received(digit)
            case HungUp():
                self._leave("hung up by Asterisk")
            case Failure(code):
                self._leave(f"Asterisk reported error {code}")
            case Uuid():
                raise PeerError("a second uuid")

    def _identify(self, message: Message) -> None:
        if not isinstance(message, Uuid):
            raise PeerError(f"{type(message).__name__} before the uuid")
        self._uuid = message.uuid
        self._stop_timer()
        if self._listener.introduce(self, message.uuid):
            log.info("AudioSocket connection accepted", call_id=str(message.uuid), peer=self._peer)
        else:
            self._shut_out("refused_unknown_uuid", f"unknown uuid {message.uuid}")

    def _handshake_timed_out(self) -> None:
        self._shut_out("handshake_timeouts", "no uuid in time")

    def _too_slow(self) -> None:
        self._shut_out("slow_peers", "peer does not read")
        self._tcp.abort()

    def _fault(self, error: Exception) -> None:
        log.error("AudioSocket connection failed", peer=self._peer, exc_info=error)
        self._listener.counters["faults"] += 1
        self._leave(f"internal error: {error!r}")

    def _shut_out(self, counter: str, reason: str) -> None:
        if self._end is None:
            self._listener.refuse(counter, reason, self._peer)
            self._leave(reason)

    def _leave(self, reason: str) -> None:
        self._finish(reason)
        self._close_tcp()

    def _close_tcp(self) -> None:
        self._tcp.close()
        self._set_timer(_LINGER_SECONDS, self._tcp.abort)

    def _finish(self, reason: str) -> None:
        """Send no more."""
        if self._end is None:
            self._end = reason
        if self._seat is not None:
            self._seat.leave()

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


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
