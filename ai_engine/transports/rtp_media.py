"""One call's sound as RTP: a jitter buffer towards the call, and a packet to Asterisk every 20 ms."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from math import inf
from typing import Any, Protocol, cast

import structlog

from ai_engine.audio.format import FRAME_MS, SLIN8, AudioFormat
from ai_engine.audio.jitter import COUNTERS as JITTER_COUNTERS
from ai_engine.audio.jitter import JitterBuffer
from ai_engine.audio.resample import Resampler
from ai_engine.errors import PeerError
from ai_engine.protocol.rtp import RtpWriter, is_rtcp, parse_rtp, swap_bytes
from ai_engine.transports.attached import Attached
from ai_engine.transports.wheel import Seat, TimerWheel

NAME = "legacy"

COUNTERS = (
    "accepted",
    "strangers",
    "rtcp",
    "malformed",
    "wrong_payload",
    "wrong_size",
    "unreachable",
    "unsent",
    "withheld",
    "silent_legs",
    "faults",
    *JITTER_COUNTERS,
)
"""``strangers`` are packets from elsewhere than the peer, ``unreachable`` what did not arrive there, ``unsent`` what
the kernel had no room for, ``withheld`` silence that was not sent so that Asterisk catches up."""

_WIRE = SLIN8
"""Asterisk plays 16-bit sound over RTP at 8000 Hz only; at 16000 Hz (``slin16``) nothing is heard."""

_PAYLOAD_TYPE = 10
"""What Asterisk sends for ``slin``, and takes; in RFC 3551 it is something else."""

_PAYLOAD_TYPES = (_PAYLOAD_TYPE, 11)
"""11 is as near as RFC 3551 comes to it, and Asterisk takes it as ``slin`` too."""

_SILENCE = _WIRE.silence()
_FRAME_SECONDS = FRAME_MS / 1000

_WHISPER_MS = 13.0
"""Measured on Asterisk 22: 3 to 23 ms in one call or another, and the same all through a call."""

_HITCH_SECONDS = 0.015
"""Ticks that are nearer to each other: the first was late, and Asterisk did without its frame. What it then has too
much waits in its whisper queue, and delays all that follows, for as long as as much comes as is played."""

_SPARE_FRAMES = 2
"""How many may wait there after a hitch."""

_WITHHOLD_TICKS = 5
"""One in so many silent frames is withheld until the queue must have drained. In silence nobody hears a hole."""

_MOST_REFUSALS = 10
"""In a row (200 ms): nobody listens there any more."""

log = structlog.get_logger()


class Door(Protocol):
    """What a connection asks of the transport that made it."""

    wheel: TimerWheel
    clock: Callable[[], float]
    """The one of ``wheel``."""
    counters: dict[str, int]
    """With the keys of ``COUNTERS``, shared by all calls."""
    silence_seconds: float


class RtpMedia(Attached, asyncio.DatagramProtocol):
    """A ``Media`` on a socket that is connected to its peer; from ``open`` until its end it sends, silence too."""

    transport = NAME

    def __init__(self, door: Door, sock: socket.socket, format: AudioFormat, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self.format = format
        self._sock = sock
        self._peer = sock.getpeername()
        self._door = door
        self._clock = door.clock
        self._counters = door.counters
        self._on_closed = on_closed
        self._jitter = JitterBuffer(_WIRE, door.counters)
        self._writer = RtpWriter(_PAYLOAD_TYPE, secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        self._to_line = Resampler(_WIRE, format)
        self._to_wire = Resampler(format, _WIRE)
        self._udp: asyncio.DatagramTransport | None = None
        self._seat: Seat | None = None
        self._first_tick = 0.0
        self._ticks = 0
        """20 ms since ``_first_tick`` that are accounted for in the stream we send."""
        self._last_tick = -inf
        self._spare = 0
        """Frames that may wait in Asterisk's whisper queue for nothing but the next hitch."""
        self._silent_ticks = 0
        self._quiet_ticks = 0
        """Since Asterisk last sent anything."""
        self._refusals = 0
        self._complained: set[str] = set()

    async def open(self) -> None:
        """Begin to send and to receive."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._sock)

    # -- Media ------------------------------------------------------------------------------------------------

    @property
    def lag_ms(self) -> float:
        """Whispered sound waits for Asterisk's own next tick."""
        return _WHISPER_MS

    def flush(self) -> None:
        """Nothing: no frame is sent before it is due."""

    def close(self) -> None:
        """Send no more and give the port back; ``line`` is not called again."""
        self._let_go()
        self._finish("closed by us")

    # -- asyncio.DatagramProtocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._udp = cast(asyncio.DatagramTransport, transport)
        if self._end is not None:
            self._udp.close()
            return
        self._seat = self._door.wheel.join(self._tick, self._fault)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._end is not None:
            return
        if addr != self._peer:  # it slipped in while the socket was not connected yet
            self._counters["strangers"] += 1
            return
        try:
            self._receive(data)
        except PeerError as error:
            self._refuse("malformed", str(error))

    def error_received(self, exc: Exception) -> None:
        """The kernel learned that what we sent did not arrive."""
        if self._end is not None:
            return
        self._counters["unreachable"] += 1
        self._refusals += 1
        if self._refusals >= _MOST_REFUSALS:
            self._lose(f"Asterisk takes no RTP: {exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"RTP socket lost: {exc}")

    # -- what happens on it -----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if is_rtcp(data):
            self._counters["rtcp"] += 1
            return
        packet = parse_rtp(data)
        if packet.payload_type not in _PAYLOAD_TYPES:
            self._refuse("wrong_payload", f"payload type {packet.payload_type}")
        elif len(packet.payload) != _WIRE.frame_bytes:
            self._refuse("wrong_size", f"{len(packet.payload)} bytes of sound where 20 ms have {_WIRE.frame_bytes}")
        else:
            self._quiet_ticks = self._refusals = 0
            frame = swap_bytes(packet.payload)
            self._jitter.push(packet.ssrc, packet.sequence, packet.timestamp, frame, self._clock())

    def _tick(self) -> None:
        now = self._clock()
        self._quiet_ticks += 1
        # Ticks are counted, not seconds: while we stood still ourselves we heard nothing either.
        if self._quiet_ticks * _FRAME_SECONDS > self._door.silence_seconds:
            self._counters["silent_legs"] += 1
            self._lose(f"no RTP from Asterisk for {self._door.silence_seconds:g} s")
            return
        heard = self._jitter.pull(now)
        if heard is not None and self._line is not None:
            self._line.frame_received(self._to_line.process(heard))
        frame = self._line.next_frame() if self._line is not None else None
        if self._end is None:
            self._keep_time(now)
            self._send(self._payload(frame))

    def _payload(self, frame: bytes | None) -> bytes | None:
        """None for silence that is withheld."""
        if frame is not None:
            self._silent_ticks = 0
            return swap_bytes(self._to_wire.process(frame))
        self._silent_ticks += 1
        if self._silent_ticks == 1:  # this one empties the resampler
            return swap_bytes(self._to_wire.process(self.format.silence()))
        if self._spare and not self._silent_ticks % _WITHHOLD_TICKS:
            self._spare -= 1
            return None
        return _SILENCE

    def _send(self, payload: bytes | None) -> None:
        if payload is None:
            self._counters["withheld"] += 1
            self._writer.pause(_WIRE.frame_samples)
            return
        try:
            # Not by way of the loop's transport, which stores without limit what the kernel has no room for.
            self._sock.send(self._writer.packet(payload, _WIRE.frame_samples))
        except BlockingIOError:
            self._counters["unsent"] += 1
        except OSError as error:
            self.error_received(error)

    def _keep_time(self, now: float) -> None:
        """For a tick the wheel skipped nothing was sent, but its time went by; one it was late with is made up for."""
        if not self._ticks:
            self._first_tick = now
        if now - self._last_tick < _HITCH_SECONDS:
            self._spare = _SPARE_FRAMES
        self._last_tick = now
        # The wheel is up to two frames late with a tick; what is missing beyond that it has given up.
        skipped = int((now - self._first_tick) / _FRAME_SECONDS - self._ticks) - 1
        if skipped > 0:
            self._writer.pause(skipped * _WIRE.frame_samples)
            self._ticks += skipped
        self._ticks += 1

    def _fault(self, error: Exception) -> None:
        log.error("RTP connection failed", peer=self._peer, exc_info=error)
        self._counters["faults"] += 1
        self._lose(f"internal error: {error!r}")

    def _refuse(self, counter: str, reason: str) -> None:
        """Count what is of no use; the log has the first of each kind."""
        self._counters[counter] += 1
        if counter not in self._complained:
            self._complained.add(counter)
            log.warning("RTP packet refused", reason=reason, peer=self._peer)

    def _lose(self, reason: str) -> None:
        if self._end is None:
            self._finish(reason)
            self._tell_lost()

    def _finish(self, reason: str) -> None:
        if self._end is not None:
            return
        self._end = reason
        if self._seat is not None:
            self._seat.leave()
        if self._udp is not None:
            self._udp.close()
        log.info("RTP connection closed", peer=self._peer, reason=reason)
        self._on_closed()
