"""What is known of the engine and its calls at this moment, kept up to date by what it tells."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from ai_engine.switchboard.models import AgentInfo, EngineInfo, LiveCall, LogLine, Room, StudioEvent, TrunkState
from ai_engine.trunks.number import SipNumber

SILENCE_DBFS = -96.0
_MOST_LINES = 1000
_MOST_SAID = 300
_MOST_TURNS = 100
_MOST_ENDED = 20


@dataclass(slots=True)
class Said:
    """A line of the transcript; not final, it may still change."""

    who: str
    text: str
    final: bool
    cut: bool = False
    """The agent was interrupted."""


@dataclass(slots=True)
class Turn:
    """How long an answer took, and what of it took how long: milliseconds after the caller's last voice."""

    ms: float
    marks: dict[str, float]


@dataclass(slots=True)
class Watched:
    """A call, and what was seen of it since we look."""

    call: LiveCall
    said: deque[Said] = field(default_factory=lambda: deque(maxlen=_MOST_SAID))
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=_MOST_TURNS))
    caller_dbfs: float = SILENCE_DBFS
    agent_dbfs: float = SILENCE_DBFS
    ended: str = ""
    """Why, once it is over."""


@dataclass(slots=True)
class Link:
    """The connection to the engine."""

    up: bool
    since: datetime
    """When it came to be as it is."""
    why: str = ""
    """Nobody is there because …"""


class Board:
    """All of it in one place; whoever changes something raises ``version``, whoever draws looks at it."""

    def __init__(self, now: datetime) -> None:
        self.version = 0
        self.link = Link(False, now, "connecting …")
        self.engine: EngineInfo | None = None
        self.calls: dict[str, Watched] = {}
        """Those in progress, the oldest first."""
        self.over: dict[str, Watched] = {}
        """The last that ended, while somebody may be looking at them."""
        self.news: deque[str] = deque(maxlen=3)
        """What happened without anybody's doing here, for whoever shows it and takes it away."""
        self.rooms: Sequence[Room] = ()
        self.agents: Sequence[AgentInfo] = ()
        self.agent_files: Mapping[str, Sequence[str]] = {}
        """What is wrong with each, by name."""
        self.agent_trouble = ""
        """Why the files could not be read."""
        self.numbers: Sequence[SipNumber] = ()
        self.number_trouble = ""
        self.trunks: dict[str, TrunkState] = {}
        """By number."""
        self.log: deque[LogLine] = deque(maxlen=_MOST_LINES)
        self.logged = 0
        """How many lines have come; the deque holds the last of them."""
        self.logs = 0
        """Of how many connections: each begins with the latest lines again."""
        self.log_trouble = ""

    def find(self, call_id: str) -> Watched | None:
        return self.calls.get(call_id) or self.over.get(call_id)

    def connected(self, now: datetime) -> None:
        self.link = Link(True, now)
        self.version += 1

    def lost(self, why: str, now: datetime) -> None:
        """Said again while it stays lost: `since` is that of the first time."""
        was = self.link
        self.link = Link(False, now if was.up else was.since, why)
        for watched in self.calls.values():
            watched.caller_dbfs = watched.agent_dbfs = SILENCE_DBFS
        self.version += 1

    def are_in_progress(self, calls: Iterable[LiveCall]) -> None:
        """The engine's own list: it makes good for events that were missed."""
        before, self.calls = self.calls, {}
        for call in calls:
            watched = before.pop(call.call_id, None) or Watched(call)
            watched.call = call
            self.calls[call.call_id] = watched
        for watched in before.values():
            self._over(watched, "the engine has it no longer")
        self.version += 1

    def log_begins(self) -> None:
        self.log.clear()
        self.log_trouble = ""
        self.logged = 0
        self.logs += 1
        self.version += 1

    def write(self, line: LogLine) -> None:
        self.log.append(line)
        self.logged += 1
        self.version += 1

    def happened(self, event: StudioEvent) -> bool:
        """Take note of it; whether the engine should be asked for its lists again."""
        self.version += 1
        data = event.data
        match event.kind:
            case "call_started" | "call_changed":
                return not self._changed(event.call_id, data)
            case "call_ended":
                return not self._ended(event.call_id, data)
            case "room_changed" | "trunk_changed":
                return True
        watched = self.calls.get(event.call_id)
        if watched is None:
            return True
        match event.kind:
            case "said" | "saying":
                _hear(watched.said, _line(event.kind == "said", data))
            case "turn":
                _count(watched, data)
            case "levels":
                watched.caller_dbfs = _number(data.get("caller"), SILENCE_DBFS)
                watched.agent_dbfs = _number(data.get("agent"), SILENCE_DBFS)
        return False

    def _changed(self, call_id: str, data: dict[str, Any]) -> bool:
        call = _call(data)
        if call is None:
            return False
        watched = self.calls.setdefault(call_id or call.call_id, Watched(call))
        watched.call = call
        return True

    def _ended(self, call_id: str, data: dict[str, Any]) -> bool:
        watched = self.calls.pop(call_id, None)
        if watched is None:
            return False
        watched.call = _call(data) or watched.call
        self._over(watched, str(data.get("reason") or "nobody says why"))
        return True

    def _over(self, watched: Watched, reason: str) -> None:
        watched.ended = reason
        self.news.append(f"{watched.call.agent} and {watched.call.number or watched.call.room} ended: {reason}.")
        watched.caller_dbfs = watched.agent_dbfs = SILENCE_DBFS
        self.over[watched.call.call_id] = watched
        while len(self.over) > _MOST_ENDED:
            del self.over[next(iter(self.over))]


def _call(data: dict[str, Any]) -> LiveCall | None:
    body = data.get("call", data)
    try:
        return LiveCall.model_validate({key: value for key, value in body.items() if key != "reason"})
    except (ValidationError, AttributeError):
        return None  # of another version: the engine's list will tell


def _line(final: bool, data: dict[str, Any]) -> Said:
    return Said(str(data.get("who", "")), str(data.get("text", "")), final, data.get("cut") is True)


def _hear(said: deque[Said], line: Said) -> None:
    """What is still being said takes the place of what was known of it before."""
    for index in range(len(said) - 1, -1, -1):
        if said[index].who == line.who:
            if not said[index].final:
                said[index] = line
                return
            break
    said.append(line)


def _count(watched: Watched, data: dict[str, Any]) -> None:
    marks = {str(name): float(ms) for name, ms in (data.get("waterfall") or {}).items() if _is_number(ms)}
    for other in ("barge_in_ms", "heard_ms"):  # lengths of something else, no marks after the caller's last voice
        marks.pop(other, None)
    if _is_number(data.get("ms")):
        watched.turns.append(Turn(float(data["ms"]), marks))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, other: float) -> float:
    return float(value) if _is_number(value) else other
