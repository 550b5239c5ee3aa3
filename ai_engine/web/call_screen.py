"""How calls look on a terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.status import Status

_PIPED_WIDTH = 400

_STYLES = {Status.COMPLETED: "green", Status.DIALING: "yellow", Status.QUEUED: "yellow", Status.IN_PROGRESS: "cyan"}


def console() -> Console:
    """On standard output; lines in a pipe are not broken."""
    own = Console(highlight=False)
    return own if own.is_terminal else Console(highlight=False, width=_PIPED_WIDTH)


def show_calls(screen: Console, records: Sequence[CallRecord]) -> None:
    table = Table(box=SIMPLE if screen.is_terminal else None, pad_edge=False)
    for title in ("id", "to", "status", "outcome", "attempts", "asked for", "what for"):
        table.add_column(title, no_wrap=title in ("id", "to", "status"))
    for record in records:
        purpose = record.request.goal or record.request.prompt or ""
        table.add_row(
            record.id,
            record.request.to,
            Text(record.status, _STYLES.get(record.status, "red")),
            record.outcome or "",
            str(record.attempt),
            _when(record.created_at),
            Text(printable(purpose[:80])),
        )
    screen.print(table)


def show_call(screen: Console, record: CallRecord) -> None:
    """What is known, a line each."""
    _line(screen, "call", record.id)
    _line(screen, "to", " ".join(part for part in (record.request.to, record.request.callee_name) if part))
    _line(screen, "status", verdict(record), _STYLES.get(record.status, "red"))
    _line(screen, "attempts", f"{record.attempt}")
    if record.next_attempt_at:
        _line(screen, "next", _when(record.next_attempt_at))
    if event := record.scheduled_event:
        _line(screen, "scheduled", f"{event.start.isoformat()} – {event.end.isoformat()} ({event.timezone})", "green")
    if report := record.report:
        _line(screen, "report", f"{report.outcome}: {report.summary}")
        for step in report.next_steps:
            _line(screen, "next step", step)
    if record.user_hint and not record.settled:
        _line(screen, "to do", record.user_hint, "bold")


def verdict(record: CallRecord) -> str:
    """The status, and what explains it."""
    words = [record.status.value, f"({record.outcome})" if record.outcome else "", record.last_error or ""]
    return " ".join(word for word in words if word)


def show_entry(screen: Console, entry: TimelineEntry) -> None:
    attempt = f"#{entry.attempt}" if entry.attempt else ""
    line = Text.assemble((f"{entry.at.astimezone():%H:%M:%S}  ", "dim"), f"{attempt:3} ", (f"{entry.kind:12} ", "bold"))
    line.append(printable(entry.text))
    line.rstrip()
    screen.print(line, soft_wrap=True)


def printable(text: str) -> str:
    """What people far away have said must not command this terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _line(screen: Console, name: str, text: str, style: str = "") -> None:
    screen.print(Text.assemble((f"{name:10}", "dim"), (printable(text), style)), soft_wrap=True)


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
