"""Percentiles, validity, knees and slopes of numbers that are known."""

import json

import pytest

from scripts.bench.figures import Histogram, Window, histogram, knee, slope


def test_percentiles_are_the_upper_edge_of_their_step() -> None:
    values = histogram([20.04] * 98 + [24.0, 61.27])
    assert values.percentile(50) == pytest.approx(20.1)
    assert values.percentile(99) == pytest.approx(24.1)
    assert values.percentile(100) == pytest.approx(61.27)
    assert (values.total, values.max_ms, values.over(24.0), values.over(40.0)) == (100, 61.27, 2, 1)


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile(99) is None


def test_what_is_too_long_for_a_step_is_still_counted() -> None:
    values = histogram([-1.0, 700.0])
    assert values.percentile(100) == 700.0
    assert values.percentile(50) == pytest.approx(0.1)


def test_a_window_goes_through_json_and_adds_up() -> None:
    window = Window(calls=3, seconds=2.0, frames=300, lost=1, gaps=histogram([20.0, 21.5]))
    same = Window.of_plain(json.loads(json.dumps(window.plain())))
    assert same.plain() == window.plain()
    same.update(window)
    assert (same.frames, same.lost, same.gaps.total, same.gaps.max_ms) == (600, 2, 4, 21.5)


@pytest.mark.parametrize("count", ["lost", "doubled", "unheard", "unanswered", "broken"])
def test_a_window_with_any_loss_is_not_whole(count: str) -> None:
    assert Window(frames=10).whole
    assert not Window(frames=10, **{count: 1}).whole


def test_a_window_is_invalid_when_the_generator_was_late_or_blind() -> None:
    good = [0.2] * 97
    assert Window(frames=100, lateness=histogram([*good, 0.1, 0.1, 9.0])).valid
    assert not Window(frames=100, lateness=histogram([*good, 9.0, 9.0, 9.0, 9.0])).valid
    assert not Window(frames=100, unmeasured=4, lateness=histogram(good)).valid
    assert not Window().valid


def test_late_is_what_a_jitter_buffer_cannot_hide() -> None:
    assert Window(gaps=histogram([20.0, 39.9, 40.1, 120.0])).late == 2


def test_the_knee_is_the_last_step_before_one_that_failed() -> None:
    assert knee([(50, True), (100, True), (150, False), (200, True)]) == 100
    assert knee([(50, False)]) == 0
    assert knee([]) == 0


def test_slope() -> None:
    assert slope([1.0, 3.0, 5.0]) == pytest.approx(2.0)
    assert slope([7.0, 7.0]) == 0.0
    assert slope([7.0]) == 0.0
