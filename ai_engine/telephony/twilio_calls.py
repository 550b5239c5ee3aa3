"""What is remembered of each attempt at Twilio, and of each callback that was heard."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_CALLS = 4096
_MOST_CALLBACKS = 8192
_REPLAY_SECONDS = 15 * 60.0


@dataclass(slots=True)
class Known:
    """One attempt."""

    sid: str = ""
    """Twilio's id of the call; empty while it has none that we know of."""
    sequence: int = -1
    """Of the latest news."""
    answered: bool = False
    handed_over: bool = False
    """A human has it; we hang up on nobody."""
    over: bool = False
    unwanted: bool = False
    """It was hung up before Twilio told its id."""
    watched: bool = False
    """It was dialled, or looked after, by this engine since it started."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """News are taken one after another."""


class KnownCalls:
    """By ``Attempt.key``; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def of(self, key: str) -> Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known()
            if len(self._known) > _MOST_CALLS:
                del self._known[next(iter(self._known))]
        return known

    def sids(self, *, but: str) -> set[str]:
        """Of all attempts except that of the key ``but``."""
        return {known.sid for key, known in self._known.items() if key != but}


class Replays:
    """Callbacks that were heard within a quarter of an hour, the newest thousands of them.

    Whoever repeats one that is genuine, the network after it missed our answer or somebody who recorded it, repeats its
    signature too, for that covers every field. It is answered like the first time, and nothing comes of it: were it
    refused, Twilio would raise an alarm for a callback that did arrive.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` in seconds; it must not go back."""
        self._clock = clock
        self._heard: dict[tuple[str, str], float] = {}

    def heard(self, signature: str, sequence: str) -> bool:
        """Whether it was heard before; from now on it was."""
        now = self._clock()
        self._forget_old(now)
        if (signature, sequence) in self._heard:
            return True
        self._heard[signature, sequence] = now
        return False

    def forget(self, signature: str, sequence: str) -> None:
        """It came to nothing, so that the next time counts."""
        self._heard.pop((signature, sequence), None)

    def _forget_old(self, now: float) -> None:
        while self._heard:
            oldest = next(iter(self._heard))
            if now - self._heard[oldest] < _REPLAY_SECONDS and len(self._heard) < _MOST_CALLBACKS:
                return
            del self._heard[oldest]
