"""Pictures of text."""

import pytest

from ai_engine.studio.tui.bars import cut, lasted, meter, percentile, sparkline, took, waterfall


def test_a_sparkline_shows_the_last_and_can_be_compared() -> None:
    assert sparkline([0, 750, 1500], 8) == "▁▅█"
    assert sparkline([1500] * 9 + [0], 2) == "█▁"
    assert sparkline([3000, 1500], 8) == "█▅"
    assert sparkline([], 8) == sparkline([5], 0) == ""


@pytest.mark.parametrize(("dbfs", "bar"), [(0, "████"), (-30, "██··"), (-60, "····"), (-96, "····"), (6, "████")])
def test_a_meter_is_full_at_0_dbfs(dbfs: float, bar: str) -> None:
    assert meter(dbfs, 4) == bar


def test_a_waterfall_begins_where_the_stage_before_ended() -> None:
    lines = waterfall({"first_frame_ms": 800.0, "end_of_turn": 400.0}, 40)
    assert lines == [
        "end of turn " + f"{'█' * 10:<21}" + "  400ms",
        "first frame " + f"{' ' * 10 + '█' * 11:<21}" + "  400ms",
    ]
    assert waterfall({}, 40) == []
    assert all(len(line) <= 80 for line in waterfall({"a": 0.0, "b": 100_000.0}, 80))


def test_times() -> None:
    assert [took(ms) for ms in (None, 0, 842.4, 999.6, 12_345)] == ["", "0ms", "842ms", "1.0s", "12.3s"]
    assert [lasted(seconds) for seconds in (-3, 42, 3599.9, 3600)] == ["0:00", "0:42", "59:59", "1:00:00"]


def test_what_is_cut_shows_it() -> None:
    assert (cut("a  b\nc", 5), cut("abcdef", 5), cut("abc", 0)) == ("a b c", "abcd…", "…")


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert (percentile([], 0.5), percentile([3, 1, 2], 0.5), percentile([1, 2], 1.0)) == (None, 2, 2)
