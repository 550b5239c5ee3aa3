"""The engine's own calendar, as the tools in a call reach it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.jobs.ports import CalendarUnreachable
from ai_engine.jobs.settings import CalendarSettings


class OwnCalendar:
    """Implements ``Bookings``; ``asked`` is every request, ``lost`` loses those that come."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self.settings = CalendarSettings(directory=directory)
        self.calendar = EmbeddedCalendar(self.settings, now.timestamp)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.lost = False
        self.late: asyncio.Event | None = None
        """Bookings wait for it."""
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        """A booking is asked for; it is entered."""

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((operation, body))
        if self.lost:
            raise CalendarUnreachable("the calendar at secret.example cannot be reached")
        return await self.calendar.ask(operation, body)

    async def book(self, call_id: str, job_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.begun.set()
        if self.late is not None:
            await self.late.wait()
        with suppress(CalendarUnreachable):
            answer = await self.ask("create-event", body)
            self.done.set()
            return answer
        return {"ok": False, "pending": True, "error": "the calendar does not answer"}

    async def take(self, start: str, end: str, calendar_id: str = "primary") -> None:
        """Somebody has an appointment then."""
        answer = await self.calendar.ask(
            "create-event",
            {
                "calendarId": calendar_id,
                "start": start,
                "end": end,
                "timezone": "Europe/Berlin",
                "title": "Mrs Miller, toothache",
                "idempotencyKey": f"taken:{start}",
            },
        )
        assert answer["ok"] is True, answer

    async def events(self, calendar_id: str = "primary") -> list[Mapping[str, Any]]:
        """The appointments of 2026 and 2027 but for those of others."""
        answer = await self.calendar.ask(
            "list-events",
            {
                "calendarIds": [calendar_id],
                "windowStart": "2026-06-01T00:00:00Z",
                "windowEnd": "2027-05-31T00:00:00Z",
                "timezone": "Europe/Berlin",
            },
        )
        return [event for event in answer["events"] if "Miller" not in event["title"]]
