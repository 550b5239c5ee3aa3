"""Calls whose agent talks in its own words."""

from pathlib import Path
from typing import Any

import pytest

from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.status import Progress, Status
from tests.fakes.desks import Desk, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

NO_ANSWER = Progress(Status.NO_ANSWER)


async def ask(desk: Desk, **changes: Any) -> str:
    return (await desk.call(goal=None, durationMinutes=None, ownWords=True, agent="reception", **changes)).id


async def test_it_is_dialled_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        record = await desk.settled(await ask(desk))
        assert (record.status, record.attempt, record.outcome) == (Status.BUSY, 1, None)
        assert len(desk.network.dialed) == 1


async def test_it_is_dialled_as_often_as_it_says(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [NO_ANSWER], [ANSWERED, DONE]])) as desk:
        record = await desk.settled(await ask(desk, maxAttempts=2))
        assert (record.status, record.attempt) == (Status.NO_ANSWER, 2)


async def test_a_call_with_a_goal_may_be_dialled_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call(maxAttempts=1)).id)
        assert (record.status, record.attempt) == (Status.BUSY, 1)


async def test_a_conversation_is_all_it_is_for_and_nobody_is_told_of_a_failure(tmp_path: Path) -> None:
    settings = {"notify": {"on_failure": True}}
    async with open_desk(tmp_path, settings, ToyNetwork([[ANSWERED, DONE], [BUSY]])) as desk:
        record = await desk.settled(await ask(desk))
        assert (record.status, record.outcome) == (Status.COMPLETED, "talked")
        busy = await desk.settled(await ask(desk))
        await desk.until(busy.id, lambda _: bool(desk.told))
        assert [told.id for told in desk.told] == [busy.id]


async def test_it_rings_and_lasts_as_long_as_it_says(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED, DONE]])) as desk:
        await desk.settled(await ask(desk, ringSeconds=12, maxSeconds=34))
        [attempt] = desk.network.attempts
        assert (attempt.ring_seconds, attempt.assignment.max_seconds) == (12, 34)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"maxAttempts": 4}, r"maxAttempts 4 is more than the 3 that call_agent.retry.max_attempts allows"),
        ({"ringSeconds": 31}, r"ringSeconds 31 is more than the 30 that call_agent.manners.ring_seconds allows"),
        ({"maxSeconds": 301}, r"maxSeconds 301 is more than the 300 that call_agent.manners.max_seconds allows"),
        ({"to": "+15550666"}, "do-not-call"),
        ({"to": "+4930123456"}, "must begin with"),
    ],
)
async def test_nobody_may_more_than_the_house_allows(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    manners = {"windows": [], "do_not_call": ["+15550666"], "allowed_prefixes": ["+1"]}
    async with open_desk(tmp_path, {"manners": manners}) as desk:
        with pytest.raises(RequestRefused, match=why):
            await ask(desk, **changes)
        assert not await desk.dispatch.calls()
