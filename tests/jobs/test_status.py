"""How far a call can come."""

from itertools import product

import pytest

from ai_engine.jobs.status import TRANSITIONS, Status, may_follow


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize(("before", "after"), [*product((s for s in Status if s.over), Status)])
def test_news_of_the_network_ends_nothing_twice(before: Status, after: Status) -> None:
    """From an end only a new dial leads on, or somebody who does not want it any more."""
    if may_follow(before, after):
        assert after in (Status.DIALING, Status.CANCELED)


def test_nothing_follows_a_canceled_call() -> None:
    assert not any(may_follow(Status.CANCELED, after) for after in Status)


def test_somebody_who_answered_is_not_busy() -> None:
    assert not may_follow(Status.IN_PROGRESS, Status.BUSY)
    assert not may_follow(Status.IN_PROGRESS, Status.NO_ANSWER)
