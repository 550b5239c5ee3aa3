"""A bridge on a store of its own, and a clock turned by hand."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ai_engine.calendar.bridge import Bridge
from ai_engine.calendar.database import Database
from ai_engine.calendar.refusals import Refused
from ai_engine.calendar.store import Event, Store
from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.settings import CalendarSettings

NOW = datetime.fromisoformat("2026-11-30T08:00:00+01:00")
"""A Monday morning."""

BERLIN = "Europe/Berlin"


@dataclass
class Clock:
    """Epoch seconds."""

    now: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """Asks the bridge; times are meant in Berlin, and in the calendar ``primary``, where nothing else is said."""

    bridge: Bridge
    store: Store
    clock: Clock
    written: list[Event] = field(default_factory=list)

    def ask(self, operation: str, **body: Any) -> dict[str, Any]:
        return self.bridge.carry_out(operation, body)

    def find(self, start: str, end: str, minutes: float = 30, **more: Any) -> list[tuple[str, str]]:
        answer = self.ask(
            "find-slots",
            **{"calendarIds": ["primary"], "timezone": BERLIN, **more},
            windowStart=start,
            windowEnd=end,
            durationMinutes=minutes,
        )
        assert answer["ok"] is True
        return [(slot["start"], slot["end"]) for slot in answer["slots"]]

    def check(self, start: str, end: str, **more: Any) -> dict[str, Any]:
        return self.ask("check-slot", **{"calendarIds": ["primary"], "timezone": BERLIN, **more}, start=start, end=end)

    def create(self, start: str, end: str, key: str, **more: Any) -> dict[str, Any]:
        body = {"calendarId": "primary", "timezone": BERLIN, "title": "Visit", **more}
        return self.ask("create-event", **body, start=start, end=end, idempotencyKey=key)

    def refused(self, operation: str, body: Mapping[str, Any]) -> tuple[int, str]:
        with pytest.raises(Refused) as caught:
            self.bridge.carry_out(operation, body)
        return int(caught.value.status), str(caught.value)


@contextmanager
def open_desk(
    path: Path, clock: Clock | None = None, hours: WorkingHours | None = None, **settings: Any
) -> Iterator[Desk]:
    """On the file at ``path``."""
    clock = clock or Clock()
    with closing(Database(path, 5.0)) as database:
        store = Store(database, clock)
        written: list[Event] = []
        bridge = Bridge(store, CalendarSettings.model_validate(settings), clock, hours, written.append)
        yield Desk(bridge, store, clock, written)
