"""Ways out that come and go while the desk is open, as numbers do."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from dbos import DBOS

from ai_engine.dispatch import workflows
from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.settings import Trunk
from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import hang_up
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

SETTINGS = {"telephony": {"provider": "asterisk"}}
NUMBER, OTHER = "+15550100", "+15550101"


def trunk(number: str, calls: int = 1) -> Trunk:
    return Trunk(dial=f"PJSIP/{{number}}@studio-{number[1:]}", caller_id=number, calls=calls)


class Trunks(dict[str, Trunk]):
    """Of this moment."""

    def __bool__(self) -> bool:
        return True

    def __call__(self) -> Mapping[str, Trunk]:
        return dict(self)


async def test_a_trunk_that_comes_is_dialled_by(tmp_path: Path) -> None:
    trunks, network = Trunks(), ToyNetwork([[ANSWERED, DONE]] * 2, id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        with pytest.raises(RequestRefused, match="no way out: import a number"):
            await desk.call()
        trunks[NUMBER] = trunk(NUMBER)
        # Nobody has told the desk.
        named = await desk.settled((await desk.call(trunk=NUMBER)).id)
        await desk.dispatch.renew_trunks()
        first = await desk.settled((await desk.call()).id)
    assert {named.status, first.status} == {Status.COMPLETED}
    assert [attempt.trunk for attempt in network.attempts] == [NUMBER, NUMBER]


async def test_a_trunk_that_comes_has_as_many_lines_as_it_says(tmp_path: Path) -> None:
    trunks, network = Trunks(), ToyNetwork([[ANSWERED]] * 3, id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        trunks[NUMBER] = trunk(NUMBER, calls=2)
        calls = [await desk.call(trunk=NUMBER) for _ in range(3)]
        for call in calls[:2]:
            await desk.until(call.id, lambda record: record.status is Status.IN_PROGRESS)
        third = await desk.dispatch.status(calls[2].id)
        assert third is not None
        assert third.status is Status.QUEUED
        trunks[NUMBER] = trunk(NUMBER, calls=3)
        await desk.dispatch.renew_trunks()
        await desk.until(calls[2].id, lambda record: record.status is Status.IN_PROGRESS)


async def test_who_waits_for_a_trunk_that_goes_is_told_at_once(tmp_path: Path) -> None:
    """For a line, for the next dial, for the hour; who talks over it goes on talking."""
    trunks, network = Trunks({NUMBER: trunk(NUMBER), OTHER: trunk(OTHER)}), ToyNetwork([[BUSY], [ANSWERED]])
    network.id = "asterisk"
    settings = {**SETTINGS, "retry": {"initial_delay_ms": 60_000}}
    async with open_desk(tmp_path, settings, network, trunks=trunks) as desk:
        for_a_redial = await desk.call(trunk=NUMBER)
        await desk.until(for_a_redial.id, lambda record: record.next_attempt_at is not None)
        talking = await desk.call(trunk=NUMBER)
        await desk.until(talking.id, lambda record: record.status is Status.IN_PROGRESS)
        for_a_line = await desk.call(trunk=NUMBER)
        assert for_a_line.status is Status.QUEUED
        del trunks[NUMBER]
        await desk.dispatch.renew_trunks()
        for waiting in (for_a_redial, for_a_line):
            record = await desk.settled(waiting.id)
            assert record.last_error == f"there is no trunk '{NUMBER}' (known: {OTHER})"
        still = await desk.dispatch.status(talking.id)
        assert still is not None
        assert still.status is Status.IN_PROGRESS
        assert not network.ended
        assert len(network.dialed) == 2


async def test_who_waited_for_a_line_of_another_trunk_waits_for_one_of_its_own(tmp_path: Path) -> None:
    trunks, network = Trunks({NUMBER: trunk(NUMBER)}), ToyNetwork([[ANSWERED]] * 3, id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:

        async def talking(call_id: str) -> CallRecord:
            return await desk.until(call_id, lambda record: record.status is Status.IN_PROGRESS)

        first = await talking((await desk.call()).id)
        waiting = await desk.call()
        del trunks[NUMBER]
        trunks |= {OTHER: trunk(OTHER), NUMBER: trunk(NUMBER)}
        await desk.dispatch.renew_trunks()
        second = await talking((await desk.call()).id)
        await hang_up(desk, first)
        # It gets the line it has waited for, and goes to wait for another.
        async with asyncio.timeout(20):
            while len(await DBOS.list_workflows_async(workflow_id_prefix=f"{waiting.id}-")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [attempt.trunk for attempt in network.attempts] == [NUMBER, OTHER]
        await hang_up(desk, second)
        await talking(waiting.id)
        assert [attempt.trunk for attempt in network.attempts] == [NUMBER, OTHER, OTHER]


async def test_who_waited_for_a_trunk_that_went_while_nobody_ran_is_told(tmp_path: Path) -> None:
    trunks, network = Trunks({NUMBER: trunk(NUMBER)}), ToyNetwork([[ANSWERED]], id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        talking, waiting = await desk.call(trunk=NUMBER), await desk.call(trunk=NUMBER)
        await desk.until(talking.id, lambda record: record.status is Status.IN_PROGRESS)
    trunks.clear()
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        desk.dispatch.report(talking.id, 1, DONE)
        assert (await desk.settled(talking.id)).status is Status.COMPLETED
        record = await desk.settled(waiting.id)
        assert (record.status, record.last_error) == (Status.FAILED, f"there is no trunk '{NUMBER}' (known: none)")


async def test_a_trunk_that_comes_back_after_a_restart_takes_what_waited_for_it(tmp_path: Path) -> None:
    trunks, network = Trunks({NUMBER: trunk(NUMBER)}), ToyNetwork([[ANSWERED], [ANSWERED, DONE]], id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        talking, waiting = await desk.call(trunk=NUMBER), await desk.call(trunk=NUMBER)
        await desk.until(talking.id, lambda record: record.status is Status.IN_PROGRESS)
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        desk.dispatch.report(talking.id, 1, DONE)
        assert (await desk.settled(waiting.id)).status is Status.COMPLETED


async def test_queues_of_trunks_that_are_gone_are_looked_at_no_more(tmp_path: Path) -> None:
    trunks, network = Trunks({NUMBER: trunk(NUMBER), OTHER: trunk(OTHER)}), ToyNetwork([[ANSWERED]], id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        call = await desk.call(trunk=NUMBER)
        await desk.until(call.id, lambda record: record.status is Status.IN_PROGRESS)
    del trunks[OTHER]
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks) as desk:
        assert len(await DBOS.list_queues_async()) == 2, "something waits, or runs"
        desk.dispatch.report(call.id, 1, DONE)
        await desk.settled(call.id)
        async with asyncio.timeout(10):
            while await workflows.any_active():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    async with open_desk(tmp_path, SETTINGS, network, trunks=trunks):
        assert [queue.name for queue in await DBOS.list_queues_async()] == [f"offhook.asterisk.{NUMBER}"]
