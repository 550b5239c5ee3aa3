"""The real engine and the real generator, two processes, for some seconds; how fast they are is no test."""

from pathlib import Path

from scripts.bench import load
from scripts.bench.launch import BenchEngine, Generator


def test_a_few_calls_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    ramp = load.ramp(tmp_path, [4], 4.0, told.append)
    (step,) = ramp.steps
    window = step.window
    assert (window.calls, window.lost, window.doubled, window.unheard, window.broken) == (4, 0, 0, 0, 0)
    assert window.pieces > 0
    assert window.answers.total > 0
    assert step.events.get("stirs", 0) == 0, "the agent took a pause of the caller for an interruption"
    assert step.cpu_seconds > 0
    assert ramp.leftovers == {"calls": 0, "tasks": 0, "descriptors": 0}
    assert len(told) == 1


def test_callers_who_interrupt_are_heeded(tmp_path: Path) -> None:
    found = load.barge_in(tmp_path, 3, 6.0)
    assert found.stopped.total >= 3
    assert found.ignored == 0
    assert found.obeyed.total == found.stopped.total


def test_a_generator_hangs_up_and_calls_again(tmp_path: Path) -> None:
    with BenchEngine(tmp_path) as engine, Generator(engine.port) as generator:
        before = engine.state()
        for calls in (3, 1, 2, 2, 0):
            generator.have_calls(calls)
            assert generator.measure(0.5).calls == calls
        assert not any(load.leftovers(engine, before).values())
