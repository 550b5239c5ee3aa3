"""The quiet that ends a turn follows the caller's own pauses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.end_of_turn import EndOfTurn

LONG_AFTER = 3000.0


def end_of_turn() -> EndOfTurn:
    return EndOfTurn(500, 300, 1200)


def turn(end: EndOfTurn, *pauses: float, speech_ms: float = 2000, after_ms: float = LONG_AFTER) -> None:
    """One turn as the ear tells of it: a pause that is too long ends it, and what follows is another turn."""
    end.began(after_ms)
    for pause in pauses:
        if pause < end.silence_ms:
            end.went_on(pause)
        else:
            ended = end.silence_ms
            end.ended(speech_ms + ended, ended)
            end.began(pause - ended)
    end.ended(speech_ms + end.silence_ms, end.silence_ms)


def after(turns: int, *pauses: float) -> float:
    end = end_of_turn()
    for _ in range(turns + 1):
        turn(end, *pauses)
    return end.silence_ms


def test_a_call_begins_where_it_is_told() -> None:
    assert end_of_turn().silence_ms == 500


@pytest.mark.parametrize(("pauses", "most"), [((), 350), ((140, 180), 400)])
def test_a_handful_of_turns_shortens_it_for_a_fast_speaker(pauses: tuple[float, ...], most: float) -> None:
    assert 300 <= after(5, *pauses) <= most
    assert after(20, *pauses) == pytest.approx(max(300, max(pauses, default=0) + 120), abs=5)


@pytest.mark.parametrize("pause", [450, 600, 800, 1000])
def test_a_handful_of_turns_lengthens_it_for_a_slow_speaker(pause: float) -> None:
    assert pause < after(5, pause, 300, pause) <= 1200


def test_it_never_waits_longer_than_allowed() -> None:
    assert after(10, 1150, 1150) == 1200


def test_who_goes_on_after_the_end_was_cut_off() -> None:
    end = end_of_turn()
    turn(end)
    end.began(300)
    assert end.silence_ms >= 600


def test_who_speaks_again_later_was_done() -> None:
    end = end_of_turn()
    turn(end, 300)
    end.began(1000)
    assert end.silence_ms < 500


def test_one_odd_turn_does_not_decide() -> None:
    for usual, odd in ((150.0, 450.0), (450.0, 0.0)):
        end = end_of_turn()
        for _ in range(12):
            turn(end, usual)
        before = end.silence_ms
        turn(end, odd)
        end.began(LONG_AFTER)
        assert abs(end.silence_ms - before) <= 170
        for _ in range(5):
            turn(end, usual)
        assert end.silence_ms == pytest.approx(before, abs=60)


def test_a_short_answer_tells_nothing() -> None:
    end = end_of_turn()
    for _ in range(10):
        turn(end, speech_ms=400)
    assert end.silence_ms == 500


def test_a_consonant_is_no_pause() -> None:
    end = end_of_turn()
    for _ in range(10):
        turn(end, 80, speech_ms=400)
    assert end.silence_ms == 500


def test_what_is_forgotten_teaches_nothing() -> None:
    end = end_of_turn()
    turn(end, 150)
    end.forget()
    end.began(100)
    assert end.silence_ms == 500


def test_where_a_call_begins_is_allowed() -> None:
    assert EndOfTurn(1500, 300, 1200).silence_ms == 1500
    end = EndOfTurn(200, 300, 1200)
    turn(end)
    turn(end)
    assert end.silence_ms == 200


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("went_on"), st.floats(0, 5000)),
            st.tuples(st.just("ended"), st.floats(0, 1200)),
            st.tuples(st.just("began"), st.floats(0, 5000) | st.just(math.inf)),
        )
    )
)
def test_it_stays_within_its_bounds(happened: list[tuple[str, float]]) -> None:
    end = end_of_turn()
    for what, ms in happened:
        if what == "ended":
            end.ended(ms + 800, ms)
        else:
            getattr(end, what)(ms)
        assert 300 <= end.silence_ms <= 1200
