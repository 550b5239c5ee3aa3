"""What an answer cost besides the provider, and a takeover: from what caller, fakes and engine each saw. Pure.

    caller's last voice │ quiet that ends a turn │ overhead, with the fakes' own times in it │ agent's first voice

All times are seconds of the monotonic clock, which the three processes share; durations are milliseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from ai_engine.audio.format import FRAME_MS
from scripts.bench.figures import Histogram, histogram
from scripts.bench.provider_kinds import Kind, Stage

_SAME_FRAME_SECONDS = 0.005
"""Between the engine's word that a frame was written and the caller's that it came, either first."""


class Noted(NamedTuple):
    """A message at one of the fakes."""

    at: float
    place: str
    what: str


@dataclass(frozen=True, slots=True)
class Heard:
    """One call, as its caller saw it."""

    call: str
    asked: Sequence[float]
    """The last voiced frame of each question was sent."""
    voiced: Sequence[float]
    """A frame with the agent's voice came."""
    held_up: Sequence[float]
    """The caller itself was late: what it saw just then is not measured."""
    broken: str = ""

    @classmethod
    def of_plain(cls, said: Mapping[str, Any]) -> Self:
        """What ``provider_caller`` printed."""
        return cls(**said)

    def answered(self, turn: int) -> float | None:
        """The first voice after question ``turn``, from 0, and before the next."""
        place = bisect_left(self.voiced, self.asked[turn])
        end = self.asked[turn + 1] if turn + 1 < len(self.asked) else float("inf")
        return self.voiced[place] if place < len(self.voiced) and self.voiced[place] < end else None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: ``total_ms`` is ``end_of_turn_ms``, ``provider_ms`` and the overhead."""

    total_ms: float
    """From the caller's last voice to the agent's first, at the caller."""
    end_of_turn_ms: float
    provider_ms: float
    """Some fake was at work."""
    hearing_ms: float
    """Of the overhead, until the first fake had what it needed to answer: the sound of the quiet, or our word."""
    speaking_ms: float
    """Of the overhead, since the last fake had sent what was to be heard first."""

    @property
    def overhead_ms(self) -> float:
        return self.total_ms - self.end_of_turn_ms - self.provider_ms


@dataclass(frozen=True, slots=True)
class Takeover:
    """One connection that broke in mid-word. All but ``silent_ms`` since then."""

    noticed_ms: float
    """The engine gave the provider up."""
    seated_ms: float
    """The next one's session was open."""
    left_ms: float
    """The last of what had come was heard."""
    voice_ms: float
    """The next one was heard."""
    silent_ms: float
    """What the caller heard nothing for."""


@dataclass(slots=True)
class Row:
    """One provider."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    """What was not, and why."""
    violations: list[str] = field(default_factory=list)
    """What was said to the fakes against their vendors' protocols."""

    @property
    def overheads(self) -> Histogram:
        return histogram(answer.overhead_ms for answer in self.answers)

    def parts(self) -> dict[str, list[float]]:
        """The overhead's, by name; they add up to it, answer by answer."""
        return {
            "hearing": [answer.hearing_ms for answer in self.answers],
            "between": [answer.overhead_ms - answer.hearing_ms - answer.speaking_ms for answer in self.answers],
            "speaking": [answer.speaking_ms for answer in self.answers],
        }

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "overhead_ms": _quantiles(self.overheads),
            **{f"{name}_ms": _quantiles(histogram(values)) for name, values in self.parts().items()},
            "answers": [{**_rounded(asdict(one)), "overhead_ms": round(one.overhead_ms, 2)} for one in self.answers],
            "takeovers": [_rounded(asdict(one)) for one in self.takeovers],
            "unmeasured": self.unmeasured,
            "violations": self.violations,
        }


def row(
    kind: Kind,
    calls: Sequence[Heard],
    notes: Sequence[Noted],
    events: Mapping[str, Sequence[Mapping[str, Any]]],
    violations: Sequence[str] = (),
) -> Row:
    """``events``: lines of the engine's ``events.jsonl`` by call. The last answer of each call is the one broken off."""
    made = Row(kind.name, violations=list(violations))
    for number, call in enumerate(calls):
        try:
            for turn in range(len(call.asked)):
                _one(made.answers, made, f"call {number}, turn {turn}", answer, kind, call, turn, notes, events)
            _one(made.takeovers, made, f"call {number}, takeover", takeover, kind, call, notes, events)
        finally:
            if call.broken:
                made.unmeasured.append(f"call {number}: {call.broken}")
    return made
