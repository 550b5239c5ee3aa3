"""Ways out: each has lines and a pace of its own."""

from pathlib import Path

from ai_engine.jobs.status import Status
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, DONE, ToyNetwork

TRUNKS = {
    "main": {"dial": "PJSIP/{number}@main", "calls": 1},
    "slow": {"dial": "PJSIP/{number}@slow", "calls": 5, "calls_per_minute": 1},
}
SETTINGS = {"telephony": {"provider": "asterisk"}, "asterisk": {"trunks": TRUNKS}}


async def test_a_request_may_choose_its_way_out(tmp_path: Path) -> None:
    network = ToyNetwork([[ANSWERED, DONE]] * 2, id="asterisk")
    async with open_desk(tmp_path, SETTINGS, network) as desk:
        first = await desk.settled((await desk.call()).id)
        second = await desk.settled((await desk.call(trunk="slow")).id)
        assert {first.status, second.status} == {Status.COMPLETED}
        assert [attempt.trunk for attempt in network.attempts] == ["main", "slow"]


async def test_a_busy_trunk_does_not_hold_up_another(tmp_path: Path) -> None:
    async with open_desk(tmp_path, SETTINGS, ToyNetwork([[ANSWERED]] * 3, id="asterisk")) as desk:
        calls = [await desk.call(trunk="main"), await desk.call(trunk="main"), await desk.call(trunk="slow")]
        for call in (calls[0], calls[2]):
            await desk.until(call.id, lambda record: record.status is Status.IN_PROGRESS)
        waiting = await desk.dispatch.status(calls[1].id)
        assert waiting is not None
        assert waiting.status is Status.QUEUED


async def test_no_more_dials_within_a_minute_than_the_trunk_bears(tmp_path: Path) -> None:
    async with open_desk(tmp_path, SETTINGS, ToyNetwork([[ANSWERED, DONE]] * 2, id="asterisk")) as desk:
        await desk.settled((await desk.call(trunk="slow")).id)
        second, third = await desk.call(trunk="slow"), await desk.call(trunk="main")
        await desk.settled(third.id)
        waiting = await desk.dispatch.status(second.id)
        assert waiting is not None
        assert waiting.status is Status.QUEUED
        assert len(desk.network.dialed) == 2
