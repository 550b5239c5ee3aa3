"""When a number is dialled again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.retry import delay_seconds, retry_of
from ai_engine.jobs.settings import Retry
from ai_engine.jobs.status import Status


def test_the_contracts_delays() -> None:
    delays = [delay_seconds(Retry(), Status.BUSY, n, retryable=True, chance=0.5) for n in (1, 2, 3)]
    assert delays == [60.0, 120.0, None]


@pytest.mark.parametrize("status", Status)
def test_only_what_the_settings_name_is_dialled_again(status: Status) -> None:
    retried = delay_seconds(Retry(), status, 1, retryable=True, chance=0.5) is not None
    assert retried == (status in ("busy", "no_answer", "failed"))


@pytest.mark.parametrize("word", ["no-answer", "no_answer", "No-Answer"])
def test_both_spellings_are_one_word(word: str) -> None:
    retry = Retry(retry_statuses=(word,))
    assert delay_seconds(retry, Status.NO_ANSWER, 1, retryable=True, chance=0.5) == 60.0
    assert delay_seconds(retry, Status.BUSY, 1, retryable=True, chance=0.5) is None


def test_what_cannot_help_is_not_tried() -> None:
    assert delay_seconds(Retry(), Status.FAILED, 1, retryable=False, chance=0.5) is None


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1), st.floats(1, 100))
def test_no_delay_is_longer_than_the_longest(attempt: int, jitter: float, chance: float, factor: float) -> None:
    retry = Retry(max_attempts=50, max_delay_ms=300_000, jitter=jitter, backoff_factor=factor)
    delay = delay_seconds(retry, Status.BUSY, attempt, retryable=True, chance=chance)
    assert (delay is None) == (attempt == 50)
    assert delay is None or 0 <= delay <= 300 * (1 + jitter) + 1e-6


@pytest.mark.parametrize(
    ("purpose", "most"),
    [
        ({"prompt": "Ask."}, 3),
        ({"prompt": "Ask.", "maxAttempts": 1}, 1),
        ({"ownWords": True}, 1),
        ({"ownWords": True, "maxAttempts": 2}, 2),
    ],
)
def test_a_request_may_say_how_often(purpose: dict[str, object], most: int) -> None:
    request = CallRequest.model_validate({"to": "+15550100", **purpose})
    assert retry_of(Retry(), request) == Retry(max_attempts=most)
