"""How studio writes: tables for people, JSON for programs, and remarks that stand in neither's way."""

import json
import logging
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ai_engine.studio.errors import USAGE, Stop
from ai_engine.web.call_screen import console, printable

Cell = str | tuple[str, str]
"""Text, or text and style."""

_SHORTEST_ID = 8
_WIDE = 100
"""Columns of a terminal from which on every column of a table is shown."""

_STYLES = {
    "online": "green",
    "offline": "red",
    "failed": "red",
    "missing": "red",
    "unknown": "yellow",
    "talking": "green",
    "ringing": "yellow",
    "dialing": "yellow",
    "queued": "yellow",
    "ending": "dim",
}


def show_json(data: object) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def show_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    fold: Sequence[str] = (),
    firm: Sequence[str] = ("#", "id", "number", "name", "for"),
    spare: Sequence[str] = (),
) -> None:
    """Where the terminal is narrow columns of ``fold`` are broken into lines, those of ``firm`` are whole, and those of
    ``spare`` are not shown."""
    screen = console()
    narrow = screen.is_terminal and screen.width < _WIDE
    kept = [index for index, title in enumerate(titles) if not (narrow and title in spare)]
    cells = [[text(row[index]) for index in kept] for row in rows]
    table = Table(box=SIMPLE if screen.is_terminal else None, pad_edge=False)
    for place, title in enumerate(titles[index] for index in kept):
        widest = max((row[place].cell_len for row in cells), default=0)
        table.add_column(title, no_wrap=title not in fold, min_width=widest if title in firm else None)
    for row in cells:
        table.add_row(*row)
    screen.print(table)


def short_ids(ids: Sequence[str]) -> list[str]:
    """On a terminal no more of each than tells it from the others; whole in a pipe. Verbs take both."""
    if not console().is_terminal:
        return list(ids)
    length = _SHORTEST_ID
    while len({id[:length] for id in ids}) < len(set(ids)):
        length += 1
    return [id[:length] for id in ids]


def show_facts(facts: Iterable[tuple[str, Cell]], screen: Console | None = None) -> None:
    """A line each; those without a value are left out."""
    screen = screen or console()
    known = [(name, text(value)) for name, value in facts if value not in ("", ("", ""))]
    width = max((len(name) for name, _ in known), default=0) + 2
    for name, value in known:
        screen.print(Text.assemble((f"{name:{width}}", "dim"), value), soft_wrap=True)


def say(line: str, style: str = "") -> None:
    """A line of the answer."""
    console().print(Text(printable(line), style), soft_wrap=True)


def remark(line: str) -> None:
    """What should be known beside the answer: on standard error."""
    for one in line.splitlines():
        print(f"studio: {printable(one)}", file=sys.stderr)


def state(word: str) -> Cell:
    return word, _STYLES.get(word, "")


def text(cell: Cell) -> Text:
    return Text(printable(cell)) if isinstance(cell, str) else Text(printable(cell[0]), cell[1])


def in_camel_case(data: dict[str, Any]) -> dict[str, Any]:
    """The keys as our API writes them."""
    return {_camel(key): value for key, value in data.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def sure(question: str, *, force: bool) -> None:
    """Raises Stop unless somebody says yes, or ``force`` does."""
    if force:
        return
    if not sys.stdin.isatty():
        raise Stop(USAGE, f"{question} Nobody is here to say so: --force does")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Stop(USAGE, "nothing was changed")


def calm_logs(least: int = logging.WARNING) -> None:
    """What rooms below have to tell goes where remarks go, if it is as important as ``least``."""
    # It is slow to load, and `--help` has no logs.
    import structlog  # noqa: PLC0415

    structlog.configure(
        processors=[_as_remark],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.ReturnLoggerFactory(),
    )


def _as_remark(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    event = line.pop("event", "")
    remark(f"{event}{''.join(f' ({key}: {value})' for key, value in line.items())}")
    return ""
