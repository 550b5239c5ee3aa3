"""The call desk of an engine: opened whole or not at all, closed in order, and no caller suffers from it."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from ai_engine.app.outbound import Outbound
from ai_engine.ari.dialer import Dialer
from ai_engine.config import EngineConfig, load
from ai_engine.dispatch.database import postgres_url
from ai_engine.dispatch.desk import Dispatch
from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Progress, Status
from ai_engine.transports.media_stream_door import MediaStreamDoor
from scripts.trial.programs import free_port
from tests.fakes.desks import BOOK

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}


def configuration(directory: Path, port: int, **sections: Any) -> EngineConfig:
    section = {
        "telephony": {"provider": "mock"},
        "server": {"port": port},
        "store": {"path": str(directory / "calls.sqlite")},
        "calendar": {"directory": str(directory / "calendar")},
        "manners": {"windows": []},
        **sections,
    }
    path = directory / "config.yaml"
    path.write_text(json.dumps({"call_agent": section, "agents": {"assistant": {}}, "default_agent": "assistant"}))
    return load(path, SECRETS, None)


def outbound(config: EngineConfig) -> Outbound:
    assert config.call_agent is not None
    return Outbound(config, config.call_agent, "test")


async def open_it(desk: Outbound) -> None:
    # The mock network has no use for a dialer, and nobody opens a stream.
    await desk.open(cast(Dialer, None), cast(MediaStreamDoor, None), list)


@asynccontextmanager
async def opened(config: EngineConfig) -> AsyncIterator[Outbound]:
    desk = outbound(config)
    try:
        await open_it(desk)
        yield desk
    finally:
        await desk.close()


async def dialed(port: int, **changes: Any) -> str:
    """The id of a call that rings now."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as http, asyncio.timeout(10):
        call_id: str = (await http.post("/calls", json={**BOOK, **changes})).json()["callId"]
        while "userHint" not in (await http.get(f"/calls/{call_id}")).json():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return call_id


async def test_opened_and_closed_and_opened(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):
        async with opened(configuration(tmp_path, port)):
            await dialed(port, idempotencyKey="one")
    assert "call desk" not in [thread.name for thread in threading.enumerate()]


async def test_whatever_is_served_is_there_from_the_first_moment(tmp_path: Path) -> None:
    """Others register the routes of a network once they listen already, and answer 404 for seconds."""
    port = free_port()
    desk = outbound(configuration(tmp_path, port))
    opening = asyncio.create_task(open_it(desk))
    answers: list[str] = []
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as http, asyncio.timeout(10):
        while not opening.done() or not answers:
            try:
                answers.append((await http.get("/mock", params={"callId": "x"})).text)
            except httpx.TransportError:
                await asyncio.sleep(0.01)
    await opening
    await desk.close()
    assert "There is nothing at" not in "".join(answers)
    assert len(set(answers)) == 1


async def test_a_port_that_is_taken_leaves_nothing_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        desk = outbound(configuration(tmp_path, taken.getsockname()[1]))
        with pytest.raises(ConfigError, match=r"call_agent\.server\.port: 127\.0\.0\.1:\d+: .*in use"):
            await open_it(desk)
        await desk.close()
    async with opened(configuration(tmp_path, free_port())):
        """The store is not held by the one that failed."""


async def test_a_store_that_is_taken_leaves_nothing_open(tmp_path: Path) -> None:
    port = free_port()
    async with opened(configuration(tmp_path, free_port())):
        desk = outbound(configuration(tmp_path, port))
        with pytest.raises(ConfigError, match="another engine uses this store"):
            await open_it(desk)
        socket.create_server(("127.0.0.1", port)).close()  # nobody listens there any more
        await desk.close()


@pytest.mark.parametrize("steps", [1, 3, 10, 30, 100])
async def test_stopped_while_it_opens(tmp_path: Path, steps: int) -> None:
    port = free_port()
    desk = outbound(configuration(tmp_path, port))
    opening = asyncio.create_task(open_it(desk))
    for _ in range(steps):
        await asyncio.sleep(0.005)
    opening.cancel()
    await asyncio.wait([opening])
    await desk.close()
    async with opened(configuration(tmp_path, port)):
        """Neither port nor store are held."""


