"""Dialling again: the same call, another attempt; never after the end, and never lost."""

import asyncio
from pathlib import Path

from ai_engine.jobs.ports import CannotCall
from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import answered
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork


async def test_the_call_stays_and_the_networks_call_is_another(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED]])) as desk:
        asked = await desk.call()
        talking = await answered(desk, asked.id)
        assert (talking.id, talking.attempt) == (asked.id, 2)
        assert talking.provider_call_id == f"toy-{asked.id}-2"
        assert talking.last_error is None, "that of the first attempt"


async def test_a_redial_that_the_network_does_not_take_has_failed_and_is_tried_again(tmp_path: Path) -> None:
    network = ToyNetwork([[BUSY], CannotCall("the trunk is down"), [ANSWERED, DONE]])
    async with open_desk(tmp_path, network=network) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt) == (Status.COMPLETED, 3)
        entries = [(entry.kind, entry.text) for entry in await desk.dispatch.timeline(record.id)]
        assert ("failed", "the trunk is down") in entries


async def test_nobody_is_dialled_by_an_engine_that_has_stopped(tmp_path: Path) -> None:
    network = ToyNetwork([[BUSY]])
    async with open_desk(tmp_path, {"retry": {"initial_delay_ms": 300}}, network) as desk:
        await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
    await asyncio.sleep(0.6)
    assert len(network.dialed) == 1


async def test_the_timeline_tells_in_order(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call()).id)
        entries = await desk.dispatch.timeline(record.id)
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
        assert [entry.attempt for entry in entries] == [0, 1, 1, 1, 2, 2, 2, 2]
