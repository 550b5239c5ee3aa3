"""RTP (RFC 3550): datagrams with a place in time, and 16-bit sound in them the way networks write it (RFC 3551)."""

from array import array
from struct import Struct
from typing import NamedTuple

from ai_engine.errors import PeerError

_HEADER = Struct("!BBHII")
_EXTENSION = Struct("!HH")
_VERSION = 2
_MARKER = 0x80
_PADDED = 0x20
_EXTENDED = 0x10
_RTCP = range(192, 224)
"""Second bytes that mean RTCP where both arrive at one port (RFC 5761, section 4)."""


class RtpPacket(NamedTuple):
    """One RTP packet."""

    payload_type: int
    marker: bool
    """The first one after a pause."""
    sequence: int
    """Counts packets, modulo 65536."""
    timestamp: int
    """Counts samples, modulo 2**32."""
    ssrc: int
    """Who speaks."""
    payload: bytes


def parse_rtp(datagram: bytes) -> RtpPacket:
    """Header, contributing sources, header extension and padding are taken off. Raises PeerError."""
    if len(datagram) < _HEADER.size:
        raise PeerError(f"{len(datagram)} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first >> 6 != _VERSION:
        raise PeerError(f"RTP of version {first >> 6}")
    start, end = _HEADER.size, len(datagram)
    if first != _VERSION << 6:
        start, end = _payload_bounds(datagram, first)
    return RtpPacket(second & 0x7F, second >= _MARKER, sequence, timestamp, ssrc, datagram[start:end])


def is_rtcp(datagram: bytes) -> bool:
    """Whether this is a report about a stream instead of a part of it."""
    return len(datagram) > 1 and datagram[0] >> 6 == _VERSION and datagram[1] in _RTCP


class RtpWriter:
    """Numbers the packets of one stream. Start values are the caller's to draw, at random (RFC 3550, section 5.1)."""

    def __init__(self, payload_type: int, ssrc: int, sequence: int, timestamp: int) -> None:
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._marker = _MARKER

    def packet(self, payload: bytes, samples: int) -> bytes:
        """The next packet; its payload lasts ``samples`` samples."""
        header = _HEADER.pack(
            _VERSION << 6, self._marker | self._payload_type, self._sequence, self._timestamp, self._ssrc
        )
        self._marker = 0
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + samples & 0xFFFFFFFF
        return header + payload

    def pause(self, samples: int) -> None:
        """Time went by without a packet; the next one begins a new stretch."""
        self._timestamp = self._timestamp + samples & 0xFFFFFFFF
        self._marker = _MARKER


def swap_bytes(pcm: bytes) -> bytes:
    """Signed 16-bit sound between our little-endian and the network's big-endian, either way; whole samples only."""
    samples = array("H", pcm)
    samples.byteswap()
    return samples.tobytes()


def _payload_bounds(datagram: bytes, first: int) -> tuple[int, int]:
    start, end = _HEADER.size + 4 * (first & 0x0F), len(datagram)
    if first & _EXTENDED:
        if start + _EXTENSION.size > end:
            raise PeerError("an RTP header extension that is not there")
        start += _EXTENSION.size + 4 * int(_EXTENSION.unpack_from(datagram, start)[1])
    if first & _PADDED:
        padding = datagram[-1]
        if not padding:
            raise PeerError("RTP padding without length")
        end -= padding
    if start > end:
        raise PeerError("an RTP header longer than its packet")
    return start, end
