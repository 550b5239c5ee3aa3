"""A loop of its own, that can be closed whatever it is doing."""

import asyncio
import threading

import pytest

from ai_engine.observe.office import Office


async def test_work_is_done_elsewhere_while_the_call_loop_turns() -> None:
    office = Office()

    async def where() -> str:
        return threading.current_thread().name

    assert await asyncio.wrap_future(office.submit(where())) == "office"
    office.close()


def test_errors_come_back() -> None:
    office = Office()

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        office.submit(fail()).result(5)
    office.close()


def test_close_cancels_what_runs() -> None:
    office, started, cancelled = Office(), threading.Event(), threading.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    office.submit(forever())
    assert started.wait(5)
    office.close()
    office.close()
    assert cancelled.is_set()
    assert "office" not in [thread.name for thread in threading.enumerate()]
