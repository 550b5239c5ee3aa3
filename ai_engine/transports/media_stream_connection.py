"""The sound of one media stream, on the call loop: what is sent when, what is heard, and its end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import structlog

from ai_engine.audio.format import FRAME_MS, SLIN8
from ai_engine.audio.framing import Framer
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.protocol.lookahead import Commands, Lookahead
from ai_engine.protocol.media_streams import (
    BYTES_PER_MS,
    Event,
    KeyPressed,
    MarkReturned,
    SoundReceived,
    StreamStopped,
    encode_clear,
    encode_mark,
    encode_sound,
)
from ai_engine.session.ports import Line
from ai_engine.transports.wheel import Seat, TimerWheel

NAME = "media_stream"

NORMAL, INTERNAL_ERROR = 1000, 1011

_AHEAD_MS = 200
"""Between us and the network lie the Internet and an event loop that serves HTTP, too."""

_MOST_FILLED = 2
"""Frames of silence for sound that never came: for what is longer, the line notices by itself."""

_LAST = "last"
"""The mark behind the last words. All others are numbers."""

_LAST_SECONDS = 2.0
"""How long they may take to be played."""

log = structlog.get_logger(__name__)


class Owner(Protocol):
    """The call whose connection it is."""

    def digit_received(self, digit: str) -> None: ...

    def connection_ended(self, reason: str, *, failed: bool) -> None:
        """Once; ``failed``: something of ours broke."""
        ...


class MediaStreamConnection:
    """One stream: mu-law at 8 kHz on the wire, PCM inside."""

    format = SLIN8

    def __init__(
        self,
        stream_sid: str,
        send: Callable[[str], None],
        close: Callable[[int], None],
        wheel: TimerWheel,
        counters: Counter[str],
    ) -> None:
        """``send`` and ``close`` are those of ``StreamDoor.open``. ``counters`` are those of all streams."""
        self.stream_sid = stream_sid
        self.lost = asyncio.Event()
        """Set when nothing more can be heard or sent."""
        self._send = send
        self._close = close
        self._wheel = wheel
        self._counters = counters
        self._framer = Framer(self.format)
        self._lookahead = Lookahead(
            _AHEAD_MS, b"", commands=Commands(encode_clear(stream_sid), lambda name: encode_mark(stream_sid, name))
        )
        self._owner: Owner | None = None
        self._line: Line | None = None
        self._seat: Seat | None = None
        self._next_ms: int | None = None
        """When the sound that comes next begins, by the stream's own clock; None before the first."""
        self._last_ms = 0
        self._spoke = False
        self._played = asyncio.Event()
        """What was last said has been heard."""

    # -- for the call ------------------------------------------------------------------------------------------

    def own(self, owner: Owner) -> None:
        """``owner`` is told of keys and of the end."""
        self._owner = owner

    @property
    def lag_ms(self) -> float:
        """How long after ``next_frame`` gave it a frame is heard, measured by marks: with the way there and back."""
        return self._lookahead.lag_ms

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``."""
        if self.lost.is_set():
            return
        self.flush()  # what another line announced
        self._line = line
        if self._seat is None:
            self._seat = self._wheel.join(self._tick, self._fault)

    def detach(self) -> None:
        """Silence from now on, both ways."""
        self.flush()
        self._line = None
        self._stand_up()

    def flush(self) -> None:
        """Have the network forget what it was sent early, but for the end of a sound that is to die away."""
        if not self.lost.is_set():
            self._put(self._lookahead.flush(self._line, time.monotonic()))

    async def played(self) -> None:
        """Return when all that was sent has been heard, or the stream is gone; after two seconds in any case."""
        if self.lost.is_set() or not self._spoke:
            return
        self._played.clear()
        self._send(encode_mark(self.stream_sid, _LAST))
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._played, self.lost)]
        await asyncio.wait(waiting, timeout=_LAST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for job in waiting:
            job.cancel()

    def close(self, code: int = NORMAL) -> None:
        """End the stream, behind what was sent; the call at the other end ends with it."""
        self._finish()
        self._close(code)

    # -- from the socket ---------------------------------------------------------------------------------------

    def received(self, event: Event) -> None:
        if self.lost.is_set():
            return
        match event:
            case SoundReceived():
                self._hear(event)
            case KeyPressed(digit) if self._owner is not None:
                self._owner.digit_received(digit)
            case MarkReturned(name) if name == _LAST:
                self._played.set()
            case MarkReturned(name):
                self._lookahead.mark_processed(name, time.monotonic())
            case StreamStopped():
                self.ended("stopped")

    def ended(self, reason: str, *, failed: bool = False) -> None:
        """The stream is over; only the first time counts."""
        self._finish()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_ended(reason, failed=failed)

    # ----------------------------------------------------------------------------------------------------------

    def _hear(self, sound: SoundReceived) -> None:
        missing_ms = 0
        if sound.timestamp_ms is not None:
            if self._next_ms is not None and sound.timestamp_ms < self._last_ms:
                self._counters["late_sounds"] += 1
                return
            if self._next_ms is not None:
                missing_ms = sound.timestamp_ms - self._next_ms
            self._last_ms = sound.timestamp_ms
            self._next_ms = sound.timestamp_ms + len(sound.ulaw) // BYTES_PER_MS
        if self._line is None:
            return
        missing = min(max(0, missing_ms) // FRAME_MS, _MOST_FILLED)
        self._counters["filled_frames"] += missing
        for frame in self._framer.push(self.format.silence() * missing + ulaw_to_pcm(sound.ulaw)):
            if self._line is not None:
                self._line.frame_received(frame)

    def _tick(self) -> None:
        messages = self._lookahead.tick(self._line, self._wheel.last_tick)
        if not self.lost.is_set():
            self._put(messages)

    def _put(self, messages: list[str | bytes]) -> None:
        for message in messages:
            if isinstance(message, bytes):
                self._spoke = True
                message = encode_sound(self.stream_sid, pcm_to_ulaw(message))
            self._send(message)

    def _fault(self, error: Exception) -> None:
        log.error("media stream failed", stream_sid=self.stream_sid, exc_info=error)
        self._counters["faults"] += 1
        self.ended(f"internal error: {error!r}", failed=True)
        self._close(INTERNAL_ERROR)

    def _finish(self) -> None:
        self.lost.set()
        self._line = None
        self._stand_up()

    def _stand_up(self) -> None:
        if self._seat is not None:
            self._seat.leave()
            self._seat = None
