"""Nothing is left lying, by an older version, a defect, or an engine of another name; and nothing is kept for ever."""

import asyncio
import time
from pathlib import Path

import pytest
from dbos import DBOS
from sqlalchemy import create_engine, inspect, text

from ai_engine.dispatch import workflows
from ai_engine.dispatch.rescue import Rescue
from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import answered, booking, hang_up
from tests.fakes.desks import PaperCalendar, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork


async def test_a_newer_version_carries_on_what_an_older_one_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in mid-conversation, one that waits for the only line, one that is to be dialled again, and a booking."""
    network, calendar = ToyNetwork([[BUSY], [ANSWERED]]), PaperCalendar()
    settings = {"mock": {"calls": 1}, "retry": {"initial_delay_ms": 1500}}
    monkeypatch.setattr(workflows, "VERSION", "0")
    async with open_desk(tmp_path, settings, network, calendar) as desk:
        redialled = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        talking = await answered(desk, (await desk.call(to="+15550101")).id)
        queued = await desk.call(to="+15550102")
        calendar.failures = 1000
        owed = asyncio.create_task(desk.dispatch.book(talking.id, booking(talking.id)))
        await desk.until(talking.id, lambda _: len(calendar.asked) > 0)
        owed.cancel()
        await asyncio.gather(owed, return_exceptions=True)
    monkeypatch.undo()
    calendar.failures = 0
    network.scripts = [[], [], [ANSWERED, DONE], [ANSWERED, DONE]]
    async with open_desk(tmp_path, settings, network, calendar) as desk:
        await desk.until(talking.id, lambda _: len(network.watched) == 3)
        await hang_up(desk, talking)
        assert (await desk.settled(talking.id)).outcome == "scheduled"
        for call in (queued, redialled):
            assert (await desk.settled(call.id)).status is Status.COMPLETED
        keys = [f"{redialled.id}-1", f"{talking.id}-1", f"{queued.id}-1", f"{redialled.id}-2"]
        assert sorted(network.dialed) == sorted(keys)


async def test_a_call_whose_workflow_was_ended_is_settled(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]]), lost_seconds=1.0) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await DBOS.cancel_workflow_async(workflows.own_id(talking.id))
        record = await desk.settled(talking.id)
        assert record.status is Status.FAILED
        assert record.last_error == "a defect of the engine: it was left undone"
        assert desk.network.ended == [f"{talking.id}-1"]


async def test_what_a_queue_gave_us_and_we_never_heard_of_is_taken_up(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        rescue = Rescue("one", desk.dispatch._carrier)
        [task] = [task for task, name in workflows._under_way.items() if name.startswith(f"{talking.id}-1@")]
        task.cancel()
        await asyncio.wait([task])
        for _ in range(2):
            await rescue.look([talking.id], [], ())
        await desk.until(talking.id, lambda _: len(desk.network.watched) == 2)
        await hang_up(desk, talking)
        assert (await desk.settled(talking.id)).status is Status.COMPLETED


async def test_an_engine_of_another_name_carries_on_at_once(tmp_path: Path) -> None:
    """On a file of its own it is alone, whatever the container is called this time."""
    network = ToyNetwork([[ANSWERED]])
    async with open_desk(tmp_path, network=network, engine_name="5f2c") as desk:
        talking = await answered(desk, (await desk.call()).id)
    network.scripts = [[]]
    async with open_desk(tmp_path, network=network, engine_name="77ab") as desk:
        await desk.until(talking.id, lambda _: len(network.watched) == 2, 10)
        await hang_up(desk, talking)
        await desk.settled(talking.id)
        assert desk.dispatch.counters["rescued"] == 1


async def test_what_was_settled_long_ago_is_forgotten(tmp_path: Path) -> None:
    long_ago, ages = time.time() - 91 * 24 * 3600, f"{tmp_path}/dbos.sqlite"
    settings, network = {"retry": {"initial_delay_ms": 0}}, ToyNetwork([[BUSY], [ANSWERED]])
    async with open_desk(tmp_path, settings, network, clock=lambda: long_ago) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.book(talking.id, booking(talking.id))
        await desk.dispatch.book("somebody who called us", booking("somebody who called us"))
        await hang_up(desk, talking)
        await desk.settled(talking.id)
        async with asyncio.timeout(20):
            while await DBOS.list_workflows_async(status="PENDING"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    _age_workflows(ages)
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]]), lost_seconds=1.0) as desk:
        fresh = await answered(desk, (await desk.call()).id)
        async with asyncio.timeout(20):
            while len(await desk.dispatch.calls()) > 1 or _rows(ages)["workflow_status"] > 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [record.id for record in await desk.dispatch.calls()] == [fresh.id]
        assert await desk.dispatch.timeline(talking.id) == await desk.dispatch.timeline("somebody who called us") == []
        assert desk.store.bookings_of("somebody who called us") == []
        assert _rows(ages)["operation_outputs"] < 10


def _age_workflows(path: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE workflow_status SET completed_at = completed_at - 91 * 24 * 3600 * 1000"))
    engine.dispose()


def _rows(path: str) -> dict[str, int]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        found = {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() or 0 for table in tables}
    engine.dispose()
    return found
