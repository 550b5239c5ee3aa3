"""Whether, and when, a number is dialled again."""

from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import Retry
from ai_engine.jobs.status import Status


def retry_of(retry: Retry, request: CallRequest) -> Retry:
    """``retry`` with as many dials as the request wants: one where an agent talks in its own words."""
    most = request.max_attempts or (1 if request.talks else retry.max_attempts)
    return retry.model_copy(update={"max_attempts": most})


def delay_seconds(retry: Retry, status: Status, attempt: int, *, retryable: bool, chance: float) -> float | None:
    """How long to wait after the ``attempt``-th dial (from 1) ended with ``status``; None: it was the last.

    ``chance`` is a random number of 0..1, for the jitter.
    """
    if not retryable or status not in retry.statuses or attempt >= retry.max_attempts:
        return None
    # Beyond so many the delay is at its longest, and the power would not fit a float.
    longer = retry.backoff_factor ** min(attempt - 1, 64)
    delay_ms = min(round(retry.initial_delay_ms * longer), retry.max_delay_ms)
    return delay_ms * (1 + retry.jitter * (2 * chance - 1)) / 1000
