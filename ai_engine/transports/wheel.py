"""One timer for all calls: every seat is called at t0 + n * 20 ms, each in its own millisecond of the 20."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable

from ai_engine.audio.format import FRAME_MS

_SLOT_SECONDS = 0.001
_EARLY_SECONDS = _SLOT_SECONDS / 2
"""The timer of uvloop counts whole milliseconds and may fire a fraction of one too soon."""

_CATCH_UP_FRAMES = 1
"""Frames sent on top of the one that is due, after a stall.

Asterisk passes a burst straight on to the phone. One extra frame is what a phone's jitter buffer holds, so a hitch
under 40 ms is not heard at all; in a longer stall that buffer has run dry, and old frames would only push everything
after them later. They are skipped: nothing is fetched for them, so no word is lost, and the grid stays where it was.
"""

LATENESS_BOUNDS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 100.0)
"""Upper bounds of the lateness histogram; a last bucket takes the rest."""


class Seat:
    """A place on the wheel."""

    def __init__(
        self, wheel: "TimerWheel", slot: int, callback: Callable[[], None], on_error: Callable[[Exception], None]
    ) -> None:
        self.slot = slot
        self.callback = callback
        self.on_error = on_error
        self._wheel = wheel

    def leave(self) -> None:
        """Be called no more; may be called more than once, and from the callback itself."""
        self._wheel.remove(self)


class TimerWheel:
    """Twenty slots of one millisecond; it stands still while nobody sits. Belongs to the running loop.

    ``clock`` is ``time.monotonic``, the clock of asyncio and uvloop, read here because theirs may be a cached one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seats = 0
        self.last_tick = clock()
        """When the wheel last turned, or began to; meaningful while ``seats`` is not 0. Other threads may read it."""
        self.lateness_counts = [0] * (len(LATENESS_BOUNDS_MS) + 1)
        """Ticks by how late they were, see ``LATENESS_BOUNDS_MS``."""
        self.max_lateness_ms = 0.0
        self.skipped_frames = 0
        """Frames that were never sent because of stalls, over all seats."""
        self._clock = clock
        self._origin = clock()
        self._slots: list[tuple[Seat, ...]] = [()] * FRAME_MS
        """Replaced and never changed, so that seats may come and go while their slot is being called."""
        self._next = 0
        """The tick that is due next, counted in milliseconds since the origin; its slot is the remainder by 20."""
        self._timer: asyncio.TimerHandle | None = None

    def join(self, callback: Callable[[], None], on_error: Callable[[Exception], None]) -> Seat:
        """Call ``callback`` every 20 ms from now on, where the fewest others sit.

        If it raises, the seat is removed and ``on_error`` called with the exception.
        """
        if not self.seats:
            self.last_tick = self._clock()
            self._next = self._tick_at(self.last_tick) + 1
        slot = min(range(FRAME_MS), key=lambda number: len(self._slots[number]))
        seat = Seat(self, slot, callback, on_error)
        self._slots[slot] += (seat,)
        self.seats += 1
        self._arm()
        return seat

    def remove(self, seat: Seat) -> None:
        """Prefer ``Seat.leave``."""
        slot = self._slots[seat.slot]
        if seat in slot:
            self._slots[seat.slot] = tuple(other for other in slot if other is not seat)
            self.seats -= 1
            self._arm()

    def _tick_at(self, now: float) -> int:
        return int((now - self._origin) / _SLOT_SECONDS)

    def _arm(self) -> None:
        """Set the timer for the next tick whose slot is taken."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.seats:
            tick = self._next
            while not self._slots[tick % FRAME_MS]:
                tick += 1
            due = self._origin + tick * _SLOT_SECONDS
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - self._clock()), self._turn)

    def _turn(self) -> None:
        """Call every slot whose millisecond has come."""
        self._timer = None
        self.last_tick = self._clock()
        present = self._tick_at(self.last_tick + _EARLY_SECONDS)
        self._skip(present - (1 + _CATCH_UP_FRAMES) * FRAME_MS)
        while self._next <= present:
            tick, self._next = self._next, self._next + 1
            slot = self._slots[tick % FRAME_MS]
            if slot:
                self._note_lateness(tick)
                for seat in slot:
                    self._call(seat)
        self._arm()

    def _skip(self, last: int) -> None:
        """Give up the ticks up to and including ``last``."""
        while self._next <= last:
            self.skipped_frames += len(self._slots[self._next % FRAME_MS])
            self._next += 1

    def _note_lateness(self, tick: int) -> None:
        late_ms = (self._clock() - self._origin) * 1000 - tick
        self.lateness_counts[bisect_left(LATENESS_BOUNDS_MS, late_ms)] += 1
        self.max_lateness_ms = max(self.max_lateness_ms, late_ms)

    def _call(self, seat: Seat) -> None:
        if seat not in self._slots[seat.slot]:
            return
        try:
            seat.callback()
        except Exception as error:  # noqa: BLE001 - one call's fault must not hold back the frames of the others
            self.remove(seat)
            seat.on_error(error)
