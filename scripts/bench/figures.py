"""Counting without keeping: histograms of milliseconds, percentiles, the knee of a ramp, the slope of a soak."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

BUCKETS_PER_MS = 10
_MOST_MS = 500
_BUCKETS = _MOST_MS * BUCKETS_PER_MS


class Histogram:
    """Counts of milliseconds in steps of 0.1; memory does not grow, and two can be added up."""

    __slots__ = ("counts", "max_ms", "total")

    def __init__(self) -> None:
        self.counts = [0] * (_BUCKETS + 1)
        """The last one takes everything from 500 ms on."""
        self.total = 0
        self.max_ms = 0.0

    def add(self, ms: float) -> None:
        """Less than 0 counts as 0."""
        self.total += 1
        bucket = int(ms * BUCKETS_PER_MS)
        self.counts[bucket if 0 <= bucket < _BUCKETS else (0 if bucket < 0 else _BUCKETS)] += 1
        if ms > self.max_ms:
            self.max_ms = ms

    def update(self, other: "Histogram") -> None:
        """Add all that ``other`` counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.max_ms = max(self.max_ms, other.max_ms)

    def percentile(self, percent: float) -> float | None:
        """The upper edge of its bucket, never more than the greatest value; None when nothing was counted."""
        if not self.total:
            return None
        needed = math.ceil(self.total * percent / 100) or 1
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= needed:
                edge = (bucket + 1) / BUCKETS_PER_MS
                return self.max_ms if bucket == _BUCKETS else min(edge, self.max_ms)
        raise AssertionError("the buckets hold less than their total")

    def over(self, ms: float) -> int:
        """How many lie in buckets from ``ms`` upwards."""
        return sum(self.counts[int(ms * BUCKETS_PER_MS) :])

    def plain(self) -> dict[str, Any]:
        """For JSON: only the buckets that hold something, by their lower edge."""
        filled = {str(bucket / BUCKETS_PER_MS): count for bucket, count in enumerate(self.counts) if count}
        return {"total": self.total, "max_ms": round(self.max_ms, 3), "buckets": filled}

    @classmethod
    def of_plain(cls, said: Mapping[str, Any]) -> Self:
        """What ``plain`` gave."""
        made = cls()
        made.total, made.max_ms = said["total"], said["max_ms"]
        for edge, count in said["buckets"].items():
            made.counts[round(float(edge) * BUCKETS_PER_MS)] = count
        return made


def histogram(values: Iterable[float]) -> Histogram:
    """Of milliseconds."""
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@dataclass(slots=True)
class Window:
    """What all callers of a generator saw between two moments."""

    calls: int = 0
    seconds: float = 0.0
    frames: int = 0
    """That came."""
    pieces: int = 0
    """Of them, those with a mark of the agent."""
    lost: int = 0
    """Pieces of an answer that never came, though later ones did, or the answer ended without them."""
    doubled: int = 0
    """Pieces that came again, or after later ones."""
    unheard: int = 0
    """Frames of callers that did not reach the agent."""
    unanswered: int = 0
    """Questions of which not one piece came."""
    broken: int = 0
    """Connections that ended by themselves."""
    unmeasured: int = 0
    """Frames of whose gap nothing is known, because the generator was held up meanwhile."""
    gaps: Histogram = field(default_factory=Histogram)
    """Between one frame and the next on the same connection."""
    answers: Histogram = field(default_factory=Histogram)
    """From the last sample of a question to the first piece of its answer."""
    lateness: Histogram = field(default_factory=Histogram)
    """Of the generator's own ticks: nothing finer than this can be measured."""
    blind_until: float = 0.0
    """When the generator was last held up, monotonic seconds: what began before is not measured."""

    @property
    def whole(self) -> bool:
        """Nothing was lost, either way."""
        return not (self.lost or self.doubled or self.unheard or self.unanswered or self.broken)

    @property
    def late(self) -> int:
        """Frames so late that a phone's jitter buffer has run dry: a gap of more than 40 ms."""
        return self.gaps.over(LATE_MS)

    @property
    def valid(self) -> bool:
        """Whether the generator kept the time: at most 3 in 100 of its ticks were late, or of the gaps unknown."""
        if not self.lateness.total or not self.frames:
            return False
        return max(self.lateness.over(HELD_UP_MS) / self.lateness.total, self.unmeasured / self.frames) <= _MAY_MISS

    def update(self, other: "Window") -> None:
        """Go on with ``other``, which followed, or which another generator saw."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).update(getattr(other, name))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        counts = {name: getattr(self, name) for name in ("calls", "seconds", *_COUNTS)}
        return {**counts, **{name: getattr(self, name).plain() for name in _HISTOGRAMS}}

    @classmethod
    def of_plain(cls, said: Mapping[str, Any]) -> Self:
        """What ``plain`` gave."""
        made = cls(**{name: said[name] for name in ("calls", "seconds", *_COUNTS)})
        for name in _HISTOGRAMS:
            setattr(made, name, Histogram.of_plain(said[name]))
        return made


LATE_MS = 40.0
_MAY_MISS = 0.03
HELD_UP_MS = 3.0
"""A generator that is so late does not know any more when a frame came."""
_COUNTS = ("frames", "pieces", "lost", "doubled", "unheard", "unanswered", "broken", "unmeasured")
_HISTOGRAMS = ("gaps", "answers", "lateness")


def slope(values: Sequence[float]) -> float:
    """Of a straight line through ``values``, per step; 0 for fewer than two."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    across = sum((index - middle) * (value - mean) for index, value in enumerate(values))
    return across / sum((index - middle) ** 2 for index in range(count))


def knee(steps: Iterable[tuple[int, bool]]) -> int:
    """The most calls up to which every step of a ramp (calls, all well) was well; 0 if none was."""
    most = 0
    for calls, well in steps:
        if not well:
            break
        most = calls
    return most
