"""What came at once, and times that run out."""

import asyncio

from ai_engine.transports.tcp import Timer, without_stale
from tests.waiting import until


def test_of_a_backlog_only_the_latest_sound_is_kept_and_all_else() -> None:
    messages: list[int | str] = ["first", *range(8), "key", *range(8, 15), "last"]
    kept = without_stale(messages, lambda message: isinstance(message, int))
    assert kept == ["first", 5, 6, 7, "key", *range(8, 15), "last"]


def test_many_messages_without_much_sound_are_no_backlog() -> None:
    messages = [*range(10), *"abcdefgh"]
    assert without_stale(messages, lambda message: isinstance(message, int)) == messages


async def test_only_the_last_time_that_was_set_counts() -> None:
    timer, ran_out = Timer(), []
    assert not timer.running
    timer.set(0.01, lambda: ran_out.append("first"))
    timer.set(0.02, lambda: ran_out.append("second"))
    assert timer.running
    await until(lambda: ran_out)
    assert ran_out == ["second"]
    timer.set(0.01, lambda: ran_out.append("third"))
    timer.stop()
    timer.stop()
    assert not timer.running
    await asyncio.sleep(0.03)
    assert ran_out == ["second"]
