"""What is told of calls that nobody holds yet."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ai_engine.app.job_news import JobNews
from ai_engine.app.jobs_under_way import JobsUnderWay
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status
from ai_engine.observe.feed import Reader
from ai_engine.observe.live import LiveCalls
from ai_engine.switchboard.models import LiveCall, StudioEvent
from tests.fakes.call_desk import MemoryDesk


class Scene:
    def __init__(self) -> None:
        self.desk = MemoryDesk(Manners(windows=()))
        self.live = LiveCalls(lambda _: None)
        self.fails: list[Exception] = []
        under_way = JobsUnderWay(self.desk, self.unsettled, "reception")
        self.news = JobNews(under_way, self.held, self.live, self.desk, seconds=0.01)

    def unsettled(self) -> Sequence[str]:
        if self.fails:
            raise self.fails.pop()
        return [record.id for record in self.desk._records.values() if not record.settled]

    async def held(self) -> Sequence[LiveCall]:
        return self.live.now()

    async def ask(self) -> CallRecord:
        return await self.desk.call_agent(CallRequest(to="+15550100", own_words=True, trunk="+15550001"))


@asynccontextmanager
async def scene() -> AsyncIterator[tuple[Scene, Reader[StudioEvent]]]:
    here = Scene()
    running = asyncio.create_task(here.news.run())
    reader = here.live.events()
    await asyncio.sleep(0.1)  # until it has looked for the first time: what was there before is no news
    try:
        yield here, reader
    finally:
        await reader.aclose()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def told(reader: Reader[StudioEvent]) -> tuple[str, str, str, str]:
    async with asyncio.timeout(5):
        event = await anext(reader)
    return event.kind, event.call_id, event.data["state"], event.data.get("reason", "")


async def test_a_call_from_its_request_to_its_end_without_an_answer() -> None:
    async with scene() as (here, reader):
        record = await here.ask()
        assert await told(reader) == ("call_started", f"{record.id}-1", "queued", "")
        here.desk.happen(record.id, Status.DIALING, "dialing")
        assert await told(reader) == ("call_changed", f"{record.id}-1", "dialing", "")
        here.desk._note(record.id, "ringing")
        assert await told(reader) == ("call_changed", f"{record.id}-1", "ringing", "")
        here.desk.settle(record.id, Status.NO_ANSWER)
        assert await told(reader) == ("call_ended", f"{record.id}-1", "ending", "no_answer")


async def test_a_call_that_is_answered_tells_the_rest_itself() -> None:
    async with scene() as (here, reader):
        record = await here.ask()
        await told(reader)
        here.live.call_started(f"{record.id}-1", {"agent": "reception", "job": record.id}, 0.0)
        assert (await told(reader))[:2] == ("call_started", f"{record.id}-1")
        here.desk.happen(record.id, Status.DIALING, "dialing")
        here.desk.happen(record.id, Status.IN_PROGRESS, "answered")
        here.live.call_ended(f"{record.id}-1", "caller_hung_up", 1.0)
        here.desk.settle(record.id, Status.COMPLETED)
        assert await told(reader) == ("call_ended", f"{record.id}-1", "ending", "caller_hung_up")
        other = await here.ask()
        assert (await told(reader))[:2] == ("call_started", f"{other.id}-1")  # and nothing of the first one before it


async def test_a_busy_number_is_dialled_again_as_another_call() -> None:
    async with scene() as (here, reader):
        record = await here.ask()
        await told(reader)
        here.desk.happen(record.id, Status.DIALING, "dialing")
        await told(reader)
        here.desk.happen(record.id, Status.BUSY, "busy")
        assert {await told(reader), await told(reader)} == {
            ("call_ended", f"{record.id}-1", "ending", "busy"),
            ("call_started", f"{record.id}-2", "queued", ""),
        }


@pytest.mark.parametrize("trouble", [RuntimeError("a defect")])
async def test_trouble_is_not_the_end_of_it(trouble: Exception) -> None:
    async with scene() as (here, reader):
        here.fails = [trouble]
        record = await here.ask()
        assert (await told(reader))[:2] == ("call_started", f"{record.id}-1")


async def test_nobody_looks_and_nothing_is_asked() -> None:
    here = Scene()
    running = asyncio.create_task(here.news.run())
    here.fails = [AssertionError("the desk is asked")]
    await asyncio.sleep(0.1)
    assert here.fails
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