async def test_a_conversation_that_ends_with_the_engine_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is told a moment after the last session has gone; without it, somebody would be called a second time."""
    port = free_port()
    async with opened(configuration(tmp_path, port)) as desk:
        call_id = await dialed(port)
        tell = desk._desk.report
        await asyncio.to_thread(tell, call_id, 1, Progress(Status.IN_PROGRESS))
        late = threading.Timer(0.5, tell, (call_id, 1, Progress(Status.COMPLETED)))
        late.start()
    late.join()
    async with opened(configuration(tmp_path, port)), httpx.AsyncClient(trust_env=False) as http:
        record = (await http.get(f"http://127.0.0.1:{port}/calls/{call_id}")).json()
    assert (record["status"], record["attempt"]) == ("completed", 1)


async def test_what_rings_does_not_hold_up_the_end(tmp_path: Path) -> None:
    port = free_port()
    async with opened(configuration(tmp_path, port)) as desk:
        await dialed(port)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2.5, desk


# -- somebody calls us -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["+15550100", "0015550100", "5550100"])
async def test_whoever_calls_back_is_known_however_their_number_is_written(tmp_path: Path, written: str) -> None:
    port = free_port()
    config = configuration(tmp_path, port, manners={"windows": [], "callbacks": "resume"})
    async with opened(config) as desk:
        call_id = await dialed(port)
        errand = await desk.callback(written)
        assert errand is not None
        assert (errand.call_id, errand.greeting) == (call_id, "")
        assert "They call you back." in errand.instructions
        assert await desk.callback("+15550199") is None
        assert await desk.callback("anonymous") is None


async def test_who_calls_back_an_agent_that_is_no_more_is_an_ordinary_caller(tmp_path: Path) -> None:
    port, there = free_port(), ["assistant", "promotion"]
    config = configuration(tmp_path, port, manners={"windows": [], "callbacks": "resume"})
    assert config.call_agent is not None
    desk = Outbound(config, config.call_agent, "test", agents=lambda: there)
    await open_it(desk)
    try:
        await dialed(port, agent="promotion")
        assert (errand := await desk.callback("+15550100")) is not None
        assert errand.agent == "promotion"
        there.remove("promotion")
        assert await desk.callback("+15550100") is None
    finally:
        await desk.close()


async def test_a_call_that_was_canceled_is_none_to_call_back_about(tmp_path: Path) -> None:
    port = free_port()
    config = configuration(tmp_path, port, manners={"windows": [], "callbacks": "reject"})
    async with opened(config) as desk:
        call_id = await dialed(port)
        with pytest.raises(AsteriskError, match="calls back"):
            await desk.callback("+15550100")
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.post(f"http://127.0.0.1:{port}/calls/{call_id}/cancel")
        assert await desk.callback("+15550100") is None


async def test_no_caller_suffers_from_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(tmp_path, free_port(), manners={"windows": [], "callbacks": "reject"})

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    async with opened(config) as desk:
        monkeypatch.setattr(desk._store, "latest_to", away)
        assert await desk.callback("+15550100") is None


# -- a machine -----------------------------------------------------------------------------------------------


async def test_late_news_of_a_machine_is_not_news_of_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    config = configuration(tmp_path, port, retry={"initial_delay_ms": 10})
    async with opened(config) as desk:
        shown: list[object] = []
        monkeypatch.setattr(desk, "_machine_answered", shown.append)
        call_id = await dialed(port)
        busy = Progress(Status.BUSY)
        await asyncio.to_thread(desk._report, call_id, 1, busy)
        async with asyncio.timeout(10):
            while (attempt := cast(Dispatch, desk._desk).find(call_id)) is None or attempt.number == 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        machine = Progress(Status.IN_PROGRESS, answered_by="machine")
        await asyncio.to_thread(desk._report, call_id, 1, machine)
        await asyncio.sleep(0)
        assert shown == []
        await asyncio.to_thread(desk._report, call_id, 2, machine)
        await asyncio.sleep(0)
        assert shown == [attempt]


# -- PostgreSQL ----------------------------------------------------------------------------------------------


def test_a_url_as_people_write_it() -> None:
    ours = postgres_url("postgresql://user:p%40ss@host/offhook?sslmode=require")
    assert ours.startswith("postgresql+psycopg://user:p%40ss@host/offhook?")
    assert "sslmode=require" in ours
    assert "tcp_user_timeout=25000" in ours
    assert "connect_timeout=3" in postgres_url("postgres://host/x?connect_timeout=3")
    assert postgres_url(CallAgentSettings().store.database_url.get_secret_value()) == ""
