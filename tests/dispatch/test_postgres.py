"""The same desk on a PostgreSQL that several engines share: a real server, real processes."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.dispatch.database import Database
from ai_engine.dispatch.store import Store
from ai_engine.errors import ConfigError
from ai_engine.jobs.status import Status
from tests.dispatch.crashing_desk import Ledger
from tests.dispatch.test_calls_carried_through import answered, booking, hang_up
from tests.fakes.desks import open_desk
from tests.fakes.postgres import postgres, postgres_server
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork


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
    with postgres() as url:
        first = await engine(tmp_path, url, "one", 30)
        assert await first.wait() == -signal.SIGKILL
        second = await engine(tmp_path, url, "two", 0)
        said, _ = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 0, said.decode()
        database = Database(url)
        [record] = Store(database, lambda: 0.0).calls(10, None)
        database.close()
    dialed = Ledger(tmp_path / "dialed").read()
    assert len(dialed) == len(set(dialed))
    assert len(Ledger(tmp_path / "events").read()) == 1
    assert (record.status, record.outcome) == (Status.COMPLETED, "scheduled")


async def test_what_another_engine_holds_can_be_canceled_here(tmp_path: Path) -> None:
    """Only whoever holds a call can hang it up: the other one hears of it."""
    with postgres() as url:
        other = await engine(tmp_path, url, "one", 0, "rings")
        ringing = Ledger(tmp_path / "dialed")
        async with asyncio.timeout(30):
            while not ringing.read():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        # Of no line of its own, so that it carries nothing through.
        async with open_desk(tmp_path, {"mock": {"calls": 1}}, url=url, engine_name="two") as desk:
            [record] = await desk.dispatch.calls()
            await desk.dispatch.cancel(record.id)
            said, _ = await asyncio.wait_for(other.communicate(), 30)
            assert other.returncode == 0, said.decode()
            assert Ledger(tmp_path / "hung up").read() == [f"{record.id}-1"]
            assert (await desk.settled(record.id)).status is Status.CANCELED


async def test_a_database_that_is_away_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that ends meanwhile, one that waits for the line, one for its hour: all of them are carried through."""
    monkeypatch.setattr("ai_engine.dispatch.carrier._LOOK_SECONDS", 0.5)
    network = ToyNetwork([[BUSY], [ANSWERED], [ANSWERED, DONE], [ANSWERED, DONE]])
    settings = {"mock": {"calls": 1}, "retry": {"initial_delay_ms": 1000}}
    with postgres_server() as server:
        async with open_desk(tmp_path, settings, network, url=server.url, lost_seconds=6.0) as desk:
            redialled = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
            talking = await answered(desk, (await desk.call(to="+15550101")).id)
            queued = await desk.call(to="+15550102")
            await asyncio.to_thread(server.stop)
            with pytest.raises(SQLAlchemyError):
                await hang_up(desk, talking)
            await asyncio.sleep(3)
            await asyncio.to_thread(server.start)
            for call in (talking, queued, redialled):
                assert (await desk.until(call.id, lambda record: record.settled, 60)).status is Status.COMPLETED
            assert len(network.dialed) == len(set(network.dialed)) == 4
            assert (await desk.call(to="+15550103")).status is not Status.FAILED
            await taken(server.url, "engine-one")


async def taken(url: str, name: str) -> None:
    """Wait until somebody has it."""
    database = Database(url)
    async with asyncio.timeout(10):
        while await asyncio.to_thread(database.reserve_name, name):
            await asyncio.to_thread(database.release_names)
            await asyncio.sleep(0.2)
    database.close()


async def engine(directory: Path, url: str, *arguments: object) -> asyncio.subprocess.Process:
    """``arguments`` as ``crashing_desk`` has them, from the name of the engine on."""
    name, dies_at, *rest = map(str, arguments)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.dispatch.crashing_desk", str(directory), dies_at, url, name),
        *rest,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
