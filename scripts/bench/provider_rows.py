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
from scripts.bench.provider_kinds import SPARE, SPARE_SOUND, Kind, Stage

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
    ready_ms: float
    """The next one's fake had sent its first sound."""
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
    """What was not seen as it should have been, and why."""
    held_up: int = 0
    """What was not measured because the caller itself was late."""
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
            "held_up": self.held_up,
            "violations": self.violations,
        }


class Unmeasured(Exception):
    """Something that has to be known was not seen."""


class HeldUp(Exception):
    """The caller was late just then, so it does not know when it heard what."""


def row(
    kind: Kind,
    calls: Sequence[Heard],
    notes: Sequence[Noted],
    events: Mapping[str, Sequence[Mapping[str, Any]]],
    violations: Sequence[str] = (),
) -> Row:
    """``events``: lines of the engine's ``events.jsonl`` by call. The last answer of each call broke off."""
    made = Row(kind.name, violations=list(violations))
    for number, call in enumerate(calls):
        if call.broken:
            made.unmeasured.append(f"call {number}: {call.broken}")
            continue
        lines = events.get(call.call, ())
        for turn in range(len(call.asked)):
            try:
                made.answers.append(answer(kind, call, turn, notes, lines))
            except Unmeasured as why:
                made.unmeasured.append(f"call {number}, answer {turn}: {why}")
            except HeldUp:
                made.held_up += 1
        try:
            made.takeovers.append(takeover(kind, call, notes, lines))
        except Unmeasured as why:
            made.unmeasured.append(f"call {number}, takeover: {why}")
        except HeldUp:
            made.held_up += 1
    return made


def answer(kind: Kind, call: Heard, turn: int, notes: Sequence[Noted], events: Sequence[Mapping[str, Any]]) -> Answer:
    """That to question ``turn``, from 0. Raises Unmeasured or HeldUp."""
    asked, answered = call.asked[turn], call.answered(turn)
    if answered is None:
        raise Unmeasured("nothing was heard")
    if any(asked <= at <= answered for at in call.held_up):
        raise HeldUp
    end_of_turn_ms = kind.end_of_turn_ms
    if end_of_turn_ms is None:
        end_of_turn_ms = float(_event(events, "CallerPaused", asked)["silence_ms"])
    over = asked + end_of_turn_ms / 1000
    spans = [_span(stage, notes, asked, answered) for stage in kind.stages]
    return Answer(
        total_ms=_ms(asked, answered),
        end_of_turn_ms=end_of_turn_ms,
        provider_ms=covered_ms(spans, over, answered),
        hearing_ms=_ms(over, spans[0][0]),
        speaking_ms=_ms(max(over, *(end for _, end in spans)), answered),
    )


def takeover(kind: Kind, call: Heard, notes: Sequence[Noted], events: Sequence[Mapping[str, Any]]) -> Takeover:
    """After the connection broke in the last answer of ``call``. Raises Unmeasured or HeldUp."""
    asked = call.asked[-1]
    broke = next((at for at, place, what in notes if place == kind.strikes and what == "> close" and at > asked), None)
    if broke is None:
        raise Unmeasured("the connection did not break")
    failed = float(_event(events, "AgentFailed", broke - _SAME_FRAME_SECONDS)["loop"])
    seated = float(_event(events, "AgentStarted", failed)["loop"])
    reply = _event(events, "ReplyBegan", seated)["reply"]
    spoke = float(_event(events, "AgentSpoke", seated, reply=reply)["loop"]) - _SAME_FRAME_SECONDS
    first = bisect_left(call.voiced, spoke)
    if not 0 < first < len(call.voiced):
        raise Unmeasured("nobody was heard after it")
    ready = next((at for at, place, what in notes if place == SPARE and what == SPARE_SOUND and at > broke), broke)
    left, voice = call.voiced[first - 1], call.voiced[first]
    if any(broke <= at <= voice for at in call.held_up):
        raise HeldUp
    return Takeover(
        noticed_ms=_ms(broke, failed),
        seated_ms=_ms(broke, seated),
        ready_ms=_ms(broke, ready),
        left_ms=_ms(broke, left) + FRAME_MS,
        voice_ms=_ms(broke, voice),
        silent_ms=max(0.0, _ms(left, voice) - FRAME_MS),
    )


def covered_ms(spans: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """How much of the time from ``start`` to ``end`` lies in one of ``spans`` or more, which may overlap."""
    total, reached = 0.0, start
    for begin, until in sorted(spans):
        begin, until = max(begin, reached), min(until, end)
        if until > begin:
            total += _ms(begin, until)
            reached = until
    return total


def _span(stage: Stage, notes: Sequence[Noted], since: float, until: float) -> tuple[float, float]:
    asked: float | None = None
    for at, place, what in notes:
        if place != stage.place or at > until:
            continue
        if what == stage.answered and at >= since and asked is not None:
            return asked, at
        if what == stage.asked:
            asked = at
    raise Unmeasured(f"the {stage.place} did not send {stage.answered!r}")


def _event(events: Sequence[Mapping[str, Any]], name: str, since: float, **fields: Any) -> Mapping[str, Any]:
    wanted = {"event": name, **fields}
    for event in events:
        if event["loop"] >= since and wanted.items() <= event.items():
            return event
    raise Unmeasured(f"no {name}")


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000


def _quantiles(values: Histogram) -> dict[str, float | None]:
    found = {f"p{percent}": values.percentile(percent) for percent in (50, 95)}
    return {
        **{name: None if ms is None else round(ms, 1) for name, ms in found.items()},
        "max": round(values.max_ms, 1),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
