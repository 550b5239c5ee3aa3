"""When the words of a speech may be flushed, of which the vendor allows so many in a minute."""

from collections import deque

_WINDOW_SECONDS = 61.0
"""The vendor's minute, and the unrest of the network."""

_MOST = 20
"""The vendor's limit."""

_MOST_UNHURRIED = 18
"""What is left after these is for a caller who hears nothing."""

_SPARING = 12
"""From here on a flush takes all clauses that wait."""

_MOST_OPEN = 2
"""Flushes whose sound is not complete."""

_AHEAD_SECONDS = 4.0
"""With so much sound in hand there is no hurry: what is never heard is not flushed either."""

_HUNGRY_SECONDS = 1.0


class FlushTimes:
    """Those of one connection; all times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)

    def add(self, now: float) -> None:
        self._times.append(now)

    def sparing(self, now: float) -> bool:
        """Whether there are few left."""
        return now < self._fewer_at(_SPARING)

    def due_at(self, now: float, sound_until: float, open_flushes: int) -> float | None:
        """When the next words should be flushed; None: not before a flush is complete.

        ``sound_until``: when the caller will have heard all sound so far; ``open_flushes``: those not complete.
        """
        if open_flushes >= _MOST_OPEN:
            return None
        unhurried = max(sound_until - _AHEAD_SECONDS, self._fewer_at(_MOST_UNHURRIED))
        if open_flushes:
            return max(now, unhurried)
        return max(now, min(unhurried, max(sound_until - _HUNGRY_SECONDS, self._fewer_at(_MOST))))

    def _fewer_at(self, most: int) -> float:
        """When there were fewer than ``most`` in the window that ends then."""
        return self._times[-most] + _WINDOW_SECONDS if len(self._times) >= most else 0.0
