"""The engine stops, or cannot start: what becomes of calls it has placed, and what it says."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.trial.asterisk import Trial
from scripts.trial.programs import free_port
from tests.conftest import MakePhone
from tests.end_to_end.call_agent_world import World, configuration, open_for_calls, world
from tests.fakes.stream_caller import StreamCaller

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(120)]


async def restarted(there: World) -> None:
    await there.programs.start_engine()
    await open_for_calls(there.api)


async def test_in_a_conversation_over_the_mock_network(asterisk: Trial, tmp_path: Path) -> None:
    """It is over, and nobody is called a second time."""
    async with world(asterisk, tmp_path, {"telephony": {"provider": "mock"}}) as there:
        call_id = await there.call()
        await there.until(call_id, lambda record: "userHint" in record)
        async with StreamCaller.answering(there.url, call_id) as caller:
            await there.until(call_id, lambda record: record["status"] == "in_progress")
            assert await there.programs.engine.stop() == 0
            async with asyncio.timeout(5):
                await caller.closed.wait()
        await restarted(there)
        record = await there.settled(call_id)
        assert (record["status"], record["attempt"]) == ("completed", 1)


async def test_in_a_conversation_over_asterisk(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    phone = await make_phone(asterisk)
    trunk: Mapping[str, Any] = {"dial": f"PJSIP/trunk/{phone.sip_uri};number={{number}}"}
    section = {"telephony": {"provider": "asterisk"}, "asterisk": {"trunks": {"main": trunk}}}
    async with world(asterisk, tmp_path, section) as there:
        call_id = await there.call()
        await phone.wait_for("CALL_INCOMING")
        await phone.answer()
        await there.until(call_id, lambda record: record["status"] == "in_progress")
        assert await there.programs.engine.stop() == 0
        await restarted(there)
        record = await there.settled(call_id)
        assert (record["status"], record["attempt"]) == ("completed", 1)
        assert [event.type for event in phone.events].count("CALL_INCOMING") == 1


def ended(directory: Path, section: Mapping[str, Any], **environ: str) -> tuple[int, str]:
    """Exit code and last words of an engine that cannot open its call desk."""
    path = directory / "config.yaml"
    given = {
        "telephony": {"provider": "mock"},
        "server": {"port": free_port()},
        "store": {"path": str(directory / "calls.sqlite")},
        "calendar": {"directory": str(directory / "calendar")},
        "openai": {"base_url": "ws://127.0.0.1:9"},
    }
    path.write_text(
        yaml.safe_dump(
            {
                **configuration({**given, **section}),
                "asterisk": {"ari_port": 1},
                "audiosocket": {"port": free_port()},
                "health": {"port": free_port()},
                "recording": {"enabled": False},
            }
        )
    )
    secrets = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "x", "OPENAI_API_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "ai_engine", "--config", str(path), "--env-file", ""],
        env={"PATH": os.environ["PATH"], **secrets, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.strip().partition("engine stopped\n")[2]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = ended(tmp_path, {"server": {"port": port}})
    assert code == 2
    assert (
        said
        == f"call_agent.server.port: 127.0.0.1:{port}: [Errno 98] Address already in use. Is another engine running?"
    )


def test_a_store_that_another_engine_has(tmp_path: Path) -> None:
    holder = subprocess.Popen(["flock", str(tmp_path / "calls.lock"), "sleep", "60"])
    try:
        code, said = ended(tmp_path, {})
    finally:
        holder.send_signal(signal.SIGTERM)
        holder.wait()
    assert code == 2
    assert "another engine uses this store" in said


def test_a_postgres_that_cannot_be_reached(tmp_path: Path) -> None:
    url = f"postgresql://offhook:swordfish@127.0.0.1:{free_port()}/calls"
    code, said = ended(tmp_path, {}, CALL_AGENT_DATABASE_URL=url)
    assert code == 2
    assert said.startswith("call_agent.store: connection failed")
    assert "onnection refused" in said
    assert "swordfish" not in said


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, said = ended(tmp_path, {"store": {"path": str(tmp_path / "file" / "calls.sqlite")}})
    assert code == 2
    assert said.startswith("call_agent: ")
