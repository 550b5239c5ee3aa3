"""Fixtures any test may ask for: a real Asterisk, a real SIP phone, and the packets between them.

    asterisk        Trial, for the whole session; shared, so leave no calls behind and do not restart it
    start_asterisk  start_asterisk("name", overlay={...}) -> Trial: one of your own to restart, kill or reconfigure;
                    stopped after the test
    phone           BaresipPhone on ``asterisk``, started, for one call
    make_phone      await make_phone(trial) -> BaresipPhone: for several phones, or another trial; closed after the test
    rtp             RtpCapture of all media of ``asterisk`` during the test

Each test session has instances of its own (their names end in the session's process id), so that sessions, and a demo
beside them, never meet. They are never skipped: a machine that cannot run them fails with advice. Mark tests that use
them ``asterisk`` or ``phone``.
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from scripts.trial import asterisk as trials
from scripts.trial.asterisk import Trial
from scripts.trial.phone import BaresipPhone
from scripts.trial.rootfs import CACHE
from scripts.trial.wire import RtpCapture

StartAsterisk = Callable[..., Trial]
MakePhone = Callable[[Trial], Awaitable[BaresipPhone]]


@pytest.fixture(scope="session")
def asterisk() -> Iterator[Trial]:
    _clear_old_sessions()
    instance = f"test-{os.getpid()}"
    yield trials.start(instance)
    trials.stop(instance)


@pytest.fixture
def start_asterisk() -> Iterator[StartAsterisk]:
    started: list[str] = []

    def begin(name: str, overlay: Mapping[str, str] | None = None) -> Trial:
        instance = f"test-{name}-{os.getpid()}"
        started.append(instance)
        return trials.start(instance, overlay=overlay)

    yield begin
    for instance in started:
        trials.stop(instance)


@pytest.fixture
async def make_phone(tmp_path: Path) -> AsyncIterator[MakePhone]:
    async with AsyncExitStack() as stack:
        made: list[BaresipPhone] = []

        async def make(trial: Trial) -> BaresipPhone:
            made.append(BaresipPhone(trial, tmp_path / f"phone-{len(made)}"))
            return await stack.enter_async_context(made[-1])

        yield make


@pytest.fixture
async def phone(asterisk: Trial, make_phone: MakePhone) -> BaresipPhone:
    return await make_phone(asterisk)


@pytest.fixture
async def rtp(asterisk: Trial, tmp_path: Path) -> AsyncIterator[RtpCapture]:
    async with RtpCapture(asterisk.rtp_ports, tmp_path / "rtp.pcap") as capture:
        yield capture


def _clear_old_sessions() -> None:
    # What an interrupted session left running, and the logs of those that ended.
    for run_dir in CACHE.glob("run-test-*"):
        session = run_dir.name.rpartition("-")[2]
        if not Path("/proc", session).exists():
            trials.stop(run_dir.name.removeprefix("run-"))
            shutil.rmtree(run_dir, ignore_errors=True)
