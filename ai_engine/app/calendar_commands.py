"""What people do with the engine's own calendar from the command line."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from ai_engine.app.desk_parts import own_zone
from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.calendar.server import serve
from ai_engine.config import EngineConfig
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.times import zone
from ai_engine.observe.logs import start_logging

_AHEAD = timedelta(days=366)


def run_calendar(config: EngineConfig, options: argparse.Namespace) -> int:
    """0 when it was done, 2 where the calendar is somebody else's. Raises ConfigError."""
    settings = config.call_agent or CallAgentSettings()
    if settings.calendar.base_url is not None:
        print(f"the calendar is at {settings.calendar.base_url}: ask there", file=sys.stderr)
        return 2
    calendar = EmbeddedCalendar(
        settings.calendar,
        time.time,  # noqa: TID251 - the clock on the wall
        own_zone=own_zone(),
        hours=settings.defaults.working_hours,
    )
    if options.action == "serve":
        return _serve(calendar, settings, config)
    return asyncio.run(_list(calendar, settings.defaults.timezone or own_zone(), options))


def _serve(calendar: EmbeddedCalendar, settings: CallAgentSettings, config: EngineConfig) -> int:
    pipe = start_logging(config.logging.level, config.logging.format)
    try:
        asyncio.run(serve(calendar, settings.calendar))
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    finally:
        pipe.stop()
    return 0


async def _list(calendar: EmbeddedCalendar, place: str, options: argparse.Namespace) -> int:
    try:
        now = datetime.now(zone(place))
        window = {"windowStart": now.isoformat(), "windowEnd": (now + _AHEAD).isoformat(), "timezone": place}
        answer = await calendar.ask("list-events", {"calendarIds": [options.calendar], **window})
        feed = await calendar.feed(options.calendar) if options.ics else b""
    finally:
        await calendar.close()
    if options.ics:
        sys.stdout.write(feed.decode())
    elif options.json:
        print(json.dumps(answer))
    else:
        _table(answer)
    return 0 if answer.get("ok") else 1


def _table(answer: Mapping[str, Any]) -> None:
    table = Table("day", "from", "to", "what", "event")
    for event in answer.get("events", []):
        start, end = (datetime.fromisoformat(event[name]) for name in ("start", "end"))
        table.add_row(f"{start:%a %d %b %Y}", f"{start:%H:%M}", f"{end:%H:%M}", event["title"], event["eventId"])
    Console().print(table)
