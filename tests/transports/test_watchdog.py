"""The watchdog ends a process whose wheel hangs, and no other."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from ai_engine.transports.watchdog import EXIT_CODE, Watchdog
from ai_engine.transports.wheel import TimerWheel


class Wheel:
    """A wheel that turns, or not, each time it is looked at."""

    def __init__(self) -> None:
        self.seats = 0
        self.turning = False
        self.looks = threading.Semaphore(0)
        self._tick = 50.0

    @property
    def last_tick(self) -> float:
        self.looks.release()
        self._tick += self.turning
        return self._tick


class Guarded:
    """A wheel, its watchdog, and the exit it took."""

    def __init__(self) -> None:
        self.wheel = Wheel()
        self.exited = threading.Event()
        self.codes: list[int] = []
        self.dog = Watchdog(cast(TimerWheel, self.wheel), 0.04, self._exit)
        self.dog.start()

    def _exit(self, code: int) -> None:
        self.codes.append(code)
        self.exited.set()

    def wait_for_looks(self, count: int) -> None:
        for _ in range(count):
            assert self.wheel.looks.acquire(timeout=10)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    guarded = Guarded()
    yield guarded
    guarded.dog.stop()


def test_lets_a_wheel_be_that_nobody_sits_on(guarded: Guarded) -> None:
    guarded.wait_for_looks(20)
    assert guarded.codes == []


def test_lets_a_wheel_be_that_turns(guarded: Guarded) -> None:
    guarded.wheel.turning = True
    guarded.wheel.seats = 3
    guarded.wait_for_looks(20)
    assert guarded.codes == []


def test_ends_the_process_when_the_wheel_hangs(guarded: Guarded, capfd: pytest.CaptureFixture[str]) -> None:
    guarded.wheel.seats = 3
    assert guarded.exited.wait(10)
    assert guarded.codes == [EXIT_CODE] == [70]
    out, err = capfd.readouterr()
    assert "media clock hangs" in out + err
    assert "most recent call first" in err


@pytest.mark.parametrize(
    ("hang", "status"),
    [
        pytest.param("time.sleep(60)", EXIT_CODE, id="the loop"),
        pytest.param("ctypes.PyDLL(None).sleep(60)", 1, id="the interpreter"),
    ],
)
def test_a_real_hang_ends_a_real_process(hang: str, status: int) -> None:
    program = f"""
        import asyncio, ctypes, time
        from ai_engine.transports.watchdog import Watchdog
        from ai_engine.transports.wheel import TimerWheel

        async def hang() -> None:
            wheel = TimerWheel()
            wheel.join(lambda: None, print)
            Watchdog(wheel, limit_seconds=0.2).start()
            await asyncio.sleep(0.5)
            print("alive", flush=True)
            {hang}

        asyncio.run(hang())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status
    assert "alive" in done.stdout
    assert "in hang" in done.stderr
