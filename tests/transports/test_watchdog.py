"""The watchdog ends a process whose wheel hangs, and no other."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from ai_engine.transports.watchdog import EXIT_CODE, Watchdog
from ai_engine.transports.wheel import TimerWheel


class Guarded:
    """A watchdog over a wheel and a clock set by hand."""

    def __init__(self) -> None:
        self.now = 50.0
        self.asked = threading.Semaphore(0)
        self.exited = threading.Event()
        self.codes: list[int] = []
        self.wheel = SimpleNamespace(seats=0, last_tick=50.0)
        self.dog = Watchdog(cast(TimerWheel, self.wheel), 0.04, self._exit, self._clock)
        self.dog.start()

    def _clock(self) -> float:
        self.asked.release()
        return self.now

    def _exit(self, code: int) -> None:
        self.codes.append(code)
        self.exited.set()

    def wait_for_checks(self) -> None:
        """Two whole checks have been made with what is set now."""
        while self.asked.acquire(blocking=False):
            pass
        for _ in range(3):
            assert self.asked.acquire(timeout=10)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    guarded = Guarded()
    yield guarded
    guarded.dog.stop()


def test_lets_a_wheel_be_that_nobody_sits_on(guarded: Guarded) -> None:
    guarded.now = 1000.0
    guarded.wait_for_checks()
    assert guarded.codes == []


def test_lets_a_wheel_be_that_turns(guarded: Guarded) -> None:
    guarded.wheel.seats = 3
    guarded.wheel.last_tick = guarded.now = 1000.0
    guarded.wait_for_checks()
    assert guarded.codes == []


def test_ends_the_process_when_the_wheel_hangs(guarded: Guarded, capfd: pytest.CaptureFixture[str]) -> None:
    guarded.wheel.seats = 3
    guarded.now = 50.05
    assert guarded.exited.wait(10)
    assert guarded.codes == [EXIT_CODE] == [70]
    out, err = capfd.readouterr()
    assert "media clock hangs" in out + err
    assert "most recent call first" in err


def test_a_real_hang_ends_a_real_process() -> None:
    program = """
        import asyncio, time
        from ai_engine.transports.watchdog import Watchdog
        from ai_engine.transports.wheel import TimerWheel

        async def hang() -> None:
            wheel = TimerWheel()
            wheel.join(lambda: None, print)
            Watchdog(wheel, limit_seconds=0.2).start()
            await asyncio.sleep(0.5)
            print("alive", flush=True)
            time.sleep(60)

        asyncio.run(hang())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == EXIT_CODE
    assert "alive" in done.stdout
    assert "in hang" in done.stderr
