"""What the doors over TCP have in common: small buffers, little patience, and no use for old sound."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

_HIGH_WATER_BYTES = 64 * 1024
"""Two to four seconds of sound that the kernel would not take: the peer has stopped reading."""

_SEND_BUFFER_BYTES = 16 * 1024
"""In the kernel, instead of megabytes that would hide for minutes that nobody reads."""

_BACKLOG_FRAMES = 10
"""200 ms: what is heard at once after a stall; older sound is stale."""

SLOW_SECONDS = 2.0
"""How long a peer may take nothing."""

LINGER_SECONDS = 1.0
"""How long Asterisk may take to end its side once it was asked to."""

_M = TypeVar("_M")


def tune(tcp: asyncio.Transport) -> None:
    """Frames leave at once, and ``pause_writing`` is called as soon as the peer does not read."""
    sock = tcp.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    tcp.set_write_buffer_limits(high=_HIGH_WATER_BYTES)


def without_stale(messages: Sequence[_M], is_sound: Callable[[_M], bool]) -> Sequence[_M]:
    """What came at once, without the sound that is too old to be heard; all that is no sound stays."""
    stale = len(messages) - _BACKLOG_FRAMES
    if stale > 0:  # it may be: to look costs more than nearly every call is worth
        stale = sum(map(is_sound, messages)) - _BACKLOG_FRAMES
    if stale <= 0:
        return messages
    kept = []
    for message in messages:
        if stale > 0 and is_sound(message):
            stale -= 1
        else:
            kept.append(message)
    return kept


class Timer:
    """Of several times that may run out, the one that counts just now."""

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """It was set, and not stopped since; it may have run out."""
        return self._handle is not None

    def set(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` in ``seconds``, and forget what was set before."""
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(seconds, callback)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
