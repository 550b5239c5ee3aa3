"""What was found, beside what was promised: a table for people, JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from scripts.bench.detail import Detail
from scripts.bench.figures import Histogram, histogram
from scripts.bench.load import BargeIn, Ramp, Soak, Step
from scripts.bench.outbound import Outbound, percentile
from scripts.bench.provider_rows import Row
from scripts.bench.sip import Wave

CALLS = 150
"""What one core has to carry."""

MOST_SILENT_MS = 700.0
"""After so much (``timeouts.patience_ms``) a caller is asked for patience."""

MOST_DIALLING_MS = 1000.0
"""Whoever asks for a call is answered after so long though it is not dialled."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise."""

    what: str
    promised: str
    found: str
    met: bool

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"what": self.what, "promised": self.promised, "found": self.found, "met": self.met}


@dataclass(slots=True)
class Findings:
    """Everything that was measured; what was not is None."""

    machine: dict[str, str]
    ramp: Ramp | None = None
    recording: Ramp | None = None
    """One step with recording on."""
    barge_in: BargeIn | None = None
    soak: Soak | None = None
    waves: list[Wave] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    providers: list[Row] = field(default_factory=list)
    outbound: Outbound | None = None
    troubles: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def bars(self) -> list[Bar]:
        """Every promise something was measured for."""
        bars: list[Bar] = []
        if self.ramp is not None:
            bars += _of_ramp(self.ramp)
        if self.barge_in is not None:
            bars += _of_barge_in(self.barge_in)
        if self.soak is not None:
            bars += _of_soak(self.soak)
        if self.waves:
            bars += _of_waves(self.waves)
        for detail in self.details:
            bars += _of_detail(detail)
        for row in self.providers:
            bars += _of_provider(row)
        if self.outbound is not None:
            bars += _of_outbound(self.outbound)
        return bars

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        parts = {
            "ramp": self.ramp,
            "recording": self.recording,
            "barge_in": self.barge_in,
            "soak": self.soak,
            "outbound": self.outbound,
        }
        return {
            "machine": self.machine,
            "bars": [bar.plain() for bar in self.bars()],
            "troubles": self.troubles,
            **{name: part.plain() for name, part in parts.items() if part is not None},
            "waves": [wave.plain() for wave in self.waves],
            "details": {detail.way: detail.plain() for detail in self.details},
            "providers": {row.name: row.plain() for row in self.providers},
        }


def show(findings: Findings, console: Console) -> None:
    """The bars as a table, and the machine they were measured on."""
    table = Table(box=SIMPLE, title="promised and found", title_style="dim")
    for title in ("", "what", "promised", "found"):
        table.add_column(title, no_wrap=title == "")
    for bar in findings.bars():
        table.add_row("[green]✓[/]" if bar.met else "[bold red]✗[/]", bar.what, bar.promised, bar.found)
    console.print(table)
    if findings.providers:
        console.print(_provider_table(findings.providers))
    if findings.ramp is not None and findings.recording is not None:
        console.print(price_of_recording(findings.ramp, findings.recording))
    for trouble in findings.troubles:
        console.print(f"[bold red]not measured:[/] {trouble}", soft_wrap=True)
    console.print("[dim]" + " · ".join(f"{name} {value}" for name, value in findings.machine.items()) + "[/]")


def price_of_recording(plain: Ramp, recorded: Ramp) -> str:
    """In a sentence."""
    with_it = recorded.steps[-1]
    without = plain.at(with_it.calls)
    if without is None:
        return ""
    more = (with_it.cpu_share - without.cpu_share) / with_it.calls
    memory = recorded.megabytes_per_call(with_it) - plain.megabytes_per_call(without)
    return (
        f"with recording on, {with_it.calls} calls cost {more:+.3%} of a core and {memory:+.2f} MB each;"
        f" gap p99 {with_it.window.gaps.percentile(99)} ms, lost {with_it.window.lost}"
    )


