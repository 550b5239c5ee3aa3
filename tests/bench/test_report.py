"""A promise that is broken is said to be."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scripts.bench import plots, report
from scripts.bench.figures import Window, histogram
from scripts.bench.load import BargeIn, Ramp, Soak, Step
from scripts.bench.report import Bar, Findings
from scripts.bench.sip import Heard, Left, Wave
from scripts.bench.sip_load import Outcome

MACHINE = {"cpu": "abacus", "cores": "2", "python": "3.11", "commit": "abc"}


def _step(calls: int = 150, gap: float = 20.1, megabytes: float = 110.0, **counts: int) -> Step:
    frames = 1000
    window = Window(
        calls=calls,
        seconds=10.0,
        frames=frames,
        pieces=500,
        gaps=histogram([gap] * frames),
        answers=histogram([10.0] * 20),
        lateness=histogram([0.1] * 100),
        **counts,
    )
    return Step(calls, window, calls * 0.02, megabytes, 0, {}, 0.0)


def _ramp(*steps: Step, leftovers: Mapping[str, int] | None = None) -> Ramp:
    return Ramp(100.0, list(steps), leftovers=dict(leftovers or {"calls": 0, "tasks": 0}))


def _bars(findings: Findings) -> dict[str, Bar]:
    return {bar.what: bar for bar in findings.bars()}


def _wave(left: Mapping[str, int], failed: int = 0, missing: int = 0) -> Wave:
    heard = Heard(streams=100, packets=1000, missing=missing, gaps=histogram([20.0] * 1000))
    return Wave(Outcome(100, 100 - failed, failed, 0.5), heard, 0.15, 0.3, 0, dict(left))


def test_a_good_ramp_keeps_every_promise() -> None:
    bars = Findings(MACHINE, ramp=_ramp(_step(100), _step(150), _step(200, gap=30.0))).bars()
    assert [bar.what for bar in bars if not bar.met] == []
    assert any(bar.found == "150" for bar in bars if bar.what.startswith("knee"))


@pytest.mark.parametrize(
    ("step", "broken"),
    [
        (_step(lost=1), "frames at 150 calls"),
        (_step(gap=26.0), "frame gap p99 at 150 calls"),
        (_step(megabytes=260.0), "memory per call at 150 calls"),
    ],
)
def test_what_is_broken_at_150_calls_is_named(step: Step, broken: str) -> None:
    assert not _bars(Findings(MACHINE, ramp=_ramp(step)))[broken].met


def test_a_knee_that_the_generator_cannot_vouch_for_does_not_count() -> None:
    step = _step()
    step.window.unmeasured = 500
    assert _ramp(_step(100), step).knee == 100


def test_a_task_left_behind_breaks_a_promise() -> None:
    bars = _bars(Findings(MACHINE, ramp=_ramp(_step(), leftovers={"tasks": 1})))
    assert not bars["left after the last call"].met


def test_an_interruption_nobody_heeded_breaks_a_promise() -> None:
    def met(found: BargeIn) -> bool:
        return all(bar.met for bar in Findings(MACHINE, barge_in=found).bars())

    well = histogram([110.0] * 10), histogram([8.0] * 10), histogram([12.0] * 10)
    assert met(BargeIn(20, 0, *well))
    assert not met(BargeIn(20, 1, *well))
    assert not met(BargeIn(20, 0, histogram([160.0] * 10), *well[1:]))


def test_a_soak_that_grows_is_not_flat() -> None:
    flat = Soak([_step(megabytes=110.0) for _ in range(8)])
    grows = Soak([_step(megabytes=110.0 + minute) for minute in range(8)])
    assert all(bar.met for bar in Findings(MACHINE, soak=flat).bars())
    assert [bar.met for bar in Findings(MACHINE, soak=grows).bars()] == [True, False]


def test_a_bridge_that_is_left_over_and_a_call_that_fails_break_promises() -> None:
    findings = Findings(MACHINE, waves=[_wave({}), _wave({"bridges": 1}, failed=2, missing=3)])
    assert [bar.met for bar in findings.bars()] == [False, False, False]
    assert any("1 bridges after wave 2" in bar.found for bar in findings.bars())
    assert all(bar.met for bar in Findings(MACHINE, waves=[_wave({})]).bars())


def test_only_what_there_is_more_of_is_left() -> None:
    before = Left(channels=1, bridges=0, calls=0, tasks=4, descriptors=22, asterisk_descriptors=90, files=3)
    after = Left(channels=0, bridges=1, calls=0, tasks=6, descriptors=22, asterisk_descriptors=80, files=3)
    assert after.beyond(before) == {"bridges": 1, "tasks": 2}


def test_findings_are_json_a_table_and_a_picture(tmp_path: Path) -> None:
    found = BargeIn(20, 0, histogram([110.0] * 10), histogram([8.0] * 10), histogram([12.0] * 10))
    findings = Findings(
        MACHINE, ramp=_ramp(_step(100), _step()), recording=_ramp(_step(100)), barge_in=found,
        soak=Soak([_step(), _step()]), waves=[_wave({})], troubles=["one call in detail: no phone"],
    )  # fmt: skip
    said = json.loads(json.dumps(findings.plain()))
    assert said["ramp"]["knee"] == 150
    assert {bar["met"] for bar in said["bars"]} == {True}
    console = Console(record=True, width=140, file=StringIO())
    report.show(findings, console)
    text = console.export_text()
    assert "with recording on, 100 calls cost" in text
    assert "no phone" in text
    plots.draw(findings, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_an_engine_that_ended_under_the_load_keeps_what_was_measured_before() -> None:
    ramp = _ramp(_step(100), _step(150))
    ramp.collapse = "with more than 150 calls the engine ended"
    bars = _bars(Findings(MACHINE, ramp=ramp))
    assert bars["knee: talking calls on one core"].found.startswith("150")
    assert not bars["beyond the knee"].met
