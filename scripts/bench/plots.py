"""The findings as one picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes

from scripts.bench.detail import Detail
from scripts.bench.figures import BUCKETS_PER_MS, Histogram
from scripts.bench.load import P99_GAP_MS, Ramp, Soak
from scripts.bench.provider_rows import Row
from scripts.bench.report import CALLS, Findings
from scripts.trial.report import STAGES

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first, so that no display is looked for

Panel = Callable[[Axes], None]

_PROMISE = "#c0392b"


def draw(findings: Findings, target: Path) -> None:
    """Write a PNG with a panel for everything that was measured."""
    panels = _panels(findings)
    rows = max(1, (len(panels) + 1) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(13, 4.2 * rows), layout="constrained", squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place < len(panels):
            panels[place](axis)
            axis.grid(alpha=0.25)
        else:
            axis.axis("off")
    facts = findings.machine
    figure.suptitle(
        f"Offhook {facts['commit']} — {facts['cpu']}, {facts['cores']} cores, Python {facts['python']}", size=10
    )
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _panels(findings: Findings) -> list[Panel]:
    panels: list[Panel] = []
    if (ramp := findings.ramp) is not None and ramp.steps:
        step = ramp.at(CALLS) or ramp.steps[-1]
        panels += [
            lambda axis: _bars(axis, step.window.gaps, f"time between frames at {step.calls} calls", P99_GAP_MS),
            lambda axis: _gaps_by_calls(axis, ramp),
            lambda axis: _cost_by_calls(axis, ramp),
            lambda axis: _shares(axis, {"answer": ramp.answers()}, "engine's own share of an answer", 45.0),
        ]
    if (found := findings.barge_in) is not None:
        curves = {"from the caller's onset": found.stopped, "from the engine's decision": found.faded}
        panels.append(lambda axis: _shares(axis, curves, "agent silent", 150.0))
    if (soak := findings.soak) is not None:
        panels.append(lambda axis: _flatness(axis, soak))
    if findings.waves:
        gaps = Histogram()
        for wave in findings.waves:
            gaps.update(wave.heard.gaps)
        panels.append(lambda axis: _bars(axis, gaps, "time between packets at the SIP phones", P99_GAP_MS))
    for detail in findings.details:
        panels.append(_waterfall(detail))
    if rows := findings.providers:
        panels += [lambda axis: _overheads(axis, rows), lambda axis: _takeovers(axis, rows)]
    return panels


def _bars(axis: Axes, values: Histogram, title: str, promise: float) -> None:
    """Counts per half millisecond; a logarithm, because one frame in a million matters."""
    per_bar = BUCKETS_PER_MS // 2
    counts = [sum(values.counts[start : start + per_bar]) for start in range(0, len(values.counts), per_bar)]
    last = max((place for place, count in enumerate(counts) if count), default=0)
    axis.bar([place / 2 for place in range(last + 1)], counts[: last + 1], width=0.5, align="edge")
    axis.axvline(promise, color=_PROMISE, linestyle="--")
    axis.set(title=title, xlabel="ms", ylabel="frames", yscale="log", xlim=(0, max(45, last / 2 + 2)))


def _gaps_by_calls(axis: Axes, ramp: Ramp) -> None:
    calls = [step.calls for step in ramp.steps]
    for percent in (50, 99, 99.9):
        axis.plot(
            calls, [step.window.gaps.percentile(percent) or 0.0 for step in ramp.steps], "o-", label=f"p{percent:g}"
        )
    axis.plot(calls, [step.window.gaps.max_ms for step in ramp.steps], "x:", label="longest")
    axis.axhline(P99_GAP_MS, color=_PROMISE, linestyle="--", label="promised for p99")
    axis.axvline(ramp.knee, color="#2c3e50", linestyle=":", label=f"knee {ramp.knee}")
    axis.set(title="time between frames", xlabel="talking calls", ylabel="ms", ylim=(0, None))
    axis.legend()


def _cost_by_calls(axis: Axes, ramp: Ramp) -> None:
    calls = [step.calls for step in ramp.steps]
    axis.plot(calls, [step.cpu_share * 100 for step in ramp.steps], "o-", label="CPU, % of one core")
    axis.plot(calls, [step.megabytes - ramp.idle_megabytes for step in ramp.steps], "s-", label="memory, MB above idle")
    axis.plot(calls, [0.5 * count for count in calls], "--", color=_PROMISE, label="promised CPU")
    axis.set(title="cost", xlabel="talking calls", ylim=(0, None))
    axis.legend()


def _shares(axis: Axes, curves: dict[str, Histogram], title: str, promise: float) -> None:
    """Which share of the cases was done after so many milliseconds."""
    for name, values in curves.items():
        percents = range(1, 101)
        axis.step([values.percentile(percent) or 0.0 for percent in percents], list(percents), label=name)
    axis.axvline(promise, color=_PROMISE, linestyle="--", label="promised for p95")
    axis.axhline(95, color="#999999", linewidth=0.8)
    axis.set(title=title, xlabel="ms", ylabel="% of cases", xlim=(0, None))
    axis.legend()


def _flatness(axis: Axes, soak: Soak) -> None:
    minutes = range(1, len(soak.minutes) + 1)
    first = soak.minutes[0].megabytes
    axis.plot(minutes, [step.megabytes - first for step in soak.minutes], "s-", label="memory, MB above minute 1")
    axis.plot(minutes, [step.window.gaps.percentile(99) or 0.0 for step in soak.minutes], "o-", label="p99 gap, ms")
    axis.plot(minutes, [step.cpu_share * 100 for step in soak.minutes], "^-", label="CPU, % of one core")
    axis.set(title=f"{soak.minutes[0].calls} calls", xlabel="minute")
    axis.legend()


def _waterfall(detail: Detail) -> Panel:
    """One bar per answer of a call, a colour per stage, from the caller's last voice on."""

    def panel(axis: Axes) -> None:
        turns = [turn for turn in detail.report.turns if turn.wire is not None]
        labels = [turn.text[:28] or "(not understood)" for turn in turns]
        before = [0.0] * len(turns)
        for stage in STAGES[:-1]:
            reached = [max(start, getattr(turn, stage) or start) for turn, start in zip(turns, before, strict=True)]
            widths = [end - start for end, start in zip(reached, before, strict=True)]
            axis.barh(range(len(turns)), widths, left=before, label=stage.replace("_", " "))
            before = reached
        axis.set(title=f"one call, {detail.way}: answers", xlabel="ms since the caller's last voice", xlim=(0, None))
        axis.set_yticks(range(len(turns)), labels)
        axis.invert_yaxis()
        axis.legend(fontsize=7)

    return panel


