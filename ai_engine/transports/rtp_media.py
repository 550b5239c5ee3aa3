"""One call's sound as RTP: a jitter buffer towards the call, and a packet to Asterisk every 20 ms."""

import asyncio
import secrets
import socket
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import structlog

from ai_engine.audio.format import FRAME_MS, SLIN8, AudioFormat
from ai_engine.audio.jitter import COUNTERS as JITTER_COUNTERS
from ai_engine.audio.jitter import JitterBuffer
from ai_engine.audio.resample import Resampler
from ai_engine.errors import PeerError
from ai_engine.protocol.rtp import RtpWriter, is_rtcp, parse_rtp, swap_bytes
from ai_engine.session.ports import Line
from ai_engine.transports.wheel import Seat, TimerWheel

NAME = "legacy"

COUNTERS = (
    "strangers",
    "rtcp",
    "malformed",
    "wrong_payload",
    "wrong_size",
    "unreachable",
    "unsent",
    "silent_legs",
    "faults",
    *JITTER_COUNTERS,
)
"""``strangers`` are packets from elsewhere than the peer, ``unreachable`` what did not arrive there, ``unsent`` what
the kernel had no room for."""

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

_MOST_REFUSALS = 10
"""In a row (200 ms): nobody listens there any more."""

log = structlog.get_logger()


class RtpMedia(asyncio.DatagramProtocol):
    """A ``Media`` on a socket that is connected to its peer; from ``open`` until its end it sends, silence too."""

    transport = NAME

    def __init__(
        self,
        sock: socket.socket,
        format: AudioFormat,
        *,
        wheel: TimerWheel,
        clock: Callable[[], float],
        silence_seconds: float,
        counters: MutableMapping[str, int],
        on_closed: Callable[[], None],
    ) -> None:
        """``clock`` is the one of ``wheel``; ``counters`` has the keys of ``COUNTERS`` and is shared by all calls."""
        self.format = format
        self._sock = sock
        self._peer = sock.getpeername()
        self._wheel = wheel
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._counters = counters
        self._on_closed = on_closed
        self._jitter = JitterBuffer(_WIRE, counters)
        self._writer = RtpWriter(_PAYLOAD_TYPE, secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
        self._to_line = Resampler(_WIRE, format)
        self._to_wire = Resampler(format, _WIRE)
        self._line: Line | None = None
        self._end: str | None = None
        """Why it ends, once it does; the first reason stands."""
        self._closed_by_us = False
        self._udp: asyncio.DatagramTransport | None = None
        self._seat: Seat | None = None
        self._first_tick = 0.0
        self._ticks = 0
        """20 ms since ``_first_tick`` that are accounted for in the stream we send."""
        self._was_silent = False
        self._quiet_ticks = 0
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

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        if self._closed_by_us:
            return
        self._line = line
        if self._end is not None:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def flush(self) -> None:
        """Nothing: no frame is sent before it is due."""

    def close(self) -> None:
        """Send no more and give the port back; ``line`` is not called again."""
        self._closed_by_us = True
        self._line = None
        self._finish("closed by us")

    # -- asyncio.DatagramProtocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._udp = cast(asyncio.DatagramTransport, transport)
        if self._end is not None:
            self._udp.close()
            return
        self._seat = self._wheel.join(self._tick, self._fault)

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
        if self._quiet_ticks * _FRAME_SECONDS > self._silence_seconds:
            self._counters["silent_legs"] += 1
            self._lose(f"no RTP from Asterisk for {self._silence_seconds:g} s")
            return
        heard = self._jitter.pull(now)
        if heard is not None and self._line is not None:
            self._line.frame_received(self._to_line.process(heard))
        frame = self._line.next_frame() if self._line is not None else None
        if self._end is None:
            self._send(self._payload(frame), now)

    def _payload(self, frame: bytes | None) -> bytes:
        if frame is not None:
            self._was_silent = False
            return swap_bytes(self._to_wire.process(frame))
        if self._was_silent:
            return _SILENCE
        self._was_silent = True  # one frame empties the resampler
        return swap_bytes(self._to_wire.process(self.format.silence()))

    def _send(self, payload: bytes, now: float) -> None:
        self._keep_time(now)
        try:
            # Not by way of the loop's transport, which stores without limit what the kernel has no room for.
            self._sock.send(self._writer.packet(payload, _WIRE.frame_samples))
        except BlockingIOError:
            self._counters["unsent"] += 1
        except OSError as error:
            self.error_received(error)

    def _keep_time(self, now: float) -> None:
        """For a tick the wheel skipped nothing was sent, but its time went by."""
        if not self._ticks:
            self._first_tick = now
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

    def _tell_lost(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.media_lost(self._end or "")
