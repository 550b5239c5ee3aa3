"""The depth grows to what would have covered the holes, and comes back slowly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.jitter_depth import JitterDepth, JitterSettings

FROM_60 = JitterSettings(least_ms=60, most_ms=400, low_water_ms=40)


def hole(depth: JitterDepth, empty: int, gathering: int = 0) -> None:
    """Frames that were missing: while nothing was there, and while less than the low-water mark was."""
    for _ in range(empty):
        depth.missed(empty=True)
    for _ in range(gathering):
        depth.missed(empty=False)
    depth.went_on()


@pytest.fixture
def depth() -> JitterDepth:
    depth = JitterDepth(FROM_60)
    depth.began(60, whole=False)
    return depth


def test_begins_with_the_least(depth: JitterDepth) -> None:
    assert (depth.prebuffer_ms, depth.low_water_ms) == (60, 40)


def test_grows_to_what_would_have_covered_a_hole(depth: JitterDepth) -> None:
    hole(depth, empty=5)
    assert depth.prebuffer_ms == 60 + 100


def test_what_we_waited_for_ourselves_was_not_late(depth: JitterDepth) -> None:
    hole(depth, empty=5, gathering=3)
    assert depth.prebuffer_ms == 60 + 100


def test_a_later_hole_adds_to_the_silence_before_it(depth: JitterDepth) -> None:
    hole(depth, empty=3, gathering=2)
    hole(depth, empty=1)
    assert depth.prebuffer_ms == 60 + 60 + 40 + 20


def test_more_sound_that_waited_at_the_start_counts(depth: JitterDepth) -> None:
    depth.began(140, whole=False)
    hole(depth, empty=2)
    assert depth.prebuffer_ms == 180


def test_does_not_shrink_because_of_a_smaller_hole(depth: JitterDepth) -> None:
    hole(depth, empty=10)
    depth.drained()
    depth.began(60, whole=False)
    hole(depth, empty=1)
    assert depth.prebuffer_ms == 260


def test_grows_to_the_most_and_no_further(depth: JitterDepth) -> None:
    hole(depth, empty=100)
    assert depth.prebuffer_ms == 400


def test_a_hole_no_waiting_would_have_covered_is_no_reason_to_wait(depth: JitterDepth) -> None:
    depth.began(1500, whole=False)
    hole(depth, empty=10)
    assert depth.prebuffer_ms == 60


def test_a_hole_before_a_late_end_is_none(depth: JitterDepth) -> None:
    hole(depth, empty=10)
    depth.began(260, whole=False)
    depth.missed(empty=True)
    depth.drained()
    assert depth.prebuffer_ms == 210


def test_comes_back_slowly_over_clean_replies(depth: JitterDepth) -> None:
    hole(depth, empty=20)
    depth.drained()
    depths = [depth.prebuffer_ms]
    while depth.prebuffer_ms > 60:
        depth.began(depth.prebuffer_ms, whole=False)
        depth.drained()
        depths.append(depth.prebuffer_ms)
    assert depths[:3] == [400, 315, 251.25]
    assert depths[-1] == 60
    assert 8 <= len(depths) <= 15


def test_replies_that_prove_nothing_change_nothing(depth: JitterDepth) -> None:
    hole(depth, empty=20)
    depth.drained()
    depth.began(2000, whole=True)
    depth.drained()
    depth.drained()  # one that never had a sound
    assert depth.prebuffer_ms == 400


def test_a_reply_that_starves_again_waits_twice_as_long_each_time(depth: JitterDepth) -> None:
    marks = []
    for _ in range(6):
        hole(depth, empty=1)
        marks.append(depth.low_water_ms)
    assert marks == [40, 80, 160, 320, 400, 400]
    depth.began(60, whole=False)
    hole(depth, empty=1)
    assert depth.low_water_ms == 40


def test_a_least_above_the_most_stays(depth: JitterDepth) -> None:
    depth = JitterDepth(JitterSettings(least_ms=1000, most_ms=400))
    depth.began(60, whole=False)
    hole(depth, empty=90)
    assert depth.prebuffer_ms == 1000


@given(st.lists(st.tuples(st.floats(0, 3000), st.booleans(), st.lists(st.integers(1, 50), max_size=5)), max_size=20))
def test_stays_between_the_least_and_the_most(replies: list[tuple[float, bool, list[int]]]) -> None:
    depth = JitterDepth(FROM_60)
    for gathered_ms, whole, holes in replies:
        depth.began(gathered_ms, whole=whole)
        for missing in holes:
            hole(depth, empty=missing)
        assert 60 <= depth.prebuffer_ms <= 400
        depth.drained()
        assert 60 <= depth.prebuffer_ms <= 400
        assert 40 <= depth.low_water_ms <= 400
