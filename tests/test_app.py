"""The engine as one object: what it refuses to start with, and what it tells of itself."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_engine.app import calls
from ai_engine.app.engine import App
from ai_engine.config import EngineConfig, load
from ai_engine.errors import ConfigError
from tests.local_ai_server.eventually import eventually

FILE = """\
default_agent: a
downstream_mode: stream
agents: {a: {intents: {bye: {phrases: [goodbye], answer: Goodbye.}}}}
asterisk: {ari_port: 1}
audiosocket: {port: 0}
health: {port: 0}
recording: {enabled: false}
"""


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    file = tmp_path / "c.yaml"
    file.write_text(FILE)
    return load(file, {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"})


@pytest.fixture
def unfreeze() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_detector_that_cannot_be_loaded(config: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the silero-vad package is not installed")

    monkeypatch.setattr(calls, "make_scorer", fail)
    with pytest.raises(ConfigError, match="^vad: the silero-vad package is not installed$"):
        App(config, lambda: 0)


@pytest.mark.usefixtures("unfreeze")
async def test_it_tells_how_it_is(config: EngineConfig) -> None:
    app = App(config, lambda: 7)
    running = asyncio.create_task(app.run())
    async with asyncio.timeout(10):
        await eventually(lambda: app.readiness()["audiosocket"]["up"])
        state = await asyncio.to_thread(app.snapshot)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert app.readiness() == {"ari": {"up": False}, "audiosocket": {"up": False}}
    assert (state["ari"]["up"], state["audiosocket"]["up"]) == (False, True)
    assert state["log"] == {"dropped": 7}
