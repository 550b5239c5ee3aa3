"""How far a call has come: a table."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a call, or of one attempt at it."""

    QUEUED = "queued"
    DIALING = "dialing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def over(self) -> bool:
        """Whether an attempt with this status has ended."""
        return self not in (Status.QUEUED, Status.DIALING, Status.IN_PROGRESS)


_ENDS = frozenset(status for status in Status if status.over)

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.DIALING, Status.CANCELED, Status.FAILED}),
    Status.DIALING: frozenset({Status.IN_PROGRESS}) | _ENDS,
    # Somebody who answered can no longer be busy.
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED}),
    # Dialled again, unless it was the last time.
    Status.BUSY: frozenset({Status.DIALING, Status.CANCELED}),
    Status.NO_ANSWER: frozenset({Status.DIALING, Status.CANCELED}),
    Status.FAILED: frozenset({Status.DIALING, Status.CANCELED}),
    # Dialled again only where a promise made on the telephone could not be kept.
    Status.COMPLETED: frozenset({Status.DIALING}),
    Status.CANCELED: frozenset(),
}
"""From each status, what may come next; all else is late news and changes nothing."""


def may_follow(before: Status, after: Status) -> bool:
    return after in TRANSITIONS[before]


def normal(word: str) -> str:
    """``no-answer`` and ``no_answer`` are one word."""
    return word.strip().lower().replace("-", "_")


HANDED_OVER = "handed to a human"
"""Why a call is completed that goes on without us."""


@dataclass(frozen=True, slots=True)
class Progress:
    """News of one attempt, from the telephone network."""

    status: Status
    provider_call_id: str = ""
    """As the network calls it; news of another call is not news of this one."""
    sequence: int | None = None
    """Where the network numbers its news: what has a lower number than something heard before is late."""
    reason: str = ""
    """Why it ended so, for a person: ``486 Busy Here``, ``HANDED_OVER``."""
    retryable: bool = True
    """False where dialling again cannot help: a number that does not exist."""
    answered_by: str = ""
    """``human``, ``machine``, or empty where nobody has found out."""
