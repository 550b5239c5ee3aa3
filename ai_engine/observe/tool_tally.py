"""How often each tool was used, over all calls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ai_engine.call.events import CallEvent, ToolAnswered


class ToolTally:
    """Implements ``Observer``; the counters only grow."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def count(self, name: str, result: Mapping[str, Any]) -> None:
        """The tool ``name`` was used, and ``result`` came of it."""
        self.calls[name] += 1
        if not result.get("ok"):
            self.failures[name] += 1

    def snapshot(self) -> dict[str, Any]:
        """Plain data, by tool."""
        return {name: {"calls": calls, "failures": self.failures[name]} for name, calls in dict(self.calls).items()}

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        """Not counted."""

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if isinstance(event, ToolAnswered):
            self.count(event.name, event.result)

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Not counted."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Not counted."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        """Not counted."""
