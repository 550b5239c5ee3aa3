"""The wheel keeps its grid, whoever comes, goes, raises or stalls."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ai_engine.transports.wheel import LATENESS_BOUNDS_MS, Seat, TimerWheel


class HandTurned:
    """A loop's timers and a clock, both turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, asyncio.TimerHandle]] = []
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    def clock(self) -> float:
        return self.now

    def _call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + delay, callback, args, self._loop)
        handle._scheduled = False  # type: ignore[attr-defined]  # it is in no loop's heap
        self.timers.append((self.now + delay, handle))
        return handle

    @property
    def waiting(self) -> list[tuple[float, asyncio.TimerHandle]]:
        self.timers = [(when, handle) for when, handle in self.timers if not handle.cancelled()]
        return self.timers

    def run(self, seconds: float, stall: float = 0.0) -> None:
        """Let time pass, timers firing on time; before that ``stall`` seconds in which none did."""
        self.now += stall
        end = self.now + seconds
        while self.waiting:
            when, handle = entry = min(self.waiting, key=lambda each: each[0])
            if when > end + 1e-9:
                break
            self.timers.remove(entry)
            self.now = max(self.now, when)
            handle._run()
        self.now = end


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> HandTurned:
    return HandTurned(monkeypatch)


class Calls:
    """A seat's callback that notes when it was called."""

    def __init__(self, world: HandTurned, wheel: TimerWheel) -> None:
        self.times: list[float] = []
        self.errors: list[Exception] = []
        self._world = world
        self.seat: Seat = wheel.join(self, self.errors.append)

    def __call__(self) -> None:
        self.times.append(self._world.now)

    def gaps_ms(self) -> list[int]:
        return [round((b - a) * 1000) for a, b in zip(self.times, self.times[1:], strict=False)]


async def test_every_20_ms_without_drift(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    calls = Calls(world, wheel)
    world.run(3600)
    assert len(calls.times) == 180000
    assert set(calls.gaps_ms()) == {20}
    assert calls.times[0] <= 100.02 + 1e-6
    assert calls.times[-1] - calls.times[0] == pytest.approx(179999 * 0.02, abs=1e-6)


async def test_forty_seats_fill_every_slot_twice(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    everyone = [Calls(world, wheel) for _ in range(40)]
    world.run(1.0)
    assert wheel.seats == 40
    phases = sorted(round(calls.times[0] * 1000) % 20 for calls in everyone)
    assert phases == sorted(list(range(20)) * 2)
    assert all(set(calls.gaps_ms()) == {20} for calls in everyone)


async def test_whoever_joins_while_it_turns_is_called_within_20_ms(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    first = Calls(world, wheel)
    for _ in range(19):
        world.run(0.013)
        joined = world.now
        late = Calls(world, wheel)
        world.run(0.0211)
        assert late.times[0] - joined <= 0.0211
    assert set(first.gaps_ms()) == {20}


async def test_stands_still_while_nobody_sits(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    assert world.waiting == []
    calls = Calls(world, wheel)
    assert len(world.waiting) == 1
    world.run(0.1)
    calls.seat.leave()
    calls.seat.leave()
    assert (wheel.seats, world.waiting) == (0, [])
    world.run(60.005)
    again = Calls(world, wheel)
    assert wheel.last_tick == world.now
    world.run(0.1)
    assert len(calls.times) == 5
    assert len(again.times) == 5
    assert set(again.gaps_ms()) == {20}
    assert wheel.skipped_frames == 0


@pytest.mark.parametrize(
    ("stall", "at_once", "skipped"), [(0.015, 1, 0), (0.035, 1, 0), (0.045, 2, 0), (0.075, 2, 1), (1.005, 2, 48)]
)
async def test_a_stall_is_followed_by_at_most_two_frames_and_the_old_grid(
    world: HandTurned, stall: float, at_once: int, skipped: int
) -> None:
    wheel = TimerWheel(world.clock)
    calls = Calls(world, wheel)
    world.run(0.1)
    calls.times.clear()
    world.run(0.1, stall=stall)
    first = calls.times[0]
    assert calls.times.count(first) == at_once
    assert wheel.skipped_frames == skipped
    back_on_grid = calls.times[at_once if stall > 0.02 else 0 :]
    assert {round(when * 1000) % 20 for when in back_on_grid} == {0}


async def test_lateness_is_counted(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    Calls(world, wheel)
    world.run(1.0)
    assert sum(wheel.lateness_counts) == wheel.lateness_counts[0] == 50
    world.run(0.0, stall=0.0299)
    assert sum(wheel.lateness_counts) == 51
    assert wheel.lateness_counts[LATENESS_BOUNDS_MS.index(10.0)] == 1
    assert 9 < wheel.max_lateness_ms < 10


async def test_one_that_raises_is_removed_and_the_others_go_on(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    errors: list[Exception] = []

    def fail() -> None:
        raise RuntimeError("broken call")

    before = [Calls(world, wheel) for _ in range(20)]
    wheel.join(fail, errors.append)
    after = [Calls(world, wheel) for _ in range(20)]
    world.run(1.0)
    assert [str(error) for error in errors] == ["broken call"]
    assert wheel.seats == 40
    assert {len(calls.times) for calls in before + after} == {50}


async def test_seats_may_leave_and_join_from_a_callback(world: HandTurned) -> None:
    wheel = TimerWheel(world.clock)
    calls: list[Calls] = []
    count = 0

    def swap() -> None:
        nonlocal count
        count += 1
        seat.leave()
        for other in (*calls, Calls(world, wheel)):
            other.seat.leave()
        calls.append(Calls(world, wheel))

    seat = wheel.join(swap, lambda error: pytest.fail(str(error)))
    world.run(0.2)
    assert count == 1
    assert wheel.seats == 1
    assert len(calls[0].times) in (9, 10)


async def test_turns_on_a_real_loop() -> None:
    wheel = TimerWheel()
    loop = asyncio.get_running_loop()
    times: list[float] = []
    enough = asyncio.Event()

    def tick() -> None:
        times.append(loop.time())
        if len(times) == 26:
            enough.set()

    seat = wheel.join(tick, lambda error: pytest.fail(str(error)))
    async with asyncio.timeout(10):
        await enough.wait()
    seat.leave()
    assert times[25] - times[0] == pytest.approx(0.5, abs=0.04)
