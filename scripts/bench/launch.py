"""Starts the engine and the generator, each on a core of its own, and asks them how they are.

with BenchEngine(directory) as engine, Generator(engine.port) as generator:
    generator.have_calls(50)
    window = generator.measure(10)         # figures.Window
    engine.state()                         # EngineState: CPU, memory, descriptors, tasks, its own counters
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import yaml

from scripts.bench.engine import settings
from scripts.bench.figures import Window
from scripts.trial.programs import Program, free_port
from scripts.trial.rootfs import CHECKOUT, TrialError

READY_SECONDS = 30.0
STOP_SECONDS = 15.0

_here = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def cores() -> tuple[int, int]:
    """The engine's core and everybody else's; the same one on a machine that has no second."""
    ours = sorted(os.sched_getaffinity(0))
    return ours[0], ours[-1]


@dataclass(frozen=True, slots=True)
class EngineState:
    """At one moment."""

    at: float
    """Monotonic seconds."""
    cpu_seconds: float
    megabytes: float
    """Resident."""
    descriptors: int
    tasks: int
    health: Mapping[str, Any]

    @property
    def skipped_frames(self) -> int:
        return int(self.health["media_clock"]["skipped_frames"])

    @property
    def events(self) -> Mapping[str, int]:
        """How often what happened, over all calls so far."""
        counted: Mapping[str, int] = self.health["calls"]["events"]
        return counted


class BenchEngine:
    """``scripts.bench.engine`` as a process; its configuration, log and journal lie in ``directory``."""

    def __init__(
        self,
        directory: Path,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        """``changes`` to the configuration by section; ``under`` is a command that runs it, such as a profiler."""
        self.port = free_port()
        self.directory = directory
        self.journal = directory / "stops.jsonl"
        self._health_port = free_port()
        self._changes = changes or {}
        self._environment = environment or {}
        self._under = under
        self.program: Program

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "media").mkdir(exist_ok=True)
        config = self.directory / "engine.yaml"
        config.write_text(yaml.safe_dump(settings(self._changes), sort_keys=False, allow_unicode=True))
        self.program = self._start(config)
        self._until_alive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, its journal written; insist after a while."""
        process = self.program.process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.program.kill()

    def state(self) -> EngineState:
        """Costs the engine some milliseconds: not while measuring. Raises TrialError when it is gone."""
        if self.program.process.poll() is not None:
            raise TrialError(f"the engine ended; it says in {self.program.log}:\n{self._last_words()}")
        health = json.loads(self._get("health"))
        usage = self.program.usage()
        descriptors = len(os.listdir(f"/proc/{self.program.pid}/fd"))
        return EngineState(
            time.monotonic(), usage.cpu_seconds, usage.megabytes, descriptors, int(health["tasks"]), health
        )

    def cpu_seconds(self) -> float:
        """Of the process so far; costs it nothing."""
        return self.program.usage().cpu_seconds

    def stops(self) -> dict[str, list[float]]:
        """When each call's agent was told that it is interrupted, of calls that are over; monotonic seconds."""
        if not self.journal.exists():
            return {}
        lines = (json.loads(line) for line in self.journal.read_text().splitlines())
        return {line["call"]: line["stops"] for line in lines}

    def _start(self, config: Path) -> Program:
        log_path = self.directory / "engine.log"
        command = ["-m", "scripts.bench.engine", "--config", str(config), "--core", str(cores()[0])]
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                [*self._under, sys.executable, *command, "--journal", str(self.journal)],
                cwd=CHECKOUT,
                env={**os.environ, **self._own_environment(), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return Program("bench engine", process, log_path)

    def _own_environment(self) -> dict[str, str]:
        """Without Asterisk, unless ``environment`` says where one is: the discard port answers nobody."""
        return {
            "ASTERISK_HOST": "127.0.0.1",
            "ASTERISK_ARI_PORT": "9",
            "ASTERISK_ARI_USERNAME": "nobody",
            "ASTERISK_ARI_PASSWORD": "nothing",
            "AUDIOSOCKET_PORT": str(self.port),
            "HEALTH_PORT": str(self._health_port),
            "RECORDING_DIRECTORY": str(self.directory / "calls"),
            "MEDIA_DIRECTORY": str(self.directory / "media"),
            "PYTHONUNBUFFERED": "1",
        }

    def _until_alive(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.program.process.poll() is None:
            try:
                self._get("live")
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise TrialError(f"the engine did not start; it says in {self.program.log}:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(self.program.log_text().splitlines()[-10:])

    def _get(self, what: str) -> bytes:
        try:
            with _here.open(f"http://127.0.0.1:{self._health_port}/{what}", timeout=5) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as unwell:
            return unwell.read()


class Generator:
    """``scripts.bench.generator`` as a process."""

    def __init__(self, port: int, scenario: str = "talk", answer_seconds: float = 3.0) -> None:
        self._arguments = ["--port", str(port), "--scenario", scenario, "--answer-seconds", str(answer_seconds)]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "scripts.bench.generator", *self._arguments, "--core", str(cores()[1])]
        self._process = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe(self._process.stdin).close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def have_calls(self, count: int) -> None:
        """Call or hang up until ``count`` calls are up; 25 per second."""
        self._ask({"calls": count})

    def measure(self, seconds: float) -> Window:
        """Count for so long."""
        return Window.of_plain(self._ask({"measure": seconds}))

    def stops(self) -> dict[str, list[list[float]]]:
        """``callers.Stop`` by call, of the calls that are up."""
        said: dict[str, list[list[float]]] = self._ask({"stops": True})["stops"]
        return said

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        into = self._pipe(self._process.stdin)
        into.write(json.dumps(command) + "\n")
        into.flush()
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise TrialError("the generator ended; see above")
        said: dict[str, Any] = json.loads(line)
        return said

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
