"""Whole desks for tests: the real ``Dispatch`` on a real database, with a toy network and a calendar of its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai_engine.dispatch.database import Database
from ai_engine.dispatch.desk import Dispatch
from ai_engine.dispatch.fleet import Fleet
from ai_engine.dispatch.store import Store
from ai_engine.host.sqlite import sqlite_url
from ai_engine.jobs.briefing import assignment
from ai_engine.jobs.ports import CalendarUnreachable, Urls
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import CallAgentSettings, Trunk
from tests.fakes.toy_network import ToyNetwork

FAST: Mapping[str, Any] = {
    "telephony": {"provider": "mock"},
    "retry": {"initial_delay_ms": 20},
    "manners": {"windows": []},
}
"""Settings of a desk that does not wait."""

BOOK = {"to": "+15550100", "goal": "Make an appointment", "durationMinutes": 30, "timezone": "Europe/Berlin"}


class PaperCalendar:
    """Implements ``Calendar``: takes every appointment, after as many failures as it is told."""

    def __init__(self) -> None:
        self.failures = 0
        self.answers: list[dict[str, Any]] = []
        """What it answers, in order, in place of taking the appointment."""
        self.asked: list[Mapping[str, Any]] = []
        self.events: dict[str, Mapping[str, Any]] = {}

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(body)
        if self.failures:
            self.failures -= 1
            raise CalendarUnreachable("nobody there")
        if self.answers:
            return self.answers.pop(0)
        event = self.events.setdefault(str(body["idempotencyKey"]), body)
        return {
            "ok": True,
            "eventId": f"event-{len(self.events)}",
            **{k: event[k] for k in ("start", "end", "timezone")},
        }


class Desk:
    """One desk, open."""

    def __init__(
        self, dispatch: Dispatch, store: Store, network: ToyNetwork, calendar: PaperCalendar, told: list[CallRecord]
    ) -> None:
        self.dispatch, self.store, self.network, self.calendar, self.told = dispatch, store, network, calendar, told

    async def call(self, **changes: Any) -> CallRecord:
        return await self.dispatch.call_agent(CallRequest.model_validate({**BOOK, **changes}))

    async def until(self, call_id: str, wanted: Callable[[CallRecord], bool], seconds: float = 20.0) -> CallRecord:
        """The record, once it is as ``wanted``. Raises TimeoutError with what it is instead."""
        record = await self.dispatch.status(call_id)
        try:
            async with asyncio.timeout(seconds):
                while record is None or not wanted(record):
                    await asyncio.sleep(0.02)
                    record = await self.dispatch.status(call_id)
        except TimeoutError:
            entries = [f"{entry.kind} {entry.text}" for entry in await self.dispatch.timeline(call_id)]
            raise TimeoutError(f"{record} after {entries}") from None
        return record

    async def settled(self, call_id: str) -> CallRecord:
        return await self.until(call_id, lambda record: record.settled)

    async def kinds(self, call_id: str) -> list[str]:
        return [entry.kind for entry in await self.dispatch.timeline(call_id)]


@asynccontextmanager
async def open_desk(
    directory: Path,
    settings: Mapping[str, Any] | None = None,
    network: ToyNetwork | None = None,
    calendar: PaperCalendar | None = None,
    clock: Callable[[], float] = time.time,
    url: str = "",
    engine_name: str = "one",
    told: Callable[[CallRecord], None] | None = None,
    lost_seconds: float = 30.0,
    trunks: Callable[[], Mapping[str, Trunk]] | None = None,
) -> AsyncIterator[Desk]:
    """``url`` of a PostgreSQL in place of files in ``directory``; ``told`` hears of the notifications in place of
    ``Desk.told``."""
    given = CallAgentSettings.model_validate_json(json.dumps({**FAST, **(settings or {})}))
    network, calendar = network or ToyNetwork(), calendar or PaperCalendar()
    heard: list[CallRecord] = []

    async def notify(record: CallRecord) -> bool:
        (told or heard.append)(record)
        return True

    async def urls() -> Urls:
        return Urls("http://127.0.0.1:4545", "https://public.example")

    database = Database(url or sqlite_url(directory / "calls.sqlite"))
    store = Store(database, clock)
    fleet = Fleet(database, engine_name, None if url else directory / "calls.lock", lost_seconds)
    dispatch = Dispatch(
        given,
        network,
        store,
        fleet,
        calendar,
        notify,
        urls,
        lambda record, put_right: assignment(
            given, record, "booking", "Europe/Berlin", datetime.fromtimestamp(clock(), UTC), put_right
        ),
        agents=lambda: ("booking", "reception"),
        trunks=trunks,
        clock=clock,
        chance=lambda: 0.5,
    )
    network.report = dispatch.report
    try:
        await dispatch.open(url or sqlite_url(directory / "dbos.sqlite"))
        yield Desk(dispatch, store, network, calendar, heard)
    finally:
        await dispatch.close()
        database.close()