def _of_ramp(ramp: Ramp) -> Iterator[Bar]:
    answers = ramp.answers()
    p50, p95 = answers.percentile(50) or 0.0, answers.percentile(95) or 0.0
    yield Bar(
        "engine's own share of an answer (last sample in → first frame out)",
        "p50 ≤ 25 ms, p95 ≤ 45 ms",
        f"p50 {p50:.1f}, p95 {p95:.1f} ms of {answers.total}",
        answers.total > 0 and p50 <= 25 and p95 <= 45,
    )
    if (step := ramp.at(CALLS)) is not None:
        yield from _of_step(step, ramp.megabytes_per_call(step))
    if not ramp.steps:
        return
    limit = "" if ramp.steps[-1].window.valid else " (the generator could not do more)"
    more = "" if ramp.steps[-1].calls > ramp.knee else ", not reached"
    yield Bar("knee: talking calls on one core", f"≥ {CALLS}", f"{ramp.knee}{more}{limit}", ramp.knee >= CALLS)
    if ramp.collapse:
        yield Bar("beyond the knee", "calls are refused", ramp.collapse.splitlines()[0], False)
        return
    left = ", ".join(f"{count:+d} {name}" for name, count in ramp.leftovers.items())
    yield Bar("left after the last call", "nothing", left, not any(count > 0 for count in ramp.leftovers.values()))


def _of_step(step: Step, megabytes_per_call: float) -> Iterator[Bar]:
    window, gaps = step.window, step.window.gaps
    whole = f"{window.lost} lost, {window.doubled} doubled of {window.pieces}, {window.unheard} of callers unheard"
    yield Bar(f"frames at {step.calls} calls", "none lost", whole, window.whole)
    p99 = gaps.percentile(99) or 0.0
    gap = f"{p99:.1f} ms; longest {gaps.max_ms:.1f} ms, {window.late} of {gaps.total} late"
    yield Bar(f"frame gap p99 at {step.calls} calls", "≤ 25 ms", gap, 0 < p99 <= 25)
    cpu = step.cpu_share / step.calls
    yield Bar(f"CPU per call at {step.calls} calls", "≤ 0.5 % of a core", f"{cpu:.2%}", cpu <= 0.005)
    yield Bar(
        f"memory per call at {step.calls} calls", "≤ 1 MB", f"{megabytes_per_call:.2f} MB", megabytes_per_call <= 1.0
    )


def _of_barge_in(found: BargeIn) -> Iterator[Bar]:
    stopped = found.stopped.percentile(95) or 0.0
    yield Bar(
        f"caller's onset → agent silent, {found.calls} calls",
        "p95 ≤ 150 ms",
        f"p95 {stopped:.1f}, longest {found.stopped.max_ms:.1f} ms of {found.stopped.total}, {found.ignored} ignored",
        0 < stopped <= 150 and not found.ignored,
    )
    obeyed = found.obeyed.percentile(95) or 0.0
    yield Bar(
        "decision → last frame with sound on the wire",
        "≤ 20 ms",
        f"p95 {obeyed:.1f}, longest {found.obeyed.max_ms:.1f} ms (its sound ends by {found.faded.max_ms:.1f})",
        found.obeyed.total > 0 and obeyed <= 20,
    )


def _of_soak(soak: Soak) -> Iterator[Bar]:
    minutes = soak.minutes
    calls = minutes[0].calls
    p99 = max(step.window.gaps.percentile(99) or 0.0 for step in minutes)
    lost = sum(step.window.lost for step in minutes)
    yield Bar(
        f"{len(minutes)} minutes of {calls} calls: sound",
        "none lost, p99 gap ≤ 25 ms",
        f"{lost} lost, worst minute p99 {p99:.1f} ms",
        all(step.well for step in minutes),
    )
    growth, drift = soak.megabytes_per_minute(), soak.cpu_drift()
    yield Bar(
        f"{len(minutes)} minutes of {calls} calls: flat",
        "memory ± 0.1 MB/min, CPU ± 10 %",
        f"{growth:+.3f} MB/min, CPU {drift:+.1%}",
        growth <= 0.1 and drift <= 0.1,
    )


def _of_waves(waves: list[Wave]) -> Iterator[Bar]:
    calls, failed = sum(wave.outcome.begun for wave in waves), sum(wave.outcome.failed for wave in waves)
    named = f"{len(waves)} waves of SIP calls through Asterisk"
    yield Bar(f"{named}: calls", "none fails", f"{failed} of {calls} failed", calls > 0 and not failed)
    left = [
        f"{count} {name} after wave {number}"
        for number, wave in enumerate(waves, 1)
        for name, count in wave.left.items()
    ]
    yield Bar(f"{named}: left over", "nothing", ", ".join(left) or "nothing", not left)
    gaps = Histogram()
    for wave in waves:
        gaps.update(wave.heard.gaps)
    p99, lost = gaps.percentile(99) or 0.0, sum(wave.heard.missing + wave.heard.lost for wave in waves)
    yield Bar(
        f"{named}: at the phones",
        "none lost, p99 gap ≤ 25 ms",
        f"{lost} of {gaps.total} lost, p99 {p99:.1f}, longest {gaps.max_ms:.1f} ms",
        not lost and 0 < p99 <= 25,
    )


