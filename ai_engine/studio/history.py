"""The calls that were recorded: a folder each, as the engine's recorder leaves it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_NAME = re.compile(r"(\d{8}T\d{6}Z)-(.+)")
_TAIL = 64 * 1024
"""The last line lies in so many bytes."""


@dataclass(frozen=True, slots=True)
class Recording:
    path: Path
    call_id: str
    started: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """What can be said of a call without reading all of it."""

    recording: Recording
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As the call began: ``agent``, ``provider``, ``caller``, ``dialled``, ``job`` …"""
    reason: str = ""
    """Why it ended; empty where it goes on, or was cut off."""
    seconds: float | None = None
    turns: tuple[Mapping[str, Any], ...] = ()
    """As ``turns.json`` has them."""

    @property
    def answer_ms(self) -> float | None:
        """The median time from the caller's last voice to the agent's first."""
        known = sorted(turn["first_frame_ms"] for turn in self.turns if turn.get("first_frame_ms") is not None)
        return known[len(known) // 2] if known else None


def recorded(directory: Path) -> list[Recording]:
    """The newest first; reads no file. None at all where there is no such folder."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.is_dir()]
    except OSError:
        return []
    found = [(match, name) for name in names if (match := _NAME.fullmatch(name))]
    return [
        Recording(directory / name, match[2], datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
        for match, name in sorted(found, key=lambda one: one[1], reverse=True)
    ]


def summary(recording: Recording) -> Summary:
    first, last = _ends(recording.path / "events.jsonl")
    started = first.get("event") == "CallStarted"
    ended = last.get("event") == "CallEnded"
    span = float(last["loop"]) - float(first["loop"]) if started and "loop" in last else None
    turns = _json(recording.path / "turns.json")
    return Summary(
        recording,
        {key: value for key, value in first.items() if key not in ("loop", "wall", "event")} if started else {},
        str(last.get("reason", "")) if ended else "",
        round(span, 1) if span is not None else None,
        tuple(turn for turn in turns if isinstance(turn, dict)) if isinstance(turns, list) else (),
    )


def transcript(recording: Recording) -> list[dict[str, Any]]:
    """Each line with ``after``, the time since the call began."""
    lines = _json(recording.path / "transcript.json")
    first, _ = _ends(recording.path / "events.jsonl")
    start = float(first.get("loop", 0.0))
    return [
        {**line, "after": timedelta(seconds=max(0.0, round(float(line.get("at", start)) - start, 1)))}
        for line in (lines if isinstance(lines, list) else [])
    ]


def usage(recording: Recording) -> Mapping[str, Any]:
    """Units by provider."""
    found = _json(recording.path / "usage.json")
    return found if isinstance(found, dict) else {}


def files(recording: Recording) -> Iterator[Path]:
    try:
        yield from sorted(recording.path.iterdir())
    except OSError:
        return


def _ends(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last line."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    except OSError:
        return {}, {}
    return _object(first), _object(last)


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # the engine was killed within a line
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
