"""An appointment over the telephone, for the demos: a calendar with a time that is taken, and what became of it."""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
import yaml
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.jobs.settings import CalendarSettings
from ai_engine.text import when
from scripts.trial.report import Check
from scripts.trial.rootfs import CHECKOUT, TrialError

AGENT = "booking"
EXTENSION = "201"
"""The agent who makes appointments, in the trial's dialplan."""

SCRIPT = ("can i come on tuesday at ten", "the second one", "yes that would be fine")
"""What a caller says who finds that time taken."""

ZONE = "Europe/Berlin"
_MINUTES = 30
_TAKEN = "Delivery of the spring bulbs"
_ENTRY = re.compile(r"BEGIN:VEVENT.*END:VEVENT", re.DOTALL)
_SWITCHED_OFF = re.compile(r"^call_agent: .*$", re.MULTILINE)


def be_quiet() -> None:
    """What our own parts log in this process is not for people, and standard output may be JSON."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def write_config(folder: Path, section: Mapping[str, Any]) -> Path:
    """The shipped configuration with appointments, kept in ``folder``, and with ``section`` on top of that."""
    shipped = (CHECKOUT / "config" / "ai-agent.yaml").read_text(encoding="utf-8")
    call_agent = {
        "agent": AGENT,
        "telephony": {"provider": "asterisk"},
        "asterisk": {"trunks": {"main": {"dial": "Local/{number}@offhook"}}},
        "calendar": {"directory": str(_directory(folder))},
        "defaults": {"timezone": ZONE},
        "manners": {"windows": []},
        "store": {"path": str(folder / "calls.sqlite")},
        **section,
    }
    text, found = _SWITCHED_OFF.subn(lambda _: yaml.safe_dump({"call_agent": call_agent}), shipped, count=1)
    if not found:
        raise TrialError("config/ai-agent.yaml has no line that begins with `call_agent: `")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ai-agent.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def taken_time() -> datetime:
    """What "tuesday at ten" means now."""
    return when.resolve("tuesday", "ten", ZONE, datetime.now(UTC))


async def take(folder: Path, start: datetime) -> None:
    """Somebody has an appointment at ``start``. Raises TrialError."""
    await _ask(
        folder,
        "create-event",
        {
            "calendarId": "primary",
            "start": start.isoformat(),
            "end": (start + timedelta(minutes=_MINUTES)).isoformat(),
            "timezone": ZONE,
            "title": _TAKEN,
            "idempotencyKey": "demo",
        },
    )


async def appointments(folder: Path) -> list[dict[str, Any]]:
    """All of the next weeks, in order. Raises TrialError."""
    now = datetime.now(UTC)
    window = {"windowStart": now.isoformat(), "windowEnd": (now + timedelta(days=30)).isoformat()}
    answer = await _ask(folder, "list-events", {"calendarIds": ["primary"], "timezone": ZONE, **window})
    return sorted(answer["events"], key=lambda event: str(event["start"]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the appointment."""

    agreed: str
    """The beginning of the time that was checked last, in the engine's transcript; RFC 3339, or empty."""
    offered: tuple[str, ...]
    """Those that were offered in place of the one that was taken."""
    appointments: list[dict[str, Any]]
    """What stands in the calendar now."""
    ics: str
    """The file of the one that was made; empty where there is none."""

    @property
    def made(self) -> list[dict[str, Any]]:
        return [event for event in self.appointments if event["title"] != _TAKEN]

    def checks(self, *, was_taken: bool) -> list[Check]:
        """``was_taken``: the caller asked for a time that was, and chose the second one of two others."""
        starts = [datetime.fromisoformat(event["start"]) for event in self.made]
        agreed = datetime.fromisoformat(self.agreed) if self.agreed else None
        checks = [
            Check("an appointment is in the calendar", len(self.made) == 1),
            Check("it is at the time that was read back and confirmed", agreed is not None and starts == [agreed]),
            Check("no time is booked twice", not _overlap(self.appointments)),
            Check("there is an .ics file of it", bool(self.ics) and "BEGIN:VEVENT" in self.ics),
        ]
        if was_taken:
            chosen = len(self.offered) == 2 and self.agreed == self.offered[1]
            checks.insert(0, Check("the time was taken; the caller was offered two others, and got the second", chosen))
        return checks

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"agreed": self.agreed, "offered": list(self.offered), "appointments": self.appointments}

    def show(self, console: Console) -> None:
        """The entry as it is in the file; around it stand the rules of its time zone."""
        if entry := _ENTRY.search(self.ics.replace("\r\n", "\n")):
            console.print(Panel(Text(entry[0]), title="the appointment, from its .ics file", expand=False))


async def outcome(folder: Path, recorded: Path) -> Outcome:
    """``recorded`` is the engine's own folder of the call. Raises TrialError."""
    checks = _results(recorded, "calendar_check_slot")
    offers = [result["alternatives"] for result in checks if result.get("available") is False]
    events = await appointments(folder)
    made = [event["eventId"] for event in events if event["title"] != _TAKEN]
    files = [path for path in sorted(_directory(folder).rglob("*.ics")) if path.stem in made]
    return Outcome(
        agreed=next((str(result["start"]) for result in reversed(checks) if result.get("available")), ""),
        offered=tuple(str(each["start"]) for each in offers[0]) if offers else (),
        appointments=events,
        ics=files[-1].read_text(encoding="utf-8") if files else "",
    )


def _results(recorded: Path, tool: str) -> list[dict[str, Any]]:
    lines = json.loads((recorded / "transcript.json").read_text(encoding="utf-8"))
    used = (line["tool"] for line in lines if line["speaker"] == "tool")
    return [each["result"] for each in used if each["name"] == tool]


def _overlap(events: Sequence[Mapping[str, Any]]) -> bool:
    spans = sorted((datetime.fromisoformat(each["start"]), datetime.fromisoformat(each["end"])) for each in events)
    return any(later[0] < earlier[1] for earlier, later in zip(spans, spans[1:], strict=False))


async def _ask(folder: Path, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The engine has the same calendar open; the store takes care of that."""
    calendar = EmbeddedCalendar(CalendarSettings(directory=_directory(folder)), time.time)  # noqa: TID251
    try:
        answer = await calendar.ask(operation, body)
    finally:
        await calendar.close()
    if answer.get("ok") is not True:
        raise TrialError(f"the calendar does not do {operation}: {answer.get('error')}")
    return answer


def _directory(folder: Path) -> Path:
    return folder / "calendar"
