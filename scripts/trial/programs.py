"""Our two programs as real processes beside a trial Asterisk, on free ports, for the demo, `make run` and the tests.

async with Programs(trial, directory) as programs:        # both ready to take calls
    programs.health()                                     # what /health says
    programs.engine.log_text()
    programs.local.kill()                                 # SIGKILL
    await programs.start_engine()                         # again
programs.calls()                                          # the recorder's folders, oldest first
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from scripts.trial.asterisk import Trial
from scripts.trial.rootfs import CHECKOUT, TrialError

_here = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""What is on this machine is not behind its proxy."""

READY_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program and its children have taken so far."""

    cpu_seconds: float
    megabytes: float
    """Resident; memory that processes share is counted once for each."""


@dataclass(slots=True)
class Program:
    """One running process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def usage(self) -> Usage:
        """Read from /proc; nothing for a program that has ended."""
        return _usage(self.pid)

    def kill(self) -> None:
        """As a crash would end it."""
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, insist after a while; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL


class Programs:
    """``local_ai_server`` and ``ai_engine``; extension 101 of the trial leads to this engine too."""

    def __init__(
        self,
        trial: Trial,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        with_local: bool = True,
        awaited: str = "/ready",
        config: Path = CHECKOUT / "config" / "ai-agent.yaml",
    ) -> None:
        """``settings`` are environment variables above our own, and above ``config``.

        ``with_local`` False leaves ``local_ai_server`` away: somebody else serves ``local_port``. ``awaited`` is the
        page of the engine that tells when it has started: ``/live`` for one that finds no Asterisk.
        """
        self.directory = directory
        self._trial = trial
        self._with_local = with_local
        self._awaited = awaited
        self._config = config
        self.audiosocket_port = free_port()
        self.health_port = free_port()
        self.local_port = free_port()
        self._environment = {
            **os.environ,
            "ASTERISK_HOST": "127.0.0.1",
            "ASTERISK_ARI_PORT": str(trial.http_port),
            "ASTERISK_ARI_USERNAME": trial.username,
            "ASTERISK_ARI_PASSWORD": trial.password,
            "AUDIOSOCKET_PORT": str(self.audiosocket_port),
            "HEALTH_PORT": str(self.health_port),
            "LOCAL_AI_URL": f"ws://127.0.0.1:{self.local_port}/v1",
            "LOCAL_AI_PORT": str(self.local_port),
            "RECORDING_DIRECTORY": str(directory / "calls"),
            "MEDIA_DIRECTORY": str(directory / "media"),
            "PYTHONUNBUFFERED": "1",
            **(settings or {}),
        }
        self.engine: Program
        self.local: Program

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "media").mkdir(exist_ok=True)
        try:
            starts = [self.start_local(), self.start_engine()] if self._with_local else [self.start_engine()]
            await asyncio.gather(*starts)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start_local(self) -> None:
        """Start ``local_ai_server`` and wait until it is ready; raises TrialError with its last words."""
        self.local = self._start("local_ai_server")
        await self._until_ready(self.local, self.local_port, "/ready")

    async def start_engine(self) -> None:
        """Start ``ai_engine`` and wait until it is ready; raises TrialError with its last words."""
        self.engine = self._start("ai_engine", "--config", str(self._config), "--env-file", "")
        await self._until_ready(self.engine, self.health_port, self._awaited)
        # What needs no ARI: the dialplan itself must know where we are.
        self._trial.cli(f"dialplan set global OFFHOOK_AUDIOSOCKET 127.0.0.1:{self.audiosocket_port}")

    async def stop(self) -> None:
        for program in (getattr(self, "engine", None), getattr(self, "local", None)):
            if program is not None:
                await program.stop()

    def health(self) -> dict[str, Any]:
        """What the engine says of itself, well or not."""
        try:
            with _here.open(f"http://127.0.0.1:{self.health_port}/health", timeout=5) as reply:
                body = reply.read()
        except urllib.error.HTTPError as unwell:
            body = unwell.read()
        found: dict[str, Any] = json.loads(body)
        return found

    def calls(self) -> list[Path]:
        """The folders the recorder made, oldest first."""
        return sorted((self.directory / "calls").glob("*"))

    async def recorded(self, after: int = 0) -> Path:
        """The newest call's folder, once the recorder has finished it and there are more than ``after``; raises
        TrialError when it does not in 5 s."""
        for _ in range(100):
            done = [folder for folder in self.calls() if (folder / "turns.json").exists()]
            if len(done) > after:
                return done[-1]
            await asyncio.sleep(0.05)
        raise TrialError(f"the engine recorded nothing; it says in {self.engine.log}")

    def _start(self, package: str, *arguments: str) -> Program:
        path = self.directory / f"{package}.log"
        log: IO[bytes]
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", package, *arguments],
                cwd=CHECKOUT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C is for whoever started us, who stops these in order.
                start_new_session=True,
            )
        return Program(package, process, path)

    async def _until_ready(self, program: Program, port: int, page: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and program.process.poll() is None:
            if await asyncio.to_thread(_is_ready, port, page):
                return
            await asyncio.sleep(0.05)
        last_words = "\n".join(program.log_text().splitlines()[-10:])
        raise TrialError(f"{program.name} did not become ready; it says in {program.log}:\n{last_words}")


def _usage(pid: int) -> Usage:
    process = Path("/proc", str(pid))
    try:
        # Behind the name in brackets: state is field 3, utime 14, stime 15, in ticks; rss 24, in pages.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        # Each thread has children of its own.
        children = [child for thread in process.glob("task/*/children") for child in thread.read_text().split()]
    except OSError:
        return Usage(0.0, 0.0)
    parts = [_usage(int(child)) for child in children]
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(cpu + sum(part.cpu_seconds for part in parts), memory + sum(part.megabytes for part in parts))


def free_port() -> int:
    """A TCP port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(port: int, page: str) -> bool:
    with (
        suppress(urllib.error.URLError, OSError),
        _here.open(f"http://127.0.0.1:{port}{page}", timeout=1) as reply,
    ):
        return bool(reply.status == 200)
    return False
