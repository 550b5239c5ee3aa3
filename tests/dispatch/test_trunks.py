"""Ways out: each has lines and a pace of its own."""

from pathlib import Path

from ai_engine.jobs.status import Status
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

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


async def test_a_way_out_that_is_gone_is_not_replaced_by_another(tmp_path: Path) -> None:
    """Whoever took it out of the settings while a call waited had a reason."""
    settings, network = {**SETTINGS, "retry": {"initial_delay_ms": 1500}}, ToyNetwork([[BUSY]], id="asterisk")
    async with open_desk(tmp_path, settings, network) as desk:
        asked = await desk.call(trunk="slow")
        await desk.until(asked.id, lambda record: record.next_attempt_at is not None)
    fewer = {**settings, "asterisk": {"trunks": {"main": TRUNKS["main"]}}}
    async with open_desk(tmp_path, fewer, network) as desk:
        record = await desk.settled(asked.id)
    assert (record.status, record.last_error) == (Status.BUSY, "there is no trunk 'slow' (known: main)")
    assert len(network.dialed) == 1