def _overheads(axis: Axes, rows: Sequence[Row]) -> None:
    """A bar of medians per provider, a dot for each answer."""
    before = [0.0] * len(rows)
    for part in ("hearing", "between", "speaking"):
        widths = [median(row.parts()[part]) if row.answers else 0.0 for row in rows]
        axis.barh(range(len(rows)), widths, left=before, label=part)
        before = [start + width for start, width in zip(before, widths, strict=True)]
    for place, row in enumerate(rows):
        axis.plot([answer.overhead_ms for answer in row.answers], [place] * len(row.answers), "k.", markersize=4)
    axis.axvline(45.0, color=_PROMISE, linestyle="--", label="promised for p95")
    axis.set(title="what the engine adds to a provider", xlabel="ms", xlim=(0, None))
    _name_rows(axis, rows)


def _takeovers(axis: Axes, rows: Sequence[Row]) -> None:
    """What followed a break, takeover by takeover."""
    marks = (("noticed_ms", "x", "given up"), ("ready_ms", "o", "next one ready"), ("voice_ms", "s", "next one heard"))
    for name, shape, label in marks:
        found = [(getattr(one, name), place) for place, row in enumerate(rows) for one in row.takeovers]
        axis.plot([ms for ms, _ in found], [place for _, place in found], shape, fillstyle="none", label=label)
    axis.set(title="connection lost in mid-word", xlabel="ms since it broke", xlim=(0, None))
    _name_rows(axis, rows)


def _name_rows(axis: Axes, rows: Sequence[Row]) -> None:
    axis.set_yticks(range(len(rows)), [row.name for row in rows])
    axis.invert_yaxis()
    axis.legend(fontsize=7)
