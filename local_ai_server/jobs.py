"""Whose job is next, where many wait: urgent ones first, and one call's after another's."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from local_ai_server.errors import JobFailed

MOST_OF_ONE = 8
"""Jobs one owner may have waiting; a call has a partial, a transcript and a clause at most."""
_URGENT_IN_A_ROW = 3
"""While others wait, no more than so many urgent jobs are taken in a row: a reply that has begun must not break off."""

J = TypeVar("J")


class _Round(Generic[J]):
    """Jobs by owner, each owner's in the order they came."""

    def __init__(self) -> None:
        self._owners: OrderedDict[Hashable, deque[J]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def count(self, owner: Hashable) -> int:
        return len(self._owners.get(owner, ()))

    def push(self, owner: Hashable, job: J) -> None:
        self._owners.setdefault(owner, deque()).append(job)

    def pop(self, fits: Callable[[J], bool]) -> J | None:
        """The next job that fits; its owner is last in the round then."""
        for owner, jobs in self._owners.items():
            for job in jobs:
                if fits(job):
                    self._owners.move_to_end(owner)
                    self.remove(owner, job)
                    return job
        return None

    def remove(self, owner: Hashable, job: J) -> bool:
        jobs = self._owners.get(owner, deque())
        if job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._owners[owner]
        return True

    def take(self, fits: Callable[[J], bool]) -> list[J]:
        found = [job for jobs in self._owners.values() for job in jobs if fits(job)]
        for owner, jobs in tuple(self._owners.items()):
            self._owners[owner] = deque(job for job in jobs if not fits(job))
            if not self._owners[owner]:
                del self._owners[owner]
        return found


class JobQueue(Generic[J]):
    """Owners take turns, within the urgent jobs and within the others."""

    def __init__(self) -> None:
        self._urgent: _Round[J] = _Round()
        self._others: _Round[J] = _Round()
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    @property
    def urgent(self) -> int:
        """How many of those that wait are urgent."""
        return len(self._urgent)

    def push(self, job: J, owner: Hashable, *, urgent: bool) -> None:
        """Raises JobFailed where ``owner`` has too many waiting already."""
        if self._urgent.count(owner) + self._others.count(owner) >= MOST_OF_ONE:
            raise JobFailed(f"{MOST_OF_ONE} jobs of this call are waiting already")
        (self._urgent if urgent else self._others).push(owner, job)

    def pop(self, fits: Callable[[J], bool]) -> J | None:
        """The next job that ``fits``, or None."""
        if self._in_a_row >= _URGENT_IN_A_ROW and (job := self._others.pop(fits)) is not None:
            self._in_a_row = 0
            return job
        if (job := self._urgent.pop(fits)) is not None:
            self._in_a_row = self._in_a_row + 1 if len(self._others) else 0
            return job
        self._in_a_row = 0
        return self._others.pop(fits)

    def remove(self, job: J, owner: Hashable) -> None:
        """Without effect where it does not wait."""
        if not self._urgent.remove(owner, job):
            self._others.remove(owner, job)

    def take(self, fits: Callable[[J], bool]) -> list[J]:
        """Remove all that ``fits``, and return them."""
        return self._urgent.take(fits) + self._others.take(fits)
