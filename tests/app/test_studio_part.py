"""A whole engine with a studio section: found, asked, commanded, and stopped under the eyes of those who look on."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ai_engine.app.engine import App
from ai_engine.app.live_config import LiveConfig
from ai_engine.app.studio_part import StudioPart
from ai_engine.config import load
from ai_engine.host.registry import Entry, Registry
from ai_engine.jobs.status import Status
from ai_engine.observe.log_ring import LogRing
from ai_engine.observe.logs import LogPipe
from ai_engine.studio.client import StudioClient
from ai_engine.switchboard.models import LogLine, StudioCall, StudioEvent
from ai_engine.switchboard.ports import Refused
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore
from ai_engine.web.connection import EngineUnreachable
from tests.fakes.log_pipe import started
from tests.waiting import until

FILE = """\
default_agent: a
agents: {{a: {{intents: {{bye: {{phrases: [goodbye], answer: Goodbye.}}}}}}}}
asterisk: {{ari_port: 1}}
audiosocket: {{port: 0}}
health: {{port: 0}}
recording: {{enabled: false}}
studio: {{directory: {place}/studio, agents: {place}/agents}}
call_agent:
  enabled: true
  telephony: {{provider: mock}}
  server: {{port: 0}}
  store: {{path: {place}/calls.sqlite}}
  manners: {{windows: []}}
