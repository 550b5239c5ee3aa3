"""Shape 1: the engine alone, with callers that come to it over loopback AudioSocket."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench.figures import LATE_MS, Histogram, Window, histogram, knee, slope
from scripts.bench.launch import BenchEngine, EngineState, Generator
from scripts.trial.rootfs import TrialError

P99_GAP_MS = 25.0
"""A step of a ramp in which more than 1 in 100 frames comes later than this is past the knee."""

SETTLE_SECONDS = 4.0
"""From the last call that begins to the first frame that counts; half a turn of its conversation."""

END_SECONDS = 10.0
"""How long the engine may take to let go of calls that were hung up."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """So many calls, for so long."""

    calls: int
    window: Window
    cpu_seconds: float
    """Of the engine, within the window."""
    megabytes: float
    """Resident, just after the window."""
    skipped_frames: int
    """The engine's own count: frames it was too late for. No word is lost by that, but the line stood still."""
    events: Mapping[str, int]
    """What the engine says happened."""
    stolen_seconds: float
    """The host of a virtual machine gave this time of ours to others (both cores together)."""

    @property
    def well(self) -> bool:
        """Nothing lost, and in time."""
        p99 = self.window.gaps.percentile(99)
        return self.window.whole and p99 is not None and p99 <= P99_GAP_MS

    @property
    def cpu_share(self) -> float:
        """Of one core, by all calls together; 1.0 is all of it."""
        return self.cpu_seconds / self.window.seconds

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "calls": self.calls,
            "well": self.well,
            "valid": self.window.valid,
            "cpu_share": round(self.cpu_share, 5),
            "megabytes": round(self.megabytes, 2),
            "skipped_frames": self.skipped_frames,
            "late_frames": self.window.late,
            "stolen_seconds": round(self.stolen_seconds, 2),
            "gap_ms": quantiles(self.window.gaps),
            "answer_ms": quantiles(self.window.answers),
            "generator_lateness_ms": quantiles(self.window.lateness),
            "events": dict(self.events),
            "window": self.window.plain(),
        }


@dataclass(slots=True)
class Ramp:
    """More and more calls, until it is not well any more."""

    idle_megabytes: float
    """Of the engine before the first call."""
    steps: list[Step] = field(default_factory=list)
    collapse: str = ""
    """How the engine ended, if it did."""
    leftovers: dict[str, int] = field(default_factory=dict)
    """What the engine had more of after the last call than before the first: descriptors, tasks, calls."""

    @property
    def knee(self) -> int:
        """The most calls that were well."""
        return knee((step.calls, step.well and step.window.valid) for step in self.steps)

    def at(self, calls: int) -> Step | None:
        """The step with so many calls, or the first with more."""
        return next((step for step in self.steps if step.calls >= calls), None)

    def megabytes_per_call(self, step: Step) -> float:
        return (step.megabytes - self.idle_megabytes) / step.calls

    def answers(self) -> Histogram:
        """Over every step that was well."""
        every = Histogram()
        for step in self.steps:
            if step.well:
                every.update(step.window.answers)
        return every

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "idle_megabytes": round(self.idle_megabytes, 2),
            "knee": self.knee,
            "collapse": self.collapse,
            "leftovers": self.leftovers,
            "steps": [
                {**step.plain(), "megabytes_per_call": round(self.megabytes_per_call(step), 3)} for step in self.steps
            ],
        }


