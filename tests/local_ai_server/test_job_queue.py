"""Whose job is next, and how long a new one would wait: no process is needed for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server.errors import JobFailed
from local_ai_server.jobs import MOST_OF_ONE, JobQueue
from local_ai_server.load import Load


def queue_of(*jobs: tuple[str, bool]) -> JobQueue[str]:
    """Jobs named ``owner`` and a number, urgent or not."""
    queue: JobQueue[str] = JobQueue()
    for name, urgent in jobs:
        queue.push(name, name[0], urgent=urgent)
    return queue


def drained(queue: JobQueue[str]) -> str:
    order = []
    while (job := queue.pop(lambda job: True)) is not None:
        order.append(job)
    return " ".join(order)


def test_owners_take_turns() -> None:
    assert drained(queue_of(*((name, True) for name in ("a1", "a2", "a3", "b1", "c1", "b2")))) == "a1 b1 c1 a2 b2 a3"


def test_who_was_served_comes_after_those_who_wait() -> None:
    queue = queue_of(("a1", True), ("b1", True))
    assert queue.pop(lambda job: True) == "a1"
    queue.push("a2", "a", urgent=True)
    assert drained(queue) == "b1 a2"


def test_urgent_ones_go_first_and_the_others_are_not_forgotten() -> None:
    queue = queue_of(("a1", False), ("a2", False), *((f"b{i}", True) for i in range(8)))
    assert drained(queue) == "b0 b1 b2 a1 b3 b4 b5 a2 b6 b7"


def test_one_owner_cannot_fill_the_queue() -> None:
    queue = queue_of(*((f"a{i}", i % 2 == 0) for i in range(MOST_OF_ONE)))
    with pytest.raises(JobFailed, match=f"{MOST_OF_ONE} jobs of this call are waiting already"):
        queue.push("a9", "a", urgent=True)
    queue.push("b1", "b", urgent=False)
    queue.remove("a0", "a")
    queue.push("a9", "a", urgent=True)
    assert len(queue) == MOST_OF_ONE + 1


def test_a_job_for_another_worker_is_passed_by() -> None:
    queue = queue_of(("a1", True), ("b1", True))
    assert queue.pop(lambda job: job != "a1") == "b1"
    assert queue.pop(lambda job: job != "a1") is None
    assert queue.take(lambda job: job == "a1") == ["a1"]
    assert len(queue) == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=24))
def test_each_job_is_done_once(wanted: list[tuple[str, bool]]) -> None:
    queue: JobQueue[int] = JobQueue()
    pushed = []
    for number, (owner, urgent) in enumerate(wanted):
        try:
            queue.push(number, owner, urgent=urgent)
        except JobFailed:
            continue
        pushed.append(number)
    popped = [queue.pop(lambda job: True) for _ in pushed]
    assert sorted(popped) == pushed
    assert queue.pop(lambda job: True) is None


def test_nobody_waits_while_a_worker_is_free() -> None:
    load = Load()
    load.done(5.0)
    assert load.wait_seconds(9, [1.0], workers=2) == 0.0


def test_the_wait_grows_with_the_queue_and_shrinks_with_workers() -> None:
    load = Load()
    load.done(0.5)
    assert load.wait_seconds(3, [0.0], workers=1) == pytest.approx(2.0)
    assert load.wait_seconds(3, [0.0, 0.1], workers=2) == pytest.approx(1.0)


def test_a_job_that_takes_longer_than_usual_counts_as_it_is() -> None:
    load = Load()
    load.done(0.1)
    assert load.wait_seconds(0, [6.0, 4.0], workers=2) == pytest.approx(2.5)


def test_recent_jobs_count_most() -> None:
    load = Load()
    for seconds in [1.0] * 3 + [0.1] * 20:
        load.done(seconds)
    assert 0.1 <= load.mean_seconds < 0.12
    assert load.jobs == 23
