"""What is under way when an engine stops in good order is carried on by the next one."""

import asyncio
import logging
from pathlib import Path

import pytest

from ai_engine.errors import ConfigError
from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import answered, booking, hang_up
from tests.fakes.desks import PaperCalendar, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork


async def test_a_conversation_goes_on_over_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = ToyNetwork([[ANSWERED]])
    async with open_desk(tmp_path, network=network) as desk:
        talking = await answered(desk, (await desk.call()).id)
    network.scripts = [[]]
    async with open_desk(tmp_path, network=network) as desk:
        await desk.until(talking.id, lambda _: len(network.watched) == 2)
        assert (await desk.dispatch.status(talking.id)) == talking
        attempt = desk.dispatch.find(talking.id)
        assert attempt is not None
        assert attempt.token == network.attempts[0].token, "the media stream's secret is another one"
        await hang_up(desk, talking)
        record = await desk.settled(talking.id)
    assert record.status is Status.COMPLETED
    assert network.dialed == [f"{talking.id}-1"]
    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR] == []


async def test_a_redial_that_was_due_meanwhile_is_made_up_for(tmp_path: Path) -> None:
    network = ToyNetwork([[BUSY], [ANSWERED, DONE]])
    async with open_desk(tmp_path, {"retry": {"initial_delay_ms": 1500}}, network) as desk:
        waiting = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
    async with open_desk(tmp_path, {"retry": {"initial_delay_ms": 1500}}, network) as desk:
        record = await desk.settled(waiting.id)
    assert (record.status, record.attempt) == (Status.COMPLETED, 2)
    assert network.dialed == [f"{waiting.id}-1", f"{waiting.id}-2"]


async def test_an_appointment_the_calendar_owes_is_asked_for_again(tmp_path: Path) -> None:
    calendar, network = PaperCalendar(), ToyNetwork([[ANSWERED]])
    calendar.failures = 1000
    async with open_desk(tmp_path, network=network, calendar=calendar) as desk:
        talking = await answered(desk, (await desk.call()).id)
        owed = asyncio.create_task(desk.dispatch.book(talking.id, booking(talking.id)))
        await desk.until(talking.id, lambda _: len(calendar.asked) > 1)
        owed.cancel()
        await asyncio.gather(owed, return_exceptions=True)
        await hang_up(desk, talking)
    calendar.failures = 0
    async with open_desk(tmp_path, network=network, calendar=calendar) as desk:
        record = await desk.settled(talking.id)
    assert record.outcome == "scheduled"
    assert len(calendar.events) == 1


async def test_two_engines_do_not_share_a_file(tmp_path: Path) -> None:
    async with open_desk(tmp_path):
        with pytest.raises(ConfigError, match="another engine uses this store"):
            async with open_desk(tmp_path, engine_name="two"):
                pass
