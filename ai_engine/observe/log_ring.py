"""The latest lines of the log, for whoever asks for them."""

import re
import threading
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from structlog.typing import EventDict, WrappedLogger

from ai_engine.observe.feed import Feed
from ai_engine.switchboard.models import LogLine

_MOST_LINES = 2000
_OWN_KEYS = ("timestamp", "level", "event", "call_id")
_ATTEMPT = re.compile(r"(.+)-\d{1,3}")
"""The id of a call that was asked for is that of the job, and how often it was dialled."""
_SHORTEST_NAME = 8
"""What is shorter could be anything."""

Line = Mapping[str, Any]


class LogRing:
    """A processor of the log's thread; read on an event loop, one for all readers."""

    def __init__(self, most_lines: int = _MOST_LINES) -> None:
        self._lines: deque[Line] = deque(maxlen=most_lines)
        self._turn = threading.Lock()  # never taken on the loop of the calls
        self._feed: Feed[Line] = Feed()

    def __len__(self) -> int:
        return len(self._lines)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Keep a line, as it is about to be written: secrets are hidden already."""
        line = {str(key): _plain(value) for key, value in event.items() if not key.startswith("_")}
        with self._turn:
            self._lines.append(line)
            self._feed.tell(line)
        return event

    async def read(self, call_id: str = "", *, follow: bool = False) -> AsyncGenerator[LogLine, None]:
        """The latest lines, and with ``follow`` those that come: all, or those about one call."""
        with self._turn:
            lines, coming = list(self._lines), self._feed.read()
        async with aclosing(coming):
            if not follow:
                coming.end()
            names = _names(call_id, lines)
            for line in lines:
                if _is_about(line, names):
                    yield _as_line(line)
            async for line in coming:
                names |= _names_in(line, call_id) if call_id else set()
                if _is_about(line, names):
                    yield _as_line(line)

    def close(self) -> None:
        """Let those who follow go. On their loop."""
        self._feed.close()


def _names(call_id: str, lines: Collection[Line]) -> set[str]:
    """What lines about a call may name: it, its channel, and the job it belongs to; empty for all of them."""
    if not call_id:
        return set()
    names = {call_id}
    if found := _ATTEMPT.fullmatch(call_id):
        names.add(found[1])
    for line in lines:
        names |= _names_in(line, call_id)
    return {name for name in names if name == call_id or len(name) >= _SHORTEST_NAME}


def _names_in(line: Line, call_id: str) -> set[str]:
    """Of a line that tells the beginning of this call, or of an attempt at this job."""
    found = str(line.get("call_id", ""))
    if line.get("event") != "call started" or (found != call_id and line.get("job") != call_id):
        return set()
    return {found, str(line.get("channel", "")), str(line.get("job", ""))} - {""}


def _is_about(line: Line, names: Collection[str]) -> bool:
    return not names or any(value in names for value in line.values() if isinstance(value, str))


def _as_line(line: Line) -> LogLine:
    return LogLine(
        at=datetime.fromisoformat(str(line["timestamp"])),
        level=str(line.get("level", "")),
        event=str(line.get("event", "")),
        call_id=str(line.get("call_id", "")),
        fields={key: value for key, value in line.items() if key not in _OWN_KEYS},
    )


def _plain(value: object) -> Any:
    """What JSON can hold."""
    match value:
        case str():
            return str(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)
