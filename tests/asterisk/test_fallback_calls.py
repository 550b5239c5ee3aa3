"""Ways for sound that fail at the start or in the middle: the call goes on over another, and says so."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.programs import Programs, free_port
from scripts.trial.rootfs import as_root
from tests.asterisk.callers import Caller, calling, leftovers, words
from tests.asterisk.hearing import assert_tones, heard_twice_seconds, positions, unheard_seconds
from tests.conftest import StartAsterisk
from tests.fakes.tone_agent import Answer, Script, Session, ToneAgent, sweep, tones

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(120)]

GREETING_HZ = (700, 900, 1200)
REPLY_HZ = (500, 1600)
PAUSE = 0.3


TONES = Script([tones(*GREETING_HZ)], [Answer([tones(*REPLY_HZ)])])
LONG = Script(sweep(4), [Answer([tones(*REPLY_HZ)])])


@asynccontextmanager
async def one_call(
    trial: Trial,
    directory: Path,
    settings: Mapping[str, str],
    script: Script = TONES,
    before_dialling: str = "",
) -> AsyncIterator[tuple[Caller, Session, Programs]]:
    """A call that is up; ``before_dialling`` is a console command given once the engine runs."""
    programs = Programs(trial, directory, {"LOG_FORMAT": "json", **settings}, with_local=False)
    agent = ToneAgent(script)
    async with programs, agent.listening(programs.local_port), calling(trial, directory / "caller") as caller:
        if before_dialling:
            trial.cli(before_dialling)
        await caller.dial()
        yield caller, await agent.session(), programs


async def assert_both_are_heard(caller: Caller, session: Session) -> None:
    """The greeting, the caller's words, and the reply to them."""
    greeted = await caller.agent.wait_quiet(PAUSE)
    assert_tones(caller.heard(), GREETING_HZ)
    await caller.finish(words("hello there", 8000))
    await caller.agent.wait_quiet(PAUSE, after=greeted + PAUSE)
    assert_tones(caller.heard(greeted + PAUSE), REPLY_HZ)
    assert len(session.answered) == 1


async def assert_the_rest_is_heard(caller: Caller, session: Session, seconds: float = 4.0) -> None:
    """The sweep that was interrupted by a failure, to its end, and then the caller's words are answered."""
    greeted = await caller.agent.wait_quiet(1.0)
    greeting = positions(caller.heard())
    assert greeting[0].second < 0.05
    assert greeting[-1].second == pytest.approx(seconds, abs=0.05)
    assert unheard_seconds(greeting) < 0.3
    assert heard_twice_seconds(greeting) < 0.3
    await caller.finish(words("hello there", 8000))
    await caller.agent.wait_quiet(PAUSE, after=greeted + PAUSE)
    assert_tones(caller.heard(greeted + PAUSE), REPLY_HZ)
    assert len(session.answered) == 1


def calls_of(programs: Programs) -> dict[str, Any]:
    calls: dict[str, Any] = programs.health()["calls"]
    return calls


def no_audiosocket() -> dict[str, str]:
    """Asterisk is told to connect where nobody listens."""
    return {"AUDIO_TRANSPORT": "audiosocket", "AUDIOSOCKET_ADVERTISE": f"127.0.0.1:{free_port()}"}


async def test_a_closed_audiosocket_port_costs_no_call(asterisk: Trial, tmp_path: Path) -> None:
    async with one_call(asterisk, tmp_path, no_audiosocket()) as (caller, session, programs):
        await assert_both_are_heard(caller, session)
        assert calls_of(programs)["fell_back"] == {"audiosocket/stream": 1}
        assert calls_of(programs)["attached"] == {"websocket/stream": 1}
        warnings = [line for line in programs.engine.log_text().splitlines() if '"level": "warning"' in line]
        assert any("audiosocket/stream" in line for line in warnings)
        await caller.hang_up()
        assert await leftovers(asterisk, programs) == []


async def test_auto_is_websocket_where_asterisk_has_it(asterisk: Trial, tmp_path: Path) -> None:
    async with one_call(asterisk, tmp_path, {"AUDIO_TRANSPORT": "auto"}) as (caller, session, programs):
        await assert_both_are_heard(caller, session)
        assert calls_of(programs)["attached"] == {"websocket/stream": 1}
        assert calls_of(programs)["fell_back"] == {}
        await caller.hang_up()


@pytest.fixture
def without_websocket(start_asterisk: StartAsterisk) -> Trial:
    trial = start_asterisk("no-websocket")
    assert "Unloaded" in trial.cli("module unload chan_websocket.so")
    return trial


async def test_without_websocket_rtp_is_left(without_websocket: Trial, tmp_path: Path) -> None:
    async with one_call(without_websocket, tmp_path, no_audiosocket()) as (caller, session, programs):
        await assert_both_are_heard(caller, session)
        assert calls_of(programs)["fell_back"] == {"audiosocket/stream": 1}
        assert calls_of(programs)["attached"] == {"legacy/stream": 1}
        await caller.hang_up()
        assert await leftovers(without_websocket, programs) == []


async def test_a_module_that_goes_while_the_engine_runs_costs_no_call(
    start_asterisk: StartAsterisk, tmp_path: Path
) -> None:
    trial = start_asterisk("websocket-goes")
    unload = "module unload chan_websocket.so"
    async with one_call(trial, tmp_path, {"AUDIO_TRANSPORT": "websocket"}, TONES, unload) as (
        caller,
        session,
        programs,
    ):
        await assert_both_are_heard(caller, session)
        assert calls_of(programs)["fell_back"] == {"websocket/stream": 1}
        assert calls_of(programs)["attached"] == {"audiosocket/stream": 1}
        await caller.hang_up()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """64 KiB below /dev/shm, which Asterisk sees as we do if it is started afterwards."""
    directory = Path(mkdtemp(prefix="offhook-test-", dir="/dev/shm"))
    mount = as_root(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)])
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        directory.rmdir()
        pytest.skip(f"a disk of 64 KiB cannot be mounted here: {done.stderr.strip()}")
    yield directory
    subprocess.run(as_root(["umount", "--lazy", str(directory)]), check=True)
    directory.rmdir()


async def test_a_disk_that_is_full_costs_no_word(
    small_disk: Path, start_asterisk: StartAsterisk, tmp_path: Path
) -> None:
    trial = start_asterisk("full-disk")
    settings = {"DOWNSTREAM_MODE": "file", "MEDIA_DIRECTORY": str(small_disk)}
    # The last sentence has 72 KB; that it does not fit is found out while another one is being heard.
    script = Script(sweep(6, ends=(1, 1.5, 6)), [Answer([tones(*REPLY_HZ)])])
    async with one_call(trial, tmp_path, settings, script) as (caller, session, programs):
        await assert_the_rest_is_heard(caller, session, 6.0)
        calls = calls_of(programs)
        assert calls["fell_back"] == {"audiosocket/file": 1}
        assert sum(count for way, count in calls["attached"].items() if way.endswith("/stream")) == 1
        assert calls["events"]["playout_failed"] == 1
        assert "No space left" in programs.engine.log_text()
        await caller.hang_up()
        assert await leftovers(trial, programs) == []


class Cable:
    """Carries TCP connections to ``target`` on 127.0.0.1, and can be cut."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._ends: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[None]:
        """Take connections on ``port`` while the block runs."""
        async with await asyncio.start_server(self._carry, "127.0.0.1", self.port):
            try:
                yield
            finally:
                self.cut()

    def cut(self) -> None:
        """Every connection is reset, on both sides at once; new ones are carried."""
        ends, self._ends = self._ends, []
        for end in ends:
            end.transport.abort()

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends += [back, forth]
        await asyncio.gather(_pour(here, forth), _pour(there, back))


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


async def test_an_audiosocket_connection_that_breaks_costs_no_word(asterisk: Trial, tmp_path: Path) -> None:
    port = free_port()
    cable = Cable(port)
    settings = {
        "AUDIO_TRANSPORT": "audiosocket",
        "AUDIOSOCKET_PORT": str(port),
        "AUDIOSOCKET_ADVERTISE": f"127.0.0.1:{cable.port}",
    }
    async with cable.laid(), one_call(asterisk, tmp_path, settings, LONG) as (caller, session, programs):
        await _cut_in_the_middle(cable, caller)
        await assert_the_rest_is_heard(caller, session)
        assert calls_of(programs)["fell_back"] == {"audiosocket/stream": 1}
        await caller.hang_up()
        assert await leftovers(asterisk, programs) == []


@pytest.mark.parametrize("downstream", ["stream", "file"])
async def test_losing_every_connection_to_asterisk_at_once_costs_no_word(
    asterisk: Trial, tmp_path: Path, downstream: str
) -> None:
    cable = Cable(asterisk.http_port)
    settings = {
        "AUDIO_TRANSPORT": "websocket",
        "DOWNSTREAM_MODE": downstream,
        "ASTERISK_ARI_PORT": str(cable.port),
    }
    async with cable.laid(), one_call(asterisk, tmp_path, settings, LONG) as (caller, session, programs):
        await _cut_in_the_middle(cable, caller)
        await assert_the_rest_is_heard(caller, session)
        assert programs.health()["ari"]["reconnects"] == 1
        await caller.hang_up()
        assert await leftovers(asterisk, programs) == []


async def _cut_in_the_middle(cable: Cable, caller: Caller) -> None:
    begun = await caller.agent.wait_voice()
    await asyncio.sleep(begun + 1.3 - time.time())
    cable.cut()
