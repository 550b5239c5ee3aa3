"""Finds out without a caller whether a provider opens sessions."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from ai_engine.app.openings import opened
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Briefing
from ai_engine.session.roster import Candidate

log = structlog.get_logger(__name__)

_JITTER = 0.2
"""Of the time between two probes: engines that were started together should not come together."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of one."""

    ok: bool
    ms: float
    """Until the session was open, or the failure known."""
    at: str
    """When it ended, ISO 8601 in UTC."""
    reason: str = ""


class Probes:
    """Opens and closes a session, without a sound: with every provider at first, then with those that have failed."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        briefing: Callable[[str], Briefing],
        printable: Callable[[str, str], str],
        seconds: float,
        start_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``briefing`` of a provider by its name, ``printable`` of what one said, ``seconds`` between two probes of it.

        A session must be open within ``start_seconds``; ``clock`` is the one of the breakers.
        """
        self._candidates = candidates
        self._briefing = briefing
        self._printable = printable
        self._seconds = seconds
        self._start_seconds = start_seconds
        self._clock = clock
        self._latest: dict[str, Probe] = {}
        self._watchers: dict[str, tuple[Candidate, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def latest(self, provider: str) -> Mapping[str, Any] | None:
        """The last probe of ``provider`` as plain data; None before the first. May be called from any thread."""
        probe = self._latest.get(provider)
        return None if probe is None else asdict(probe)

    async def run(self) -> None:
        """Until it is cancelled; sessions are closed then."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                self.watch(self._candidates)
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def watch(self, candidates: Sequence[Candidate]) -> None:
        """These instead of those before; one with the same breaker is known already."""
        self._candidates = candidates
        if self._tasks is None:
            return
        wanted = {candidate.name: candidate for candidate in candidates}
        for name, (candidate, task) in list(self._watchers.items()):
            if name not in wanted or wanted[name].breaker is not candidate.breaker:
                task.cancel()
                del self._watchers[name]
        for name in wanted.keys() - self._watchers.keys():
            self._latest.pop(name, None)
            self._watchers[name] = wanted[name], self._tasks.create_task(self._watch(wanted[name]))

    async def _watch(self, candidate: Candidate) -> None:
        await self._probe(candidate)
        while True:
            await asyncio.sleep(self._seconds * random.uniform(1 - _JITTER, 1 + _JITTER))
            if candidate.breaker.tripped or not self._latest[candidate.name].ok:
                await self._probe(candidate)

    async def _probe(self, candidate: Candidate) -> None:
        name, breaker = candidate.name, candidate.breaker
        before, began = self._latest.get(name), time.perf_counter()
        reason, status = await self._try(candidate)
        ms = round((time.perf_counter() - began) * 1000, 1)
        self._latest[name] = Probe(not reason, ms, datetime.now(UTC).isoformat(timespec="seconds"), reason)
        if not reason:
            if breaker.is_open(self._clock()) or (before is not None and not before.ok):
                log.info("provider opens sessions again", provider=name, ms=ms)
            breaker.probe_opened(self._clock())
            return
        if before is None or before.reason != reason:
            log.warning("provider opens no session", provider=name, reason=reason)
        breaker.probe_failed(self._clock(), self._seconds * (1 + _JITTER) + self._start_seconds, reason, status)

    async def _try(self, candidate: Candidate) -> tuple[str, int]:
        """Why it opened none, empty where it did, and the HTTP status of that."""
        try:
            async with opened(candidate.make, self._briefing(candidate.name), self._start_seconds):
                return "", 0
        except ProviderError as error:
            return self._printable(candidate.name, str(error)) or "no reason was given", error.status
        except Exception as error:  # noqa: BLE001 - the edge of a probe: what breaks one must not end the others
            log.exception("probe failed", provider=candidate.name)
            return f"it failed with {type(error).__name__}", 0
