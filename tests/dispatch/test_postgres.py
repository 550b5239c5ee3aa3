"""The same desk on a PostgreSQL that several engines share: a real server, real processes."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_engine.dispatch.database import Database
from ai_engine.dispatch.store import Store
from ai_engine.errors import ConfigError
from ai_engine.jobs.status import Status
from tests.dispatch.crashing_desk import Ledger
from tests.dispatch.test_calls_carried_through import answered, booking, hang_up
from tests.fakes.desks import open_desk
from tests.fakes.postgres import postgres
from tests.fakes.toy_network import ANSWERED, BUSY, ToyNetwork


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


async def test_a_call_is_carried_through(tmp_path: Path, url: str) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED]]), url=url) as desk:
        asked = await desk.call(idempotencyKey="one")
        assert (await desk.call(idempotencyKey="one")).id == asked.id
        talking = await answered(desk, asked.id)
        assert (await desk.dispatch.book(talking.id, booking(talking.id)))["ok"] is True
        await hang_up(desk, talking)
        record = await desk.settled(talking.id)
    assert (record.status, record.attempt, record.outcome) == (Status.COMPLETED, 2, "scheduled")


async def test_two_engines_of_one_name_are_one_too_many(tmp_path: Path, url: str) -> None:
    async with open_desk(tmp_path, url=url):
        with pytest.raises(ConfigError, match="another engine is called 'one'"):
            async with open_desk(tmp_path, url=url):
                pass


async def test_another_engine_carries_on_what_a_dead_one_began(tmp_path: Path) -> None:
    """It dies in mid-conversation; nobody starts it again."""

    def engine(name: str, dies_at: int, *rest: str) -> list[str]:
        command = [sys.executable, "-W", "ignore", "-m", "tests.dispatch.crashing_desk", str(tmp_path), str(dies_at)]
        return [*command, url, name, *rest]

    with postgres() as url:
        first = await asyncio.create_subprocess_exec(*engine("one", 30), stdout=asyncio.subprocess.PIPE)
        assert await first.wait() == -signal.SIGKILL
        # Only now, or it would have taken some of the work before.
        second = await asyncio.create_subprocess_exec(
            *engine("two", 0, "waits"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 0, said.decode()
        database = Database(url)
        [record] = Store(database, lambda: 0.0).calls(10, None)
        database.close()
    dialed = Ledger(tmp_path / "dialed").read()
    assert len(dialed) == len(set(dialed))
    assert len(Ledger(tmp_path / "events").read()) == 1
    assert (record.status, record.outcome) == (Status.COMPLETED, "scheduled")
