"""When people may be called is asked again before each dial, however long a call has waited."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import answered, hang_up
from tests.fakes.desks import open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

EIGHT_IN_THE_EVENING = 1_796_083_200.0 + 19 * 3600
"""2026-12-01, in Berlin."""
WINDOW: Mapping[str, Any] = {"windows": [{"start": "09:00", "end": "21:00"}]}


class Clock:
    """On the wall; goes on when it is told to."""

    def __init__(self, now: float = EIGHT_IN_THE_EVENING) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody rings when a clock of a test has moved."""
    monkeypatch.setattr("ai_engine.dispatch.carrier._LOOK_SECONDS", 0.05)


async def test_the_hour_passes_while_it_waits_for_a_line(tmp_path: Path) -> None:
    clock, network = Clock(), ToyNetwork([[ANSWERED]] * 2)
    manners = {**WINDOW, "max_seconds": 3600 * 4}
    async with open_desk(tmp_path, {"manners": manners, "mock": {"calls": 1}}, network, clock=clock) as desk:
        first = await answered(desk, (await desk.call()).id)
        second = await desk.call(to="+15550101")
        clock.now += 2 * 3600
        await hang_up(desk, first)
        late = await desk.until(second.id, lambda record: record.next_attempt_at is not None)
        assert late.next_attempt_at is not None
        assert late.next_attempt_at.isoformat() == "2026-12-02T08:00:00+00:00"
        assert (late.attempt, network.dialed) == (0, [f"{first.id}-1"])
        clock.now += 11 * 3600 + 1
        talking = await answered(desk, second.id)
        assert (talking.attempt, len(network.dialed)) == (1, 2)


async def test_a_redial_waits_for_the_morning(tmp_path: Path) -> None:
    clock, network = Clock(), ToyNetwork([[BUSY], [ANSWERED]])
    settings = {"manners": WINDOW, "retry": {"initial_delay_ms": 2 * 3600_000, "max_delay_ms": 3 * 3600_000}}
    async with open_desk(tmp_path, settings, network, clock=clock) as desk:
        asked = await desk.call()
        morning = "2026-12-02T08:00:00+00:00"
        await desk.until(
            asked.id,
            lambda record: record.next_attempt_at is not None and record.next_attempt_at.isoformat() == morning,
        )
        assert [kind for kind in await desk.kinds(asked.id) if kind in ("retry", "waiting")] == ["retry", "waiting"]
        clock.now += 3 * 3600
        await asyncio.sleep(0.2)
        assert len(network.dialed) == 1
        clock.now += 11 * 3600
        await answered(desk, asked.id)


async def test_whoever_asks_us_not_to_call_is_not_dialled_again(tmp_path: Path) -> None:
    clock, network, numbers = Clock(), ToyNetwork([[BUSY], [BUSY]]), tmp_path / "numbers.txt"
    numbers.write_text("")
    manners = {"windows": [], "do_not_call_file": str(numbers)}
    settings = {"manners": manners, "retry": {"initial_delay_ms": 60_000}}
    async with open_desk(tmp_path, settings, network, clock=clock) as desk:
        waiting = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        numbers.write_text("0015550100\n")
        clock.now += 61
        record = await desk.settled(waiting.id)
        assert (record.status, record.attempt) == (Status.BUSY, 1)
        assert record.last_error is not None
        assert "do-not-call" in record.last_error
        assert len(network.dialed) == 1


async def test_nor_is_one_that_waits_for_a_line(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("")
    settings = {"manners": {"windows": [], "do_not_call_file": str(numbers)}, "mock": {"calls": 1}}
    async with open_desk(tmp_path, settings, ToyNetwork([[ANSWERED]])) as desk:
        first = await answered(desk, (await desk.call()).id)
        second = await desk.call(to="+15550101")
        numbers.write_text("+1 555 0101\n")
        await hang_up(desk, first)
        record = await desk.settled(second.id)
        assert (record.status, record.attempt) == (Status.FAILED, 0)
        assert len(desk.network.dialed) == 1


async def test_the_hours_dials_are_counted_when_they_are_dialled(tmp_path: Path) -> None:
    """Not when they are asked for: who waits for a line for an hour would otherwise come on top."""
    clock, network = Clock(), ToyNetwork([[ANSWERED]] * 9)
    manners = {"windows": [], "calls_per_hour": 2, "max_seconds": 3600 * 4}
    async with open_desk(tmp_path, {"manners": manners, "mock": {"calls": 1}}, network, clock=clock) as desk:
        calls = [await desk.call(to=f"+1555010{n}") for n in range(4)]
        first = await answered(desk, calls[0].id)
        clock.now += 50 * 60
        await hang_up(desk, first)
        second = await answered(desk, calls[1].id)
        clock.now += 5 * 60
        await hang_up(desk, second)
        third = await desk.until(calls[2].id, lambda record: record.next_attempt_at is not None)
        assert third.next_attempt_at is not None
        assert third.next_attempt_at.timestamp() == EIGHT_IN_THE_EVENING + 3600
        clock.now += 5 * 60 + 1
        third = await answered(desk, third.id)
        await hang_up(desk, third)
        fourth = await desk.until(calls[3].id, lambda record: record.next_attempt_at is not None)
        assert fourth.next_attempt_at is not None
        assert fourth.next_attempt_at.timestamp() == EIGHT_IN_THE_EVENING + 50 * 60 + 3600
        assert len(network.dialed) == 3


async def test_a_call_that_was_canceled_before_it_was_dialled_uses_up_nothing(tmp_path: Path) -> None:
    settings = {"manners": {"windows": [], "calls_per_hour": 2}, "mock": {"calls": 1}}
    async with open_desk(tmp_path, settings, ToyNetwork([[ANSWERED], [ANSWERED, DONE]])) as desk:
        first = await answered(desk, (await desk.call()).id)
        second, third = await desk.call(to="+15550101"), await desk.call(to="+15550102")
        await desk.dispatch.cancel(second.id)
        await hang_up(desk, first)
        assert (await desk.settled(third.id)).status is Status.COMPLETED
