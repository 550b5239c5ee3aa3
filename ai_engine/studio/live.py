"""What runs now, on all engines: calls and rooms in one numbered list."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import Engine, ask_all, engines, run
from ai_engine.studio.errors import NOT_FOUND, UNREACHABLE, Stop
from ai_engine.studio.place import Place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import LiveCall, Room
from ai_engine.switchboard.ports import Refused
from ai_engine.web.connection import EngineUnreachable

_LISTED = "listed.json"
_SHORTEST_BEGINNING = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A call, or a room."""

    engine: Engine
    call: LiveCall | None = None
    room: Room | None = None

    @property
    def id(self) -> str:
        return self.call.call_id if self.call is not None else self.room.id if self.room is not None else ""

    @property
    def since(self) -> datetime:
        one = self.call.since if self.call is not None else self.room.started_at if self.room is not None else None
        assert one is not None
        return one

    def names(self) -> tuple[str, ...]:
        """What it may be called by."""
        if self.call is not None:
            return tuple(filter(None, (self.call.call_id, self.call.job)))
        return (self.room.id, self.room.name) if self.room is not None else ()


@dataclass(frozen=True, slots=True)
class Live:
    rows: tuple[Row, ...]
    """The oldest first."""
    engines: tuple[Engine, ...]
    silent: tuple[str, ...] = ()
    """Why an engine did not answer, one each."""


def live(where: Where, place: Place) -> Live:
    """Raises Stop for an engine that is named and unknown; one that does not answer is no error."""
    known = engines(where, place)
    rows: list[Row] = []
    silent: list[str] = []
    for engine, answer in run(ask_all(known, _running)):
        if isinstance(answer, EngineUnreachable):
            silent.append(str(answer))
        else:
            calls, rooms = answer
            rows += [*(Row(engine, call=call) for call in calls), *(Row(engine, room=room) for room in rooms)]
    return Live(tuple(sorted(rows, key=lambda row: row.since)), tuple(known), tuple(silent))


async def _running(client: StudioClient) -> tuple[Sequence[LiveCall], Sequence[Room]]:
    try:
        rooms = await client.rooms()
    except Refused:  # Asterisk does not answer: its calls are known all the same
        rooms = ()
    return await client.calls(), rooms


def remember(place: Place, rows: Sequence[Row]) -> None:
    """So that a number that was read off the list means what it meant there, though calls come and go."""
    with suppress(OSError):  # it is a convenience
        path = place.settings.directory / _LISTED
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(json.dumps([row.id for row in rows]), encoding="utf-8")


def find(place: Place, now: Live, word: str) -> Row:
    """By its number in the list that was shown last, by id, name, or the beginning of an id. Raises Stop."""
    if re.fullmatch(r"#?\d{1,4}", word) and not any(word in row.names() for row in now.rows):
        return _numbered(place, now, int(word.removeprefix("#")))
    found = [row for row in now.rows if word in row.names()] or [
        row for row in now.rows if len(word) >= _SHORTEST_BEGINNING and any(n.startswith(word) for n in row.names())
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise Stop(NOT_FOUND, f"{word!r} is the beginning of {len(found)} ids; `studio list --json` shows them whole")
    raise _lacking(now, f"there is no call or room {word!r} now; `studio list` shows what runs")


def _numbered(place: Place, now: Live, number: int) -> Row:
    listed = _remembered(place.settings.directory / _LISTED) or [row.id for row in now.rows]
    if not 1 <= number <= len(listed):
        raise _lacking(now, f"there is no {number} in the list; `studio list` shows what runs")
    for row in now.rows:
        if row.id == listed[number - 1]:
            return row
    raise _lacking(now, f"number {number} of the last `studio list` ({listed[number - 1]}) is over")


def _lacking(now: Live, text: str) -> Stop:
    """It may well be on an engine that did not answer."""
    return Stop(UNREACHABLE, f"{text}; {'; '.join(now.silent)}") if now.silent else Stop(NOT_FOUND, text)


def _remembered(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []
