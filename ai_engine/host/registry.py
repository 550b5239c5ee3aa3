"""Which engines run on this machine: a file each, which nobody else may read."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, TypeAdapter

_SAME_SECONDS = 0.05
"""What a start time may differ by after it was written and read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A running engine."""

    id: str
    pid: Annotated[int, Field(gt=0)]
    process_started: float
    """As ``started_of`` has it: another process may get the same pid later."""
    url: str
    """Of its HTTP API."""
    token: str = field(repr=False)
    """A bearer token of this run, for whoever can read this file."""
    config: str
    """The path of its configuration, absolute."""
    pid_namespace: str = field(default_factory=lambda: _pid_namespace())
    """In which ``pid`` is one: that of a container means nothing outside of it."""


class Registry:
    """A folder of entries. Every method may raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "run"

    def enter(self, entry: Entry) -> None:
        """Whole, or not at all; an entry of the same id is replaced."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, new = tempfile.mkstemp(dir=self._directory, prefix=".new-")  # readable by us alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(entry), file)
            Path(new).replace(self._path(entry.id))
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise

    def leave(self, id: str) -> None:
        """May be called without ``enter``, and again."""
        self._path(id).unlink(missing_ok=True)

    def living(self) -> list[Entry]:
        """The first to start comes first; what the dead have left is removed. Of another container's engines nobody
        can say here whether they live: they are left alone."""
        found: list[Entry] = []
        for path, entry in self._entries():
            if entry is not None and entry.pid_namespace != _pid_namespace():
                continue
            if entry is not None and _lives(entry):
                found.append(entry)
                continue
            with suppress(OSError):  # where we may only look
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda entry: (entry.process_started, entry.id))

    def _entries(self) -> Iterator[tuple[Path, Entry | None]]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield path, _ENTRY.validate_json(path.read_bytes(), strict=True)
            except (FileNotFoundError, PermissionError):
                continue  # gone just now, or another user's engine: we could not ask it either
            except ValueError:
                yield path, None

    def _path(self, id: str) -> Path:
        return self._directory / f"{id}.json"


def started_of(pid: int) -> float:
    """When the process was started, in seconds on a clock of the system; 0 where there is none, or no more than its
    exit status."""
    if sys.platform == "linux":  # of psutil, it would be another one after somebody has set the clock
        with suppress(OSError):
            state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return 0.0 if state in "ZX" else int(fields[18]) / os.sysconf("SC_CLK_TCK")
        return 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    return 0.0


def _pid_namespace() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _lives(entry: Entry) -> bool:
    started = started_of(entry.pid)
    return started > 0 and abs(started - entry.process_started) < _SAME_SECONDS


_ENTRY = TypeAdapter(Entry)
