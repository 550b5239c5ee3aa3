"""Between the office, where media streams arrive, and the call loop, where they are calls."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from ai_engine.errors import PeerError
from ai_engine.jobs.ports import Attempt
from ai_engine.protocol.media_streams import BYTES_PER_MS, Event, SoundReceived, StreamStarted
from ai_engine.transports.media_stream import MediaStreamCall
from ai_engine.transports.media_stream_connection import INTERNAL_ERROR, MediaStreamConnection
from ai_engine.transports.wheel import TimerWheel

_BACKLOG_MS = 200
"""What is heard at once after a stall; older sound is stale."""

_MOST_SOUNDS = 500
_MOST_EVENTS = 1000
"""That wait for a call loop that stands still."""

_SHUT_OUT = 1008

log = structlog.get_logger(__name__)


class MediaStreamDoor:
    """Implements the ``StreamDoor`` of the telephony: each stream is a ``MediaStreamCall`` on the call loop.

    Made on the call loop; ``open`` is for the office.
    """

    def __init__(self, wheel: TimerWheel, on_call: Callable[[MediaStreamCall], None]) -> None:
        """``on_call`` is called on the call loop for each stream, and must return at once."""
        self.counters: Counter[str] = Counter()
        """``streams``, ``stale_sounds`` (came in a burst), ``late_sounds`` (out of order), ``filled_frames``,
        ``stalled_sounds`` and ``floods`` (the call loop did not take them), ``faults``."""
        self._wheel = wheel
        self._on_call = on_call
        self._loop = asyncio.get_running_loop()
        self._open = True

    def open(
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> "Bridge":
        """Raises PeerError when the engine takes no more calls."""
        bridge = Bridge(self._loop, close, self.counters)
        if not self._open or not bridge.cross(lambda: self._begin(bridge, attempt, start, send, close, hand_over)):
            raise PeerError("the engine takes no more calls")
        return bridge

    def close(self) -> None:
        """Take no more; those that are open are their calls' to end. From any thread."""
        self._open = False

    def _begin(
        self,
        bridge: "Bridge",
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None,
    ) -> None:
        self.counters["streams"] += 1
        connection = MediaStreamConnection(start.stream_sid, send, close, self._wheel, self.counters)
        bridge.connection = connection
        try:
            self._on_call(MediaStreamCall(connection, attempt, hand_over))
        except Exception:  # noqa: BLE001 - the edge of a call: what breaks one must not break another
            self.counters["faults"] += 1
            log.exception("media stream cannot be held", call_id=attempt.call_id)
            connection.close(INTERNAL_ERROR)


class Bridge:
    """What comes from one socket in the office crosses to the call loop, in order (a ``StreamLeg``)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, close: Callable[[int], None], counters: Counter[str]) -> None:
        self.connection: MediaStreamConnection | None = None
        """Belongs to the call loop."""
        self._loop = loop
        self._close = close
        self._counters = counters
        self._waiting: deque[Event] = deque()
        self._woken = False

    def received(self, event: Event) -> None:
        if len(self._waiting) >= _MOST_SOUNDS and isinstance(event, SoundReceived):
            self._counters["stalled_sounds"] += 1
        elif len(self._waiting) >= _MOST_EVENTS:
            self._counters["floods"] += 1
            self._close(_SHUT_OUT)
        else:
            self._waiting.append(event)
            if not self._woken:  # a wake-up costs a system call
                self._woken = True  # before the other thread may say that it is awake
                self.cross(self._deliver)

    def ended(self, reason: str) -> None:
        self.cross(lambda: self._end(reason))

    def cross(self, work: Callable[[], None]) -> bool:
        """Have the call loop do it; False when that is closed."""
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            return False
        return True

    def _deliver(self) -> None:
        self._woken = False
        arrived: list[Event] = []
        while self._waiting:
            arrived.append(self._waiting.popleft())
        if self.connection is not None:
            for event in self._fresh(arrived):
                self.connection.received(event)

    def _fresh(self, events: list[Event]) -> list[Event]:
        """Without the sound that is too old to be heard; the latest is never."""
        spare = sum(len(event.ulaw) for event in events if isinstance(event, SoundReceived))
        spare -= _BACKLOG_MS * BYTES_PER_MS
        kept = []
        for event in events:
            if isinstance(event, SoundReceived) and spare >= len(event.ulaw):
                spare -= len(event.ulaw)
                self._counters["stale_sounds"] += 1
            else:
                kept.append(event)
        return kept

    def _end(self, reason: str) -> None:
        self._deliver()
        if self.connection is not None:
            self.connection.ended(reason)
