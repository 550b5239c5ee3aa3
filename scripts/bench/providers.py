"""Shape 4: one call at a time with each provider's fake: what the engine adds to it, and how fast another takes over.

The fakes of ``tests/fakes`` run in a process of their own (``provider_fakes``), which says why it may use them.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from scripts.bench.launch import STOP_SECONDS, BenchEngine, cores
from scripts.bench.load import END_SECONDS
from scripts.bench.provider_kinds import GREETING, SPARE, Kind, Urls
from scripts.bench.provider_rows import Heard, Noted, Row, row
from scripts.trial.rootfs import CHECKOUT, TrialError

AGENT = "measured"
_MAIN = "main"
_KEYS = {"OPENAI_API_KEY": "test-key", "DEEPGRAM_API_KEY": "test-key"}
"""What the fakes ask for."""

_CALL_SECONDS, _TURN_SECONDS = 15.0, 12.0
"""The longest a call may take, and each question in it, if nobody answers; with some more."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: of each call, all answers count, and in the last one the connection breaks."""

    calls: int
    turns: int


FULL = Size(calls=5, turns=4)
QUICK = Size(calls=1, turns=5)


def measure(kind: Kind, folder: Path, size: Size) -> Row:
    """Hold the calls. Raises TrialError when something does not run."""
    with Fakes(kind, size) as fakes:
        with BenchEngine(folder, changes(kind, fakes.urls), {**_KEYS, "DEFAULT_AGENT": AGENT}) as engine:
            calls = _talk(engine.port, size)
            _until_over(engine)
        notes, violations = fakes.stop()
    return row(kind, calls, notes, _events(folder / "calls"), violations)


def line(found: Row) -> str:
    """One row, for a person."""
    over = found.overheads
    quantiles = [f"{name} {over.percentile(percent) or 0.0:.1f}" for name, percent in (("p50", 50), ("p95", 95))]
    notes = [f"{len(found.unmeasured)} not seen: {found.unmeasured[0]}"] if found.unmeasured else []
    notes += [f"{found.held_up} not measured, the caller was held up"] if found.held_up else []
    notes += [f"{len(found.violations)} protocol violations: {found.violations[0]}"] if found.violations else []
    return " · ".join(
        [
            f"overhead {' '.join(quantiles)} max {over.max_ms:.1f} ms of {over.total}",
            f"broken off: next one ready {_each(one.ready_ms for one in found.takeovers)} ms later,"
            f" heard {_each(one.voice_ms for one in found.takeovers)}",
            f"silence {_each(one.silent_ms for one in found.takeovers)} ms",
            *notes,
        ]
    )


class Fakes(AbstractContextManager["Fakes"]):
    """``scripts.bench.provider_fakes`` as a process."""

    def __init__(self, kind: Kind, size: Size) -> None:
        arguments = ["--kind", kind.name, "--calls", str(size.calls), "--turns", str(size.turns)]
        self._process = _python("scripts.bench.provider_fakes", *arguments)
        self.urls: Urls = self._read()["urls"]

    def stop(self) -> tuple[list[Noted], list[str]]:
        """What went over the wire, and what broke a protocol."""
        try:
            said, _ = self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise TrialError("the fakes did not end") from None
        told = json.loads(said)
        return [Noted(*note) for note in told["notes"]], told["violations"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            raise TrialError("the fakes ended; see above")
        read: dict[str, Any] = json.loads(said)
        return read


def _talk(port: int, size: Size) -> list[Heard]:
    arguments = ["--port", str(port), "--calls", str(size.calls), "--turns", str(size.turns)]
    process = _python("scripts.bench.provider_caller", *arguments)
    longest = size.calls * (_CALL_SECONDS + size.turns * _TURN_SECONDS)
    try:
        said, _ = process.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        raise TrialError(f"the calls were not over after {longest:.0f} s") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise TrialError("the caller ended; see above")
    return [Heard.of_plain(json.loads(call)) for call in said.splitlines()]


def _until_over(engine: BenchEngine) -> None:
    """Whatever was recorded is written when the engine ends, which calls would hold up."""
    deadline = time.monotonic() + END_SECONDS
    while engine.state().health["calls"]["now"]:
        if time.monotonic() > deadline:
            raise TrialError("the engine keeps calls that were hung up")
        time.sleep(0.1)


def _python(module: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments, "--core", str(cores()[1])],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def changes(kind: Kind, urls: Urls) -> dict[str, dict[str, Any]]:
    """The engine as an operator has it, with this provider and its spare; the recording tells what happened when."""
    section, is_pipeline = kind.section(urls), "ear" in urls
    spare = {SPARE: {"type": "openai_realtime", "url": urls[SPARE]}}
    return {
        "pipelines": {_MAIN: section} if is_pipeline else {},
        "providers": spare if is_pipeline else {_MAIN: section, **spare},
        "agents": {
            AGENT: {
                "greeting": GREETING,
                "prompt": "You are the receptionist of a garden center.",
                "provider": _MAIN,
                "fallback_providers": [SPARE],
            }
        },
        "streaming": {"level_dbfs": -20, "sample_rate_hz": 8000},
        "recording": {"enabled": True},
        # A probe would meet the fault that is meant for the call.
        "health": {"probe_seconds": 0},
    }


def _each(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values) or "–"


def _events(folder: Path) -> Mapping[str, list[dict[str, Any]]]:
    """What happened, by call."""
    found = {}
    for path in folder.glob("*/events.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name.partition("-")[2]] = lines
    return found
