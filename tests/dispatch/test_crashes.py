"""An engine that is killed at any point neither loses a call nor dials, or books, twice: with real processes."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from ai_engine.dispatch.database import Database
from ai_engine.dispatch.store import Store
from ai_engine.host.sqlite import sqlite_url
from ai_engine.jobs.status import Status
from tests.dispatch.crashing_desk import Ledger

POINTS = range(1, 70, 5)
"""At which the process dies; ``crashing_desk`` does about as many things."""


async def desk(directory: Path, dies_at: int) -> tuple[int, str]:
    """Its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.dispatch.crashing_desk", str(directory), str(dies_at)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def carried_through(directory: Path, dies_at: int) -> None:
    code, said = await desk(directory, dies_at)
    assert code in (-signal.SIGKILL, 0), said
    if code:
        code, said = await desk(directory, 0)
        assert code == 0, said
    dialed, events = Ledger(directory / "dialed").read(), Ledger(directory / "events").read()
    assert len(dialed) == len(set(dialed)), f"dialled twice, died at {dies_at}"
    assert len(events) == 1, f"booked {events}, died at {dies_at}"
    assert Ledger(directory / "told").read(), f"nobody was told, died at {dies_at}"
    database = Database(sqlite_url(directory / "calls.sqlite"))
    [record] = Store(database, lambda: 0.0).calls(10, None)
    database.close()
    assert (record.status, record.outcome) == (Status.COMPLETED, "scheduled"), f"{record}, died at {dies_at}"


@pytest.mark.timeout(300)
async def test_killed_at_any_point_a_call_is_carried_through_once(tmp_path: Path) -> None:
    room = asyncio.Semaphore(3)

    async def one(dies_at: int) -> None:
        async with room:
            await carried_through(tmp_path / str(dies_at), dies_at)

    for dies_at in POINTS:
        (tmp_path / str(dies_at)).mkdir()  # noqa: ASYNC240
    async with asyncio.TaskGroup() as group:
        for dies_at in POINTS:
            group.create_task(one(dies_at))