"""


@pytest.fixture
def unfreeze() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture
def pipe() -> Iterator[LogPipe]:
    with started() as (pipe, _):
        yield pipe


@asynccontextmanager
async def engine(place: Path, pipe: LogPipe) -> AsyncIterator[tuple[Entry, StudioClient]]:
    file = place / "c.yaml"
    file.write_text(FILE.format(place=place))
    config = load(file, {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"})
    registry = Registry(place / "studio")
    running = asyncio.create_task(App(config, lambda: 0, environ={}, log_ring=pipe.ring).run())
    try:
        await until(lambda: running.done() or registry.living(), 30)
        (entry,) = registry.living()
        async with StudioClient(entry.url, entry.token) as client:
            yield entry, client
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(30):
            await running
        assert registry.living() == []


@pytest.mark.usefixtures("unfreeze")
async def test_an_engine_is_found_asked_and_commanded(tmp_path: Path, pipe: LogPipe) -> None:
    async with engine(tmp_path, pipe) as (entry, client):
        (file,) = (tmp_path / "studio" / "run").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert (entry.pid, entry.config) == (os.getpid(), str(tmp_path / "c.yaml"))
        info = await client.engine()
        assert (info.id, info.pid, info.url, info.provider) == (entry.id, os.getpid(), entry.url, "mock")
        assert (info.asterisk_up, info.ready, info.calls, info.rooms) == (False, False, 0, 0)
        async with StudioClient(entry.url, "a-token-of-another-run") as stranger:
            with pytest.raises(EngineUnreachable, match="does not take this token"):
                await stranger.engine()

        record = await client.call(StudioCall(agent="a", to="+15550100"))
        (call,) = await client.calls()
        assert (call.job, call.agent, call.number, call.state) == (record.id, "a", "+15550100", "dialing")
        assert (await client.hang_up(record.id)).job == record.id
        after = await client.job(record.id)
        assert after is not None
        assert (after.status, list(await client.calls())) == (Status.CANCELED, [])
        lines = [line async for line in client.logs(record.id)]
        assert "a call is asked for" in [line.event for line in lines]
        with pytest.raises(Refused, match="there are a") as met:
            await client.call(StudioCall(agent="b", to="+15550100"))
        assert met.value.kind == "not-found"


@pytest.mark.usefixtures("unfreeze")
async def test_numbers_and_agents_that_come_while_it_runs(tmp_path: Path, pipe: LogPipe) -> None:
    async with engine(tmp_path, pipe) as (_, client):
        store = NumberStore(tmp_path / "studio", {})
        number = SipNumber(number="+15550199", address="127.0.0.1", inbound_agent="b")
        await asyncio.to_thread(store.add, number)
        (tmp_path / "agents").mkdir()
        (tmp_path / "agents" / "b.yaml").write_text("greeting: Hello from b.\n")
        (tmp_path / "agents" / "c.yaml").write_text("nonsense: true\n")
        with pytest.raises(Refused) as met:  # it knows them all the same
            await client.reconcile()
        assert met.value.kind == "asterisk"
        agents = {one.name: one for one in await client.agents()}
        assert sorted(agents) == ["a", "b", "c"]
        assert agents["b"].numbers == ("+15550199",)
        assert {one.name: one.present for one in agents["b"].capabilities}["phone_call"]
        assert "c.yaml:1" in agents["c"].error
        record = await client.call(StudioCall(agent="b", to="+15550100"))
        assert record.request.trunk == "+15550199"
        (call,) = await client.calls()
        assert call.did == "+15550199"
        await client.hang_up(call.call_id)
        with pytest.raises(Refused, match=r"c\.yaml:1"):
            await client.call(StudioCall(agent="c", to="+15550100"))


@pytest.mark.usefixtures("unfreeze")
async def test_it_stops_at_once_whoever_looks_on(tmp_path: Path, pipe: LogPipe) -> None:
    async def follow(client: StudioClient) -> list[StudioEvent]:
        return [event async for event in client.events()]

    seen: list[LogLine] = []

    async def read(client: StudioClient) -> None:
        async for line in client.logs(follow=True):
            seen.append(line)  # noqa: PERF401 - as they come

    async with engine(tmp_path, pipe) as (entry, client):
        following = [asyncio.create_task(follow(client)) for _ in range(5)]
        reading = asyncio.create_task(read(client))
        await until(lambda: seen)
        os.kill(os.getpid(), signal.SIGTERM)
        for one in following:
            with pytest.raises(EngineUnreachable, match="ended the connection"):
                await one
        with pytest.raises(EngineUnreachable, match="ended the connection"):
            await reading
    lines = [line async for line in pipe.ring.read()]
    assert [line.event for line in lines if line.level in ("error", "critical")] == []
    assert not any(entry.token in line.model_dump_json() for line in lines)


async def test_who_is_told_to_stop_while_it_enters_does_not_stay_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(FILE.format(place=tmp_path))
    config = load(file, {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"})
    assert config.studio is not None
    began, enter = threading.Event(), Registry.enter

    def slowly(registry: Registry, entry: Entry) -> None:
        began.set()
        time.sleep(0.2)
        enter(registry, entry)

    monkeypatch.setattr(Registry, "enter", slowly)
    live = LiveConfig(config)
    part = StudioPart(config, config.studio, live, {}, LogRing())
    entering = asyncio.create_task(part.enter("http://127.0.0.1:1"))
    await asyncio.to_thread(began.wait)
    entering.cancel()
    await part.leave()
    await part.enter("http://127.0.0.1:1")
    assert list((tmp_path / "studio" / "run").iterdir()) == []
    live.close()


def test_a_folder_that_cannot_be_written_is_told_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "studio").write_text("no folder")
    file = tmp_path / "c.yaml"
    file.write_text(FILE.format(place=tmp_path))
    config = load(file, {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"})
    assert config.studio is not None
    live = LiveConfig(config)
    part = StudioPart(config, config.studio, live, {}, LogRing())

    async def come_and_go() -> None:
        await part.enter("http://127.0.0.1:1")
        await part.leave()

    with capture_logs() as logs:
        asyncio.run(come_and_go())
    assert "studio will not find this engine by itself" in [line["event"] for line in logs]
    live.close()


def test_who_has_no_studio_loads_nothing_of_it() -> None:
    modules = ("ai_engine.app.studio_part", "ai_engine.trunks.store", "textual", "typer", "cryptography", "psutil")
    code = f"import sys, ai_engine.app.commands; sys.exit(' '.join(m for m in {modules} if m in sys.modules) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
