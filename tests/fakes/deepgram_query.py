"""What a connection to Deepgram may ask for in its query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Query = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection may ask for."""

    names: str
    """All that there is, as the SDK has it."""
    choices: Mapping[str, tuple[Any, ...]]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    required: tuple[str, ...] = ("model", "encoding", "sample_rate")
    """The vendor does without the last two when the sound has a container; the fakes do not."""

    def refusal(self, query: Query) -> str | None:
        """Why the connection is refused with 400; None when it is not."""
        for name in self.required:
            if name not in query:
                return f"{name} is required."
        for name, values in query.items():
            if name in self.choices and not set(values) <= set(self.choices[name]):
                return f"Unknown value for {name}."
            if name in self.ranges and not all(_within(value, *self.ranges[name]) for value in values):
                return f"{name} is out of range."
        return None

    def unknown(self, query: Query) -> list[str]:
        """Names that the vendor passes over."""
        return [f"query: no such parameter as {name}" for name in query if name not in self.names.split()]


def _within(value: str, low: float, high: float) -> bool:
    try:
        return low <= float(value) <= high
    except ValueError:
        return False
