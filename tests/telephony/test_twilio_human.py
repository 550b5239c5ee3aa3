"""A callee who asks for a person, or whom the agent fails: Twilio connects them with the human's number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ai_engine.jobs.ports import CannotCall
from ai_engine.jobs.status import HANDED_OVER
from tests.fakes.twilio_fake import FROM, FakeCall, Fault
from tests.telephony.twilio_parts import Leg, Stage, attempt, stage
from tests.waiting import until

HUMAN = "+14155550199"


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Stage, FakeCall, Leg]]:
    async with stage(human_number=HUMAN) as it:
        await it.dial(attempt())
        call = await it.twilio.next_call()
        await call.streaming.wait()
        await until(lambda: it.door.legs)
        yield it, call, it.door.legs[0]
    assert it.twilio.violations == []


async def hand_over(leg: Leg) -> None:
    assert leg.hand_over is not None
    await asyncio.wrap_future(leg.hand_over())


async def connected(call: FakeCall) -> str | None:
    """With whom the callee is connected now."""
    async with asyncio.timeout(5):
        await call.with_human.wait()
    return call.connected_to


async def test_the_callee_talks_with_the_human_until_they_hang_up() -> None:
    async with talking() as (it, call, leg):
        await hand_over(leg)
        assert it.book.statuses[-1] == "completed"
        assert await connected(call) == HUMAN
        assert it.book.news[-1][2].reason == HANDED_OVER
        leg.close(1000)  # as every call does that has left us
        await until(lambda: leg.reasons)
        assert call.status == "in-progress", "the human was hung up on"
        assert call.field("TimeLimit") == "14400", "the human has as much time as they like"
        call.hang_up()
        await call.done()
        assert it.book.statuses.count("completed") == 1
        assert [update for _, update in it.twilio.updates] == [
            f'<?xml version="1.0" encoding="UTF-8"?><Response><Dial callerId="{FROM}">{HUMAN}</Dial></Response>'
        ]


async def test_nobody_who_cancels_a_call_hangs_up_on_the_human() -> None:
    async with talking() as (it, call, leg):
        await hand_over(leg)
        await it.telephony.end_call(attempt(), call.sid)
        assert call.status == "in-progress"


async def test_the_stream_ends_by_itself() -> None:
    async with talking() as (_, call, leg):
        await hand_over(leg)
        await until(lambda: leg.reasons == ["stopped"])
        assert call.status == "in-progress"


async def test_what_does_not_last_is_tried_again() -> None:
    async with talking() as (it, call, leg):
        it.twilio.faults = [Fault(503)]
        await hand_over(leg)
        assert await connected(call) == HUMAN


@pytest.mark.parametrize("fault", [Fault(400, 21205, "no"), Fault(404, 20404, "not found")])
async def test_a_human_who_cannot_be_had(fault: Fault) -> None:
    async with talking() as (it, call, leg):
        it.twilio.faults = [fault]
        with pytest.raises(CannotCall):
            await hand_over(leg)
        assert call.connected_to is None
        leg.close(1000)
        await call.done()
        assert it.book.statuses[-1] == "completed"
        assert HANDED_OVER not in [news.reason for _, _, news in it.book.news]


async def test_a_callee_who_has_left_is_handed_to_nobody() -> None:
    async with talking() as (_, call, leg):
        call.hang_up()
        await call.done()
        with pytest.raises(CannotCall, match="over"):
            await hand_over(leg)


async def test_a_store_that_fails_costs_nobody_the_human() -> None:
    async with talking() as (it, call, leg):
        await until(lambda: it.book.statuses[-1] == "in_progress")
        it.book.failing = 1
        await hand_over(leg)
        await it.telephony.end_call(attempt(), call.sid)
        assert (await connected(call), call.status) == (HUMAN, "in-progress")
        call.hang_up()
        await call.done()
        assert it.book.statuses[-1] == "completed", "Twilio has told of the end"


async def test_without_a_number_there_is_nobody() -> None:
    async with stage() as it:
        await it.dial(attempt())
        await until(lambda: it.door.legs)
        assert it.door.legs[0].hand_over is None
