"""AudioSocket: Asterisk's framing of sound over TCP, a kind, a big-endian length and a payload per message."""

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from uuid import UUID

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.errors import PeerError

_HEADER = Struct("!BH")


class Kind(IntEnum):
    """The first byte of a message; sound has one kind per rate, see ``RATES``."""

    HANGUP = 0x00
    UUID = 0x01
    DTMF = 0x03
    AUDIO_8K = 0x10
    AUDIO_12K = 0x11
    AUDIO_16K = 0x12
    AUDIO_24K = 0x13
    AUDIO_32K = 0x14
    AUDIO_44K = 0x15
    AUDIO_48K = 0x16
    AUDIO_96K = 0x17
    AUDIO_192K = 0x18
    ERROR = 0xFF


RATES: dict[int, int] = {
    Kind.AUDIO_8K: 8000,
    Kind.AUDIO_12K: 12000,
    Kind.AUDIO_16K: 16000,
    Kind.AUDIO_24K: 24000,
    Kind.AUDIO_32K: 32000,
    Kind.AUDIO_44K: 44100,
    Kind.AUDIO_48K: 48000,
    Kind.AUDIO_96K: 96000,
    Kind.AUDIO_192K: 192000,
}
"""Samples per second by kind."""

_LENGTHS: dict[int, tuple[int, ...]] = {Kind.HANGUP: (0,), Kind.UUID: (16,), Kind.DTMF: (1,), Kind.ERROR: (0, 1)}

_KINDS = {rate: kind for kind, rate in RATES.items()}


@dataclass(frozen=True, slots=True)
class Uuid:
    """The first message of every connection: which call this is."""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class Audio:
    """Signed 16-bit little-endian mono at ``rate``; 20 ms as a rule, but any length is legal."""

    rate: int
    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key of the caller's telephone."""

    digit: str


@dataclass(frozen=True, slots=True)
class HungUp:
    """Asterisk's side is over; the connection closes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Asterisk's side failed; ``code`` is 0 when it gave none."""

    code: int


Message = Uuid | Audio | Dtmf | HungUp | Failure


class AudioSocketParser:
    """Bytes in pieces of any size in, messages out.

    A bad header is refused before its payload has come, so what waits is never more than one message (64 KiB).
    """

    def __init__(self) -> None:
        self._waiting = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._waiting)

    def feed(self, data: bytes) -> list[Message]:
        """Every message that is complete with ``data``.

        Raises PeerError when the peer broke the protocol; the connection is then beyond repair, and the parser too.
        """
        if not self._waiting:
            messages, read = _read(data)
            self._waiting += data[read:]
        else:
            self._waiting += data
            messages, read = _read(self._waiting)
            del self._waiting[:read]
        return messages


class WholeFrames:
    """Messages of exactly one 20 ms frame of ``format``: nearly all there are, so they have a way past the parser."""

    def __init__(self, format: AudioFormat) -> None:
        """Raises KeyError for a rate AudioSocket does not know."""
        self._header = _HEADER.pack(_KINDS[format.rate], format.frame_bytes)
        self._rate = format.rate
        self._frame_bytes = format.frame_bytes
        self.silence = self._header + format.silence()
        """A message of silence."""
        self._message_bytes = len(self.silence)

    def encode(self, pcm: bytes) -> bytes:
        """A message of ``pcm``, which need not be a whole frame, in one piece; see ``encode_audio``."""
        return self._header + pcm if len(pcm) == self._frame_bytes else encode_audio(self._rate, pcm)

    def decode(self, data: bytes) -> bytes | None:
        """The frame in ``data``, or None when ``data`` is anything but one message with one frame."""
        if len(data) == self._message_bytes and data.startswith(self._header):
            return data[_HEADER.size :]
        return None


def encode_audio(rate: int, pcm: bytes) -> bytes:
    """Header and payload in one piece: Asterisk drops the call when they come more than 5 ms apart.

    Raises KeyError for a rate AudioSocket does not know.
    """
    return _HEADER.pack(_KINDS[rate], len(pcm)) + pcm


def encode_hangup() -> bytes:
    """Asks Asterisk to end its side."""
    return _HEADER.pack(Kind.HANGUP, 0)


def _read(data: bytes | bytearray) -> tuple[list[Message], int]:
    """The complete messages at the start of ``data``, and how many bytes they take."""
    messages: list[Message] = []
    start = 0
    while len(data) - start >= _HEADER.size:
        kind, length = _HEADER.unpack_from(data, start)
        _check(kind, length)
        payload = start + _HEADER.size
        if payload + length > len(data):
            break
        messages.append(_decode(kind, bytes(data[payload : payload + length])))
        start = payload + length
    return messages, start


def _check(kind: int, length: int) -> None:
    if kind in RATES:
        legal = length > 0 and length % SAMPLE_BYTES == 0
    elif kind in _LENGTHS:
        legal = length in _LENGTHS[kind]
    else:
        raise PeerError(f"unknown kind 0x{kind:02x}")
    if not legal:
        raise PeerError(f"kind 0x{kind:02x} with {length} bytes")


def _decode(kind: int, payload: bytes) -> Message:
    if kind in RATES:
        return Audio(RATES[kind], payload)
    if kind == Kind.UUID:
        return Uuid(UUID(bytes=payload))
    if kind == Kind.DTMF:
        return Dtmf(_digit(payload[0]))
    if kind == Kind.ERROR:
        return Failure(payload[0] if payload else 0)
    return HungUp()


def _digit(code: int) -> str:
    digit = chr(code).upper()
    if digit not in "0123456789*#ABCD":
        raise PeerError(f"0x{code:02x} is not a key of a telephone")
    return digit