def _of_detail(detail: Detail) -> Iterator[Bar]:
    found = detail.report
    barge_ins = found.barge_ins()
    yield Bar(
        f"{detail.way}: caller's onset → agent silent at the phone",
        "≤ 150 ms",
        ", ".join(f"{ms:.0f}" for ms in barge_ins) + f" ms ({detail.attached})",
        bool(barge_ins) and max(barge_ins) <= 150,
    )
    silenced = found.silenced_ms
    yield Bar(
        f"{detail.way}: decision → agent silent at the phone",
        "≤ 20 ms",
        ", ".join(f"{ms:.0f}" for ms in silenced) + " ms",
        bool(silenced) and max(silenced) <= 20,
    )
    if detail.streams:
        yield Bar(
            f"{detail.way}: at the phone",
            "none missing, gap ≤ 40 ms",
            f"{found.missing} of {found.frames} missing, longest gap {found.worst_gap_ms:.1f} ms",
            not found.missing and 0 < found.worst_gap_ms <= 40,
        )


def _of_provider(row: Row) -> Iterator[Bar]:
    over = row.overheads
    p50, p95 = over.percentile(50) or 0.0, over.percentile(95) or 0.0
    yield Bar(
        f"{row.name}: engine's own share of an answer",
        "p50 ≤ 25 ms, p95 ≤ 45 ms",
        f"p50 {p50:.1f}, p95 {p95:.1f}, longest {over.max_ms:.1f} ms of {over.total}",
        over.total > 0 and p50 <= 25 and p95 <= 45,
    )
    silent = max((one.silent_ms for one in row.takeovers), default=0.0)
    yield Bar(
        f"{row.name}: breaks off in mid-word",
        f"another goes on, silence ≤ {MOST_SILENT_MS:.0f} ms",
        f"{len(row.takeovers)} times, longest silence {silent:.0f} ms",
        bool(row.takeovers) and silent <= MOST_SILENT_MS,
    )
    trouble = row.unmeasured + row.violations
    if trouble:
        yield Bar(f"{row.name}: what went wrong", "nothing", f"{len(trouble)}, first: {trouble[0]}", False)


def _of_outbound(found: Outbound) -> Iterator[Bar]:
    calls = len(found.dialled_ms)
    for what, promised, values in (
        ("request → INVITE on the wire", MOST_DIALLING_MS, found.dialled_ms),
        ("200 OK → agent heard at the phone", MOST_SILENT_MS, found.heard_ms),
    ):
        p50, p95 = percentile(values, 50), percentile(values, 95)
        yield Bar(
            f"a call that is asked for: {what}",
            f"p95 ≤ {promised:.0f} ms",
            f"p50 {p50:.0f}, p95 {p95:.0f}, longest {percentile(values, 100):.0f} ms of {len(values)}",
            len(values) >= calls > 0 and p95 <= promised,
        )
    idle = percentile(found.idle_ms, 95)
    yield Bar(
        f"{found.queued} calls on {found.lines} lines",
        f"a line's next call p95 ≤ {MOST_DIALLING_MS:.0f} ms after its last, none lost",
        f"p50 {percentile(found.idle_ms, 50):.0f}, p95 {idle:.0f} ms; all settled in {found.settled_seconds:.1f} s,"
        f" ideal {found.ideal_seconds:.1f} s; {found.lost} lost",
        len(found.idle_ms) == found.queued - found.lines and idle <= MOST_DIALLING_MS and not found.lost,
    )


def _provider_table(rows: list[Row]) -> Table:
    """Medians; what a takeover took is counted from the break."""
    table = Table(box=SIMPLE, title="providers, ms: p50 / longest", title_style="dim")
    for title in ("", "overhead", "hearing", "between", "speaking", "given up", "next ready", "next heard", "silence"):
        table.add_column(title, justify="right" if title else "left")
    for row in rows:
        overheads = [answer.overhead_ms for answer in row.answers]
        took = [
            [getattr(one, name) for one in row.takeovers]
            for name in ("noticed_ms", "ready_ms", "voice_ms", "silent_ms")
        ]
        table.add_row(row.name, *(_median_and_most(values) for values in (overheads, *row.parts().values(), *took)))
    return table


def _median_and_most(values: Sequence[float]) -> str:
    found = histogram(values)
    return f"{found.percentile(50):.1f} / {found.max_ms:.1f}" if values else "–"
