"""Draws docs/state-machines.md from the tables of ai_engine/call; ``--check`` says whether it is fresh."""

import argparse
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from ai_engine.call import lifecycle, turns
from ai_engine.call.actions import Action, EndCall
from ai_engine.call.events import CallEvent

TARGET = Path(__file__).parents[1] / "docs" / "state-machines.md"


def name(action: Action) -> str:
    return f"{type(action).__name__}({action.reason})" if isinstance(action, EndCall) else type(action).__name__


def diagram(
    title: str, first: StrEnum, table: Mapping[tuple[Any, type[CallEvent]], tuple[Any, tuple[Action, ...]]]
) -> str:
    lines = [f"## {title}", "", "```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    rows = ["| state | happens | becomes | do |", "| --- | --- | --- | --- |"]
    for (state, event), (after, actions) in table.items():
        lines.append(f"    {state} --> {after}: {event.__name__}")
        rows.append(f"| {state} | {event.__name__} | {after} | {', '.join(map(name, actions)) or '–'} |")
    return "\n".join([*lines, "```", "", *rows, ""])


def text() -> str:
    return "\n".join(
        [
            "# State machines",
            "",
            "Drawn from the tables in `ai_engine/call` by `make diagrams`; what is not listed changes nothing.",
            "",
            diagram("The call (`call/lifecycle.py`)", lifecycle.Lifecycle().phase, lifecycle.TRANSITIONS),
            diagram("The call, where no human can be reached", lifecycle.Lifecycle().phase, lifecycle.ALONE),
            diagram("The floor (`call/turns.py`)", turns.Turns().floor, turns.TRANSITIONS),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when the file is stale, write nothing")
    if parser.parse_args().check:
        fresh = TARGET.exists() and TARGET.read_text() == text()
        if not fresh:
            print("docs/state-machines.md is stale: run 'make diagrams'", file=sys.stderr)
        return 0 if fresh else 1
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
