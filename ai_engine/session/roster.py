"""Who may hold a call, in which order, and who is not worth trying just now."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ai_engine.session.ports import Agent

_FAILURES = 3
_OPEN_SECONDS = 10.0
_REFUSED = (401, 402, 403, 404)
"""HTTP statuses that will be the same the next time: a wrong key, an empty account, a model that is no more."""


class Breaker:
    """The circuit breaker of one provider, shared by all calls: after failures in a row nobody tries it for a while."""

    def __init__(self, failures: int = _FAILURES, open_seconds: float = _OPEN_SECONDS) -> None:
        self._most = failures
        self._open_seconds = open_seconds
        self._closed_at: float | None = None
        """When it may be tried again; None while nothing is wrong."""
        self._believed = False
        """A probe's word was taken since it opened: the next one's is not, unless a probe has failed meanwhile."""
        self.failures = 0
        """In a row."""
        self.trips = 0
        """How often it opened."""
        self.reason = ""
        """Of the latest failure."""

    @property
    def tripped(self) -> bool:
        """Whether it opened, and has answered nobody since; one failure opens it again."""
        return self._closed_at is not None

    def is_open(self, now: float) -> bool:
        """Whether the provider is left alone."""
        return self._closed_at is not None and now < self._closed_at

    def failed(self, now: float, reason: str, status: int = 0) -> None:
        self.failures += 1
        self.reason = reason
        if self.tripped or self.failures >= self._most or status in _REFUSED:
            self.trips += not self.is_open(now)
            self._closed_at = max(self._closed_at or 0.0, now + self._open_seconds)

    def succeeded(self) -> None:
        """It answered somebody."""
        self.failures = 0
        self.reason = ""
        self._closed_at = None
        self._believed = False

    def probe_opened(self, now: float) -> None:
        """A probe opened a session: callers may try it at once, and whether it answers is for them to find out.

        Whoever opens sessions and then stalls would let caller after caller wait. So where it fails a caller again,
        only time lets the next one try, until a probe has failed or somebody was answered.
        """
        if self._closed_at is None:
            self.failures = 0
            self.reason = ""
        elif not self._believed:
            self._believed = True
            self._closed_at = min(self._closed_at, now)

    def probe_failed(self, now: float, seconds: float, reason: str, status: int = 0) -> None:
        """A probe opened no session: where it is left alone it stays so for ``seconds``, until the next probe."""
        self._believed = False
        self.failed(now, reason, status)
        if self._closed_at is not None:
            self._closed_at = max(self._closed_at, now + seconds)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may hold the call."""

    name: str
    make: Callable[[], Agent]
    breaker: Breaker = field(default_factory=Breaker)


class Roster:
    """The candidates of one call: the first is preferred, and after the last comes the first again."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        """Not empty."""
        self._candidates = candidates
        self._next = 0
        self._left = 2 * len(candidates) + 2
        """Sessions that may still be opened: a call in which agents die all the time is no conversation."""

    @property
    def first(self) -> Candidate:
        return self._candidates[0]

    def round(self, clock: Callable[[], float]) -> Iterator[Candidate]:
        """Who to try now: each candidate once, from the one after the last; none whose breaker is open."""
        for _ in range(len(self._candidates)):
            candidate = self._candidates[self._next % len(self._candidates)]
            self._next += 1
            if self._left and not candidate.breaker.is_open(clock()):
                self._left -= 1
                yield candidate
