"""A call from the request to its end, on the real workflows."""

import asyncio
from pathlib import Path

import pytest

from ai_engine.jobs.ports import CannotCall, RequestRefused
from ai_engine.jobs.status import Progress, Status
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork


async def test_busy_the_first_time_answered_the_second(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt, record.outcome) == (Status.COMPLETED, 2, "not_scheduled")
        assert desk.network.dialed == [f"{record.id}-1", f"{record.id}-2"]
        assert await desk.kinds(record.id) == [
            "queued",
            "dialing",
            "busy",
            "retry",
            "dialing",
            "answered",
            "ended",
            "settled",
        ]
