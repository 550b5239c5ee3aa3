"""A booking that is cut off at one of its steps: each statement and commit of the store, each touch of the files."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import event
from sqlalchemy.engine import Engine

from ai_engine.calendar.bridge import Bridge
from ai_engine.calendar.database import Database
from ai_engine.calendar.ics_folder import IcsFolder
from ai_engine.calendar.store import Store
from ai_engine.jobs.settings import CalendarSettings
from tests.calendar.bridge_parts import Clock

FILE_STEPS = ("tempfile.mkstemp", "os.fsync", "os.chmod", "os.replace")


class CutOff(Exception):
    """The program fails here."""


def fail() -> None:
    raise CutOff


def kill() -> None:
    """As the kernel does, or somebody who pulls the plug."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def cut_off_at(step: int, how: Callable[[], None]) -> Iterator[list[str]]:
    """``how`` is called at the step with that number, from 1; gives the steps that were taken."""
    taken: list[str] = []

    def take(name: str) -> None:
        taken.append(name)
        if len(taken) == step:
            how()

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        take(f"before {statement.split()[0]}")

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        take(f"after {statement.split()[0]}")

    def commit(_connection: Any) -> None:
        take("before commit")

    hooks = [(Engine, "before_cursor_execute", before), (Engine, "after_cursor_execute", after)]
    hooks += [(Engine, "commit", commit)]
    patches = [mock.patch(name, _with_step(take, name)) for name in FILE_STEPS]
    for target, name, hook in hooks:
        event.listen(target, name, hook)
    for patch in patches:
        patch.start()
    try:
        yield taken
    finally:
        for target, name, hook in hooks:
            event.remove(target, name, hook)
        for patch in patches:
            patch.stop()


def _with_step(take: Callable[[str], None], name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition(".")
    real = getattr(__import__(module), function)

    def stepping(*args: Any, **more: Any) -> Any:
        take(f"before {function}")
        done = real(*args, **more)
        take(f"after {function}")
        return done

    return stepping


@contextmanager
def bridge_with_files(directory: Path) -> Iterator[tuple[Bridge, Store]]:
    clock = Clock()
    with closing(Database(directory / "calendar.sqlite", 5.0)) as database:
        store = Store(database, clock)
        yield Bridge(store, CalendarSettings(), clock, None, IcsFolder(directory).write), store
