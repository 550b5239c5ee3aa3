"""How often what happened, over all calls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ai_engine.call.events import (
    AgentFailed,
    AgentLost,
    CallerHeld,
    CallerHummed,
    CallerMeant,
    CallerSpoke,
    CallerStirred,
    CallEvent,
    DoubtElapsed,
    FalseAlarm,
    FellBack,
    MediaAttached,
    MediaExhausted,
    MediaLost,
    PlayoutFailed,
    ReplyCut,
    ToolAsked,
)

_COUNTED = {
    AgentFailed: "agent_failed",
    AgentLost: "agent_lost",
    CallerHeld: "held",
    CallerHummed: "hums",
    CallerMeant: "short_interruptions",
    CallerSpoke: "caller_turns",
    CallerStirred: "stirs",
    DoubtElapsed: "doubts",
    FalseAlarm: "false_alarms",
    MediaExhausted: "media_exhausted",
    MediaLost: "media_lost",
    PlayoutFailed: "playout_failed",
    ReplyCut: "replies_cut",
    ToolAsked: "tools_asked",
}


class Tally:
    """Implements ``Observer``; the counters only grow."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter(dict.fromkeys(_COUNTED.values(), 0))
        self.attached: Counter[str] = Counter()
        """Media connections by ``transport/downstream``."""
        self.fell_back: Counter[str] = Counter()
        """Ways that failed, by the same name."""

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {"events": dict(self.events), "attached": dict(self.attached), "fell_back": dict(self.fell_back)}

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        """Counted by the registry."""

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        match event:
            case FellBack(failed):
                self.fell_back[failed] += 1
            case MediaAttached(way):
                self.attached[way] += 1
            case _ if (name := _COUNTED.get(type(event))) is not None:
                self.events[name] += 1
            case _:
                pass

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Not counted: the media clock does."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Not counted."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        """Counted by the registry."""