@dataclass(slots=True)
class BargeIn:
    """Callers who speak into the agent's words."""

    calls: int
    ignored: int
    """Interruptions that no decision of the engine followed within a second."""
    stopped: Histogram
    """From the first voiced frame sent to the end of the agent's last sound."""
    obeyed: Histogram
    """From the engine's decision to the last frame with sound that came."""
    faded: Histogram
    """From the engine's decision to the end of the sound in that frame."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "calls": self.calls,
            "interruptions": self.stopped.total,
            "ignored": self.ignored,
            "onset_to_silence_ms": quantiles(self.stopped),
            "decision_to_last_frame_ms": quantiles(self.obeyed),
            "decision_to_silence_ms": quantiles(self.faded),
        }


@dataclass(slots=True)
class Soak:
    """The same calls for a long time, minute by minute."""

    minutes: list[Step]

    def megabytes_per_minute(self) -> float:
        """How fast memory grows, the first quarter left out."""
        return slope([step.megabytes for step in self._settled()])

    def cpu_drift(self) -> float:
        """How much more the last minute of the line through all of them costs than the first, as a share of that."""
        shares = [step.cpu_share for step in self._settled()]
        return slope(shares) * (len(shares) - 1) / (sum(shares) / len(shares))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "megabytes_per_minute": round(self.megabytes_per_minute(), 4),
            "cpu_drift": round(self.cpu_drift(), 4),
            "minutes": [step.plain() for step in self.minutes],
        }

    def _settled(self) -> Sequence[Step]:
        return self.minutes[len(self.minutes) // 4 :]


def ramp(
    directory: Path,
    counts: Sequence[int],
    seconds: float,
    tell: Tell,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Ramp:
    """Have ``counts`` calls up, one after the other, for ``seconds`` each; ends after a step that failed twice."""
    with BenchEngine(directory, changes) as engine, Generator(engine.port) as generator:
        before = engine.state()
        found = Ramp(before.megabytes)
        try:
            for step in _steps(engine, generator, counts, seconds):
                found.steps.append(step)
                tell(line(step, found.megabytes_per_call(step)))
        except TrialError as error:
            found.collapse = f"with more than {found.steps[-1].calls if found.steps else 0} calls {error}"
            tell(found.collapse)
            return found
        generator.have_calls(0)
        found.leftovers = leftovers(engine, before)
    return found


def soak(directory: Path, calls: int, minutes: int, tell: Tell) -> Soak:
    """``calls`` calls for ``minutes``."""
    with BenchEngine(directory) as engine, Generator(engine.port) as generator:
        idle = engine.state().megabytes
        generator.have_calls(calls)
        time.sleep(SETTLE_SECONDS)
        found = Soak([])
        for minute in range(minutes):
            step = measure(engine, generator, calls, 60.0)
            found.minutes.append(step)
            tell(f"minute {minute + 1:3d}: {line(step, (step.megabytes - idle) / calls)}")
    return found


def barge_in(directory: Path, calls: int, seconds: float) -> BargeIn:
    """``calls`` callers interrupt again and again for ``seconds``."""
    with BenchEngine(directory) as engine, Generator(engine.port, "interrupt", answer_seconds=8.0) as generator:
        before = engine.state()
        generator.have_calls(calls)
        time.sleep(SETTLE_SECONDS)
        generator.measure(seconds)
        stops = generator.stops()
        generator.have_calls(0)
        leftovers(engine, before)
        decided = engine.stops()
    return _matched(calls, stops, decided)


def measure(engine: BenchEngine, generator: Generator, calls: int, seconds: float) -> Step:
    """One window with the calls that are up."""
    before, stolen, cpu = engine.state(), _stolen_seconds(), engine.cpu_seconds()
    window = generator.measure(seconds)
    cpu, stolen, after = engine.cpu_seconds() - cpu, _stolen_seconds() - stolen, engine.state()
    events = {name: count - before.events.get(name, 0) for name, count in after.events.items()}
    return Step(
        calls=calls,
        window=window,
        cpu_seconds=cpu,
        megabytes=after.megabytes,
        skipped_frames=after.skipped_frames - before.skipped_frames,
        events={name: count for name, count in events.items() if count},
        stolen_seconds=stolen,
    )


def leftovers(engine: BenchEngine, before: EngineState) -> dict[str, int]:
    """What is left of calls that were hung up, once the engine has had time for it; all 0 when nothing is."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        after = engine.state()
        left = {
            "calls": len(after.health["calls"]["now"]),
            "tasks": after.tasks - before.tasks,
            "descriptors": after.descriptors - before.descriptors,
        }
        if time.monotonic() > deadline or not any(count > 0 for count in left.values()):
            return left
        time.sleep(0.25)


def quantiles(values: Histogram) -> dict[str, float | int | None]:
    """What is worth reading of a histogram of milliseconds."""
    every = {percent: values.percentile(percent) for percent in (50, 95, 99, 99.9)}
    named = {f"p{percent:g}": None if value is None else round(value, 1) for percent, value in every.items()}
    return {"count": values.total, **named, "max": round(values.max_ms, 1)}


def line(step: Step, megabytes_per_call: float) -> str:
    """One step, for a person."""
    window = step.window
    gaps, answers = quantiles(window.gaps), quantiles(window.answers)
    lost = window.lost + window.doubled + window.unheard + window.unanswered + window.broken
    notes = [
        f"{count} {name}"
        for count, name in (
            (window.late, f"late (> {LATE_MS:.0f} ms)"),
            (window.unmeasured, "unmeasured"),
            (step.skipped_frames, "skipped"),
            (step.events.get("stirs", 0), "false stirs"),
            (round(step.stolen_seconds * 1000), "ms stolen by the host"),
        )
        if count
    ]
    return (
        f"{step.calls:4d} calls  {'well' if step.well else 'NOT WELL'}{'' if window.valid else ' (INVALID)'}"
        f" · lost {lost} of {window.pieces + window.lost}"
        f" · gap p50 {gaps['p50']} p99 {gaps['p99']} max {gaps['max']} ms"
        f" · answer p50 {answers['p50']} p95 {answers['p95']} ms"
        f" · {step.cpu_share:.1%} of a core, {step.cpu_share / step.calls:.3%} and {megabytes_per_call:.2f} MB per call"
        + (f" · {', '.join(notes)}" if notes else "")
    )


def _steps(engine: BenchEngine, generator: Generator, counts: Sequence[int], seconds: float) -> Iterator[Step]:
    for calls in counts:
        generator.have_calls(calls)
        time.sleep(SETTLE_SECONDS)
        step = measure(engine, generator, calls, seconds)
        if not (step.well and step.window.valid):
            # Once may have been this machine's own business.
            step = measure(engine, generator, calls, seconds)
        yield step
        if not (step.well and step.window.valid):
            return


def _matched(
    calls: int, stops: Mapping[str, Sequence[Sequence[float]]], decided: Mapping[str, Sequence[float]]
) -> BargeIn:
    """Each stop with the decision that made it, which came within a second of the onset."""
    seen = [(call, onset, last, silent) for call, found in stops.items() for onset, last, silent in found]
    every = [
        (onset, last, silent, at)
        for call, onset, last, silent in seen
        if (at := _first_between(decided.get(call, ()), onset, onset + 1.0)) is not None
    ]
    return BargeIn(
        calls,
        len(seen) - len(every),
        histogram(1000 * (silent - onset) for onset, _, silent, _ in every),
        histogram(1000 * (last - at) for _, last, _, at in every),
        histogram(1000 * (silent - at) for _, _, silent, at in every),
    )


def _first_between(times: Sequence[float], start: float, end: float) -> float | None:
    return next((at for at in times if start <= at < end), None)


def _stolen_seconds() -> float:
    with open("/proc/stat", encoding="ascii") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
