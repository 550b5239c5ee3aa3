"""Prints what came of trying the providers."""

import json
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ai_engine.app.check import Outcome
from ai_engine.app.check_reply import Reply
from ai_engine.call.events import Stage

_NONE = "–"

_NAMES = 2
"""Columns that hold words; the others hold figures."""


def show(outcomes: Sequence[Outcome]) -> None:
    """A table on a terminal, else aligned lines; below it what was said, what it cost, and what is wrong."""
    console = Console()
    titles, rows = _columns(outcomes), [_row(outcome, outcomes) for outcome in outcomes]
    if console.is_terminal:
        table = Table(title="milliseconds until …", title_style="dim", box=SIMPLE)
        for number, title in enumerate(titles):
            justify: JustifyMethod = "left" if number < _NAMES else "right"
            table.add_column(title.replace(" ", "\n"), justify=justify, no_wrap=True)
        for row, outcome in zip(rows, outcomes, strict=True):
            table.add_row(*map(Text, row), style=None if outcome.ok else "red")
        console.print(table)
    else:
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        for row in (titles, *rows):
            _line(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for outcome in outcomes:
        for text in _said(outcome):
            _line(console, f"{outcome.provider}: {text}")
    for outcome in outcomes:
        if not outcome.ok:
            _line(console, f"{outcome.provider} ({outcome.stage}): {outcome.problem} → {outcome.next_step}", "bold red")


def show_json(outcomes: Sequence[Outcome]) -> None:
    """An object for each provider, a line each."""
    for outcome in outcomes:
        print(json.dumps(outcome.plain()))


def _columns(outcomes: Sequence[Outcome]) -> list[str]:
    titles = ["provider", "", "session open", "greeting sounds", "greeting complete", "greeting lasts", "× real time"]
    if _any(outcomes, "typed"):
        titles += ["typed: first token", "typed: sounds"]
    if _any(outcomes, "spoken"):
        titles += ["spoken: transcript", "spoken: first token", "spoken: sounds"]
    return titles


def _row(outcome: Outcome, outcomes: Sequence[Outcome]) -> list[str]:
    greeting, typed, spoken = (outcome.replies.get(stage) for stage in ("greeting", "typed", "spoken"))
    row = [outcome.provider, "good" if outcome.ok else "BAD", _ms(outcome.connect_ms)]
    if greeting is None:
        row += [_NONE] * 4
    else:
        speed = greeting.speed
        row += [_ms(greeting.first_audio_ms), _ms(greeting.last_audio_ms), _ms(greeting.audio_ms)]
        row.append("at once" if speed is None else f"{speed:.1f}")
    if _any(outcomes, "typed"):
        row += [_stage(typed, Stage.FIRST_TOKEN), _sounds(typed)]
    if _any(outcomes, "spoken"):
        row += [_stage(spoken, Stage.TRANSCRIPT), _stage(spoken, Stage.FIRST_TOKEN)]
        row.append(_sounds(spoken))
    return row


def _said(outcome: Outcome) -> list[str]:
    lines = []
    for stage, reply in outcome.replies.items():
        asked = f" to {' '.join(reply.heard).strip() or '(not understood)'!r}" if reply.heard else ""
        used = f", and asked for {', '.join(reply.tools)}" if reply.tools else ""
        lines.append(f"{stage}{asked}: {reply.text or '(no text)'!r}{used}")
    if outcome.units:
        lines.append("used " + ", ".join(f"{count:g} {unit}" for unit, count in sorted(outcome.units.items())))
    return lines


def _any(outcomes: Sequence[Outcome], stage: str) -> bool:
    return any(stage in outcome.replies for outcome in outcomes)


def _stage(reply: Reply | None, stage: Stage) -> str:
    return _NONE if reply is None else _ms(reply.stages.get(stage))


def _sounds(reply: Reply | None) -> str:
    return _NONE if reply is None else _ms(reply.first_audio_ms)


def _ms(ms: float | None) -> str:
    return _NONE if ms is None else f"{ms:.0f}"


def _line(console: Console, text: str, style: str | None = None) -> None:
    """No line is broken, and what a vendor wrote is neither markup nor an order to the terminal."""
    console.print(Text("".join(c if c.isprintable() else " " for c in text), style or ""), soft_wrap=True)
