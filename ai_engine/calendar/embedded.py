"""The engine's own calendar bridge, in its own process."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.calendar.bridge import Bridge
from ai_engine.calendar.database import Database
from ai_engine.calendar.elsewhere import Elsewhere
from ai_engine.calendar.ics import calendar_ics
from ai_engine.calendar.ics_folder import IcsFolder
from ai_engine.calendar.refusals import Refused
from ai_engine.calendar.store import Store
from ai_engine.errors import ConfigError
from ai_engine.jobs.ports import CalendarUnreachable
from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.settings import CalendarSettings
from ai_engine.jobs.times import zone

log = structlog.get_logger(__name__)

STORE_FILE = "calendar.sqlite"
_FEED_BEHIND = timedelta(days=90)
"""How long an appointment stays in the feed that people subscribe to."""


class EmbeddedCalendar:
    """A ``Calendar``, for the event loop of the office; opened and closed once. Several processes may each have one of
    the same folder."""

    def __init__(
        self,
        settings: CalendarSettings,
        clock: Callable[[], float],
        *,
        own_zone: str = "UTC",
        hours: WorkingHours | None = None,
    ) -> None:
        """``clock`` is epoch seconds. Calendars elsewhere mean ``own_zone`` where they name none; alternatives
        are looked for within ``hours`` where a request names none.

        Makes the folder and the store, which takes a moment. Raises ConfigError where they cannot be had.
        """
        self._settings = settings
        self._clock = clock
        try:
            self._database = Database(settings.directory / STORE_FILE, settings.timeout_seconds)
        except (SQLAlchemyError, OSError) as error:
            where = f"call_agent.calendar.directory: {settings.directory}"
            raise ConfigError(f"{where} cannot hold a calendar: {_reason(error)}") from error
        self._store = Store(self._database, clock)
        self._elsewhere = Elsewhere(settings.import_urls, settings.logins, self._store, clock, zone(own_zone))
        self._store.sources = [source.id for source in self._elsewhere.sources]
        self._folder = IcsFolder(settings.directory)
        self._bridge = Bridge(self._store, settings, clock, hours, self._folder.write)
        self._reading: asyncio.Task[None] | None = None
        self.counters = {"asked": 0, "refused": 0, "failed": 0}

    async def open(self) -> None:
        """Make up for what a crash has left undone, and begin to read calendars elsewhere."""
        await asyncio.to_thread(self._write_missing)
        if self._elsewhere.sources:
            reading = self._elsewhere.keep_reading(self._settings.import_seconds)
            self._reading = asyncio.create_task(reading, name="calendars elsewhere")

    async def close(self) -> None:
        """May be called though it was never opened, and again."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        await asyncio.to_thread(self._database.close)

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As ``Calendar`` has it."""
        _, answer = await self.answer(operation, body)
        return answer

    async def answer(self, operation: str, body: Mapping[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        """The same, with the status that it has over HTTP. Raises CalendarUnreachable."""
        self.counters["asked"] += 1
        try:
            return HTTPStatus.OK, await asyncio.to_thread(self._bridge.carry_out, operation, body)
        except Refused as refused:
            self.counters["refused"] += 1
            return refused.status, refused.as_json()
        except SQLAlchemyError as error:
            self.counters["failed"] += 1
            log.error("the calendar's store cannot be used", operation=operation, reason=_reason(error))
            raise CalendarUnreachable(f"the calendar's store cannot be used: {_reason(error)}") from error

    async def feed(self, calendar_id: str) -> bytes:
        """Its appointments as iCalendar. Raises CalendarUnreachable."""
        try:
            return await asyncio.to_thread(self._feed, calendar_id)
        except SQLAlchemyError as error:
            raise CalendarUnreachable(f"the calendar's store cannot be used: {_reason(error)}") from error

    def health(self) -> dict[str, Any]:
        """Plain data; from any thread."""
        return {
            "ok": all(source.health()["ok"] for source in self._elsewhere.sources),
            **self.counters,
            "ics_failures": self._folder.failures,
            "elsewhere": [source.health() for source in self._elsewhere.sources],
        }

    def _feed(self, calendar_id: str) -> bytes:
        recent = self._store.events_since(self._now() - _FEED_BEHIND)
        return calendar_ics(calendar_id, [e for e in recent if e.calendar_id == calendar_id and not e.canceled])

    def _write_missing(self) -> None:
        try:
            self._folder.write_missing(self._store.events_since(self._now()))
        except SQLAlchemyError as error:
            log.error("the calendar's store cannot be read", reason=_reason(error))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)
