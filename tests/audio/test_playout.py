"""The queue plays replies in order, at its own pace, and forgets a stopped one for good."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.jitter_depth import JitterSettings
from ai_engine.audio.playout import Playout
from ai_engine.audio.voice import Cut, Unheard, Voice

AT_ONCE = JitterSettings(least_ms=0.0, low_water_ms=0.0)
LOUD = np.full(160, 10000, dtype="<i2").tobytes()


def frame(number: int) -> bytes:
    return bytes([number]) * 320


class Heard:
    """A playout and the news it gave."""

    def __init__(self, jitter: JitterSettings = AT_ONCE) -> None:
        self.news: list[tuple[str, int]] = []
        self.playout = Playout(
            SLIN8,
            jitter,
            on_started=lambda reply: self.news.append(("started", reply)),
            on_drained=lambda reply: self.news.append(("drained", reply)),
        )

    def pull(self, count: int) -> list[bytes | None]:
        return [self.playout.pull() for _ in range(count)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_an_empty_queue_is_silence(heard: Heard) -> None:
    assert heard.pull(3) == [None, None, None]
    assert heard.playout.speaking is None
    assert heard.playout.underruns == 0


def test_a_reply_is_played_once_from_start_to_end(heard: Heard) -> None:
    playout = heard.playout
    assert playout.begin(1)
    assert playout.push(1, frame(1) + frame(2))
    playout.finish(1)
    assert playout.left_ms == 40
    assert playout.speaking is None
    assert playout.pull() == frame(1)
    assert playout.speaking == 1
    assert playout.pull() == frame(2)
    assert heard.news == [("started", 1)]
    assert playout.pull() is None
    assert heard.news == [("started", 1), ("drained", 1)]
    assert playout.speaking is None
    assert playout.left_ms == 0


@given(st.binary(min_size=1, max_size=2000), st.lists(st.integers(0, 2000), max_size=6))
def test_chunks_of_any_length_are_the_same_sound(pcm: bytes, cuts: list[int]) -> None:
    heard = Heard()
    heard.playout.begin(1)
    edges = [0, *sorted(min(cut, len(pcm)) for cut in cuts), len(pcm)]
    for start, end in pairwise(edges):
        heard.playout.push(1, pcm[start:end])
    heard.playout.finish(1)
    frames = [got for got in heard.pull(10) if got is not None]
    assert b"".join(frames) == pcm + bytes(-len(pcm) % 320)
    assert heard.news == [("started", 1), ("drained", 1)]


def test_replies_follow_each_other_without_a_gap(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.begin(2)
    playout.push(2, frame(2))
    playout.push(1, frame(1))
    playout.finish(2)
    playout.finish(1)
    assert heard.pull(3) == [frame(1), frame(2), None]
    assert heard.news == [("started", 1), ("drained", 1), ("started", 2), ("drained", 2)]


def test_a_later_reply_waits_until_the_earlier_is_finished(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.begin(2)
    playout.push(2, frame(2))
    assert heard.pull(2) == [None, None]
    playout.finish(1)
    assert playout.pull() == frame(2)


def test_ids_only_grow(heard: Heard) -> None:
    playout = heard.playout
    assert playout.begin(5)
    assert not playout.begin(5)
    assert not playout.begin(4)
    playout.stop()
    assert not playout.begin(5)
    assert playout.begin(6)


def test_refuses_audio_of_unknown_and_finished_replies(heard: Heard) -> None:
    playout = heard.playout
    assert not playout.push(1, frame(1))
    playout.begin(1)
    playout.push(1, frame(1))
    playout.finish(1)
    assert not playout.push(1, frame(2))
    playout.finish(7)
    assert heard.pull(2) == [frame(1), None]
    assert not playout.push(1, frame(3))


def test_starts_when_the_prebuffer_is_full() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, frame(1) + frame(2))
    assert heard.pull(2) == [None, None]
    assert heard.playout.underruns == 0
    heard.playout.push(1, frame(3))
    assert heard.pull(3) == [frame(1), frame(2), frame(3)]


def test_a_reply_shorter_than_the_prebuffer_starts_when_it_is_finished() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, frame(1))
    heard.playout.finish(1)
    assert heard.pull(2) == [frame(1), None]


def test_a_reply_without_sound_drains_without_starting(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    assert playout.pull() is None
    playout.finish(1)
    assert playout.pull() is None
    assert heard.news == [("drained", 1)]


def test_stop_tells_what_was_heard_of_every_reply_in_order(heard: Heard) -> None:
    playout = heard.playout
    for reply in (1, 2, 3):
        playout.begin(reply)
        playout.push(reply, frame(reply) * 5)
    heard.pull(2)
    assert playout.stop() == (Cut(1, 40.0), Cut(2, 0.0), Cut(3, 0.0))
    assert playout.stop() == ()
    assert playout.left_ms == 0
    assert playout.speaking is None


def test_padding_was_not_heard(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.push(1, frame(1) + b"\1" * 160)
    playout.finish(1)
    heard.pull(2)
    assert playout.stop() == (Cut(1, 30.0),)


def test_late_audio_of_a_stopped_reply_is_refused_and_the_next_reply_speaks(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.push(1, frame(1))
    playout.pull()
    playout.stop()
    assert not playout.push(1, frame(1))
    playout.finish(1)
    assert playout.begin(2)
    assert playout.push(2, frame(2))
    assert dies_away(playout.pull())
    assert heard.pull(2)[0] == frame(2)
    assert heard.news == [("started", 1), ("started", 2)]


@pytest.mark.parametrize("waiting_bytes", [80, 160, 320, 960])
def test_a_cut_fades_within_5_ms(heard: Heard, waiting_bytes: int) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.push(1, LOUD)
    playout.push(1, (LOUD * 3)[:waiting_bytes])
    heard.pull(1)
    playout.stop()
    fade = playout.pull()
    assert fade is not None
    samples = np.frombuffer(fade, dtype="<i2").astype(int)
    assert len(samples) == 160
    assert samples[0] == 10000
    assert np.all(np.diff(samples[:40]) < 0)
    assert np.abs(np.diff(samples)).max() < 500
    assert not samples[39:].any()
    assert playout.pull() is None


def test_nothing_that_was_not_heard_fades(heard: Heard) -> None:
    playout = heard.playout
    playout.begin(1)
    playout.push(1, LOUD * 3)
    playout.stop()
    assert playout.pull() is None


def test_the_news_may_stop_the_playout() -> None:
    playout = Playout(SLIN8, AT_ONCE, on_started=lambda reply: stopped.extend(playout.stop()))
    stopped: list[Cut] = []
    playout.begin(1)
    playout.push(1, frame(1))
    assert playout.pull() is None
    assert stopped == [Cut(1, 0.0)]


def test_the_news_may_begin_the_next_reply() -> None:
    def say_more(reply: int) -> None:
        if playout.begin(reply + 1):
            playout.push(reply + 1, frame(reply + 1))

    playout = Playout(SLIN8, AT_ONCE, on_drained=say_more)
    playout.begin(1)
    playout.push(1, frame(1))
    playout.finish(1)
    assert playout.pull() == frame(1)
    assert playout.pull() == frame(2)


def test_a_reply_is_converted_as_it_is_fetched_and_heard_in_its_own_time() -> None:
    playout = Playout(SLIN8, AT_ONCE)
    tone = np.sin(np.arange(16000) * 2 * np.pi * 1000 / 16000) * 8000
    assert playout.begin(1, SLIN16)
    playout.push(1, tone.astype("<i2").tobytes())
    assert playout.left_ms == inf, "more of it may come"
    frames = [playout.pull() for _ in range(25)]
    assert all(frame is not None and len(frame) == SLIN8.frame_bytes for frame in frames)
    heard = np.frombuffer(b"".join(frame or b"" for frame in frames), "<i2")[200:]
    level = np.sqrt(np.mean(heard.astype(float) ** 2))
    assert level == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    assert playout.stop() == (Cut(1, 500.0),)


def test_an_endless_reply_does_not_fill_the_memory() -> None:
    playout = Playout(SLIN8, AT_ONCE)
    playout.begin(1)
    minute = bytes(SLIN8.byte_count(60_000))
    assert [playout.push(1, minute) for _ in range(12)] == [True] * 11 + [False]


def pcm_of(samples: NDArray[np.float64]) -> bytes:
    return np.rint(samples).astype("<i2").tobytes()


HUM = pcm_of(10000 * np.sin(2 * np.pi * 213 * np.arange(8000) / 8000))
"""A second in which two samples that follow each other are never further apart than 1673; no frame ends near 0."""


def joined(frames: Sequence[bytes | None]) -> NDArray[np.int64]:
    """What is heard, in samples."""
    return np.frombuffer(b"".join(got or SLIN8.silence() for got in frames), "<i2").astype(int)


def has_no_click(frames: Sequence[bytes | None]) -> bool:
    return bool(np.abs(np.diff(joined([None, *frames]))).max() < 1800)


def dies_away(frame: bytes | None) -> bool:
    return frame is not None and any(frame[:40]) and not any(frame[80:])


def speaking_hum(heard: Heard, pulls: int = 3) -> list[bytes | None]:
    heard.playout.begin(1)
    heard.playout.push(1, HUM)
    return heard.pull(pulls)


# -- held in the middle -----------------------------------------------------------------------------------


def test_is_a_voice() -> None:
    _: Voice = Playout(SLIN8)


def test_held_it_dies_away_and_goes_on_with_the_same_20_ms(heard: Heard) -> None:
    before = speaking_hum(heard)
    heard.playout.hold()
    assert heard.playout.held
    pause = heard.pull(5)
    assert heard.playout.speaking == 1
    assert dies_away(pause[0])
    assert pause[0] is not None
    assert pause[0][:2] == HUM[960:962]
    assert pause[1:] == [None] * 4
    heard.playout.resume()
    assert not heard.playout.held
    after = heard.pull(47)
    assert has_no_click(before + pause + after)
    sound = joined(after)
    assert not sound[0]
    assert (sound[40:] == np.frombuffer(HUM, "<i2")[480 + 40 :]).all()
    assert heard.playout.underruns == 0
    assert heard.news == [("started", 1)]
    assert heard.playout.stop() == (Cut(1, 1000.0),)


def test_what_dies_away_as_it_is_held_was_not_heard(heard: Heard) -> None:
    speaking_hum(heard)
    heard.playout.hold()
    heard.pull(3)
    assert heard.playout.stop() == (Cut(1, 60.0),)
    assert not heard.playout.held
    assert heard.pull(2) == [None, None]


def test_stopped_as_soon_as_it_is_held_it_dies_away_once(heard: Heard) -> None:
    before = speaking_hum(heard)
    heard.playout.hold()
    assert heard.playout.stop() == (Cut(1, 60.0),)
    after = heard.pull(2)
    assert dies_away(after[0])
    assert after[1] is None
    assert has_no_click(before + after)


def test_held_and_resumed_between_two_pulls_nothing_is_heard_of_it(heard: Heard) -> None:
    before = speaking_hum(heard)
    heard.playout.hold()
    heard.playout.resume()
    assert joined(before + heard.pull(47)).tolist() == np.frombuffer(HUM, "<i2").tolist()


def test_stopped_twice_it_still_dies_away(heard: Heard) -> None:
    before = speaking_hum(heard)
    heard.playout.stop()
    assert heard.playout.stop() == ()
    after = heard.pull(2)
    assert dies_away(after[0])
    assert has_no_click(before + after)


def test_a_reply_that_has_ended_does_not_die_away_in_the_words_of_the_next(heard: Heard) -> None:
    for reply in (1, 2):
        heard.playout.begin(reply)
        heard.playout.push(reply, LOUD)
        heard.playout.finish(reply)
        heard.pull(1)
        heard.playout.stop()
        assert heard.playout.stop() == ()
    heard.playout.begin(3)
    heard.playout.push(3, LOUD)
    heard.playout.stop()
    assert heard.pull(2) == [None, None]


def test_held_between_two_replies_nothing_is_heard() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD)
    heard.playout.finish(1)
    heard.playout.begin(2)
    heard.playout.push(2, LOUD)
    assert heard.pull(2) == [LOUD, None]
    heard.playout.hold()
    assert heard.pull(2) == [None, None]


def test_a_reply_does_not_start_while_held_and_then_starts_as_it_is(heard: Heard) -> None:
    heard.playout.hold()
    heard.playout.begin(1)
    heard.playout.push(1, LOUD * 2)
    heard.playout.finish(1)
    assert heard.pull(3) == [None] * 3
    assert heard.playout.speaking is None
    assert heard.news == []
    heard.playout.resume()
    assert heard.pull(3) == [LOUD, LOUD, None]
    assert heard.news == [("started", 1), ("drained", 1)]


def test_held_after_the_last_frame_it_drains_when_resumed(heard: Heard) -> None:
    heard.playout.begin(1)
    heard.playout.push(1, LOUD)
    heard.playout.finish(1)
    heard.pull(1)
    heard.playout.hold()
    assert heard.pull(2) == [None, None]
    assert heard.playout.speaking == 1
    heard.playout.resume()
    assert heard.pull(1) == [None]
    assert heard.news == [("started", 1), ("drained", 1)]


def test_held_when_nothing_waits_the_end_of_the_sound_dies_away(heard: Heard) -> None:
    heard.playout.begin(1)
    heard.playout.push(1, HUM[:1000])
    before = heard.pull(3)
    heard.playout.hold()
    pause = heard.pull(2)
    heard.playout.push(1, HUM[1000:])
    heard.playout.resume()
    after = heard.pull(10)
    assert pause[1] is None
    assert has_no_click(before + pause + after)
    assert joined(after)[40:].tolist() == np.frombuffer(HUM, "<i2")[480 + 40 : 480 + 1600].tolist()


def test_whoever_hears_that_a_reply_starts_may_hold_it() -> None:
    playout = Playout(SLIN8, AT_ONCE, on_started=lambda reply: playout.hold())
    playout.begin(1)
    playout.push(1, LOUD)
    assert [playout.pull(), playout.pull()] == [None, None]
    playout.resume()
    assert playout.pull() == LOUD


# -- holes ------------------------------------------------------------------------------------------------


def test_a_hole_has_no_click_at_either_end() -> None:
    heard = Heard(JitterSettings(least_ms=40, low_water_ms=40))
    heard.playout.begin(1)
    heard.playout.push(1, HUM[:1680])
    sound = heard.pull(8)
    assert [got is not None for got in sound] == [True] * 6 + [False] * 2
    assert dies_away(sound[5])
    assert joined(sound)[800] == joined(sound)[799]
    assert heard.playout.underruns == 3
    assert heard.playout.speaking == 1
    heard.playout.push(1, HUM[1680:])
    sound += heard.pull(40)
    assert has_no_click(sound)
    assert joined(sound[8:])[40:].tolist() == np.frombuffer(HUM, "<i2")[800 + 40 : 800 + 6400].tolist()
    assert heard.news == [("started", 1)]


def test_after_a_hole_it_goes_on_once_the_low_water_mark_is_reached() -> None:
    heard = Heard(JitterSettings(least_ms=0, low_water_ms=40))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD)
    heard.pull(2)
    heard.playout.push(1, frame(3))
    assert heard.pull(2) == [None, None]
    heard.playout.push(1, frame(4))
    got = heard.pull(2)
    assert got[0] is not None
    assert got[0][80:] == frame(3)[80:]
    assert got[1] == frame(4)
    assert heard.playout.underruns == 3


def test_after_a_hole_it_never_waits_for_a_finished_reply() -> None:
    heard = Heard(JitterSettings(least_ms=0, low_water_ms=400))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD)
    heard.pull(2)
    heard.playout.push(1, LOUD)
    heard.playout.finish(1)
    got = heard.pull(2)
    assert got[0] is not None
    assert got[0][80:] == LOUD[80:]
    assert got[1] is None
    assert heard.news == [("started", 1), ("drained", 1)]


def test_a_hole_makes_later_replies_gather_what_would_have_covered_it() -> None:
    heard = Heard(JitterSettings(least_ms=60, most_ms=400))
    playout = heard.playout
    assert playout.prebuffer_ms == 60
    playout.begin(1)
    playout.push(1, LOUD * 3)
    heard.pull(3 + 4)
    playout.push(1, LOUD * 3)
    playout.finish(1)
    heard.pull(4)
    assert playout.prebuffer_ms == 60 + 80
    playout.begin(2)
    playout.push(2, LOUD * 6)
    assert playout.upcoming(1) == []
    assert heard.pull(1) == [None]
    playout.push(2, LOUD)
    assert len(playout.upcoming(10)) == 7
    assert heard.pull(1) == [LOUD]


def test_silence_after_the_last_word_of_a_reply_that_ends_late_teaches_nothing() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD * 3)
    heard.pull(10)
    heard.playout.finish(1)
    heard.pull(1)
    assert heard.news == [("started", 1), ("drained", 1)]
    assert heard.playout.prebuffer_ms == 60


# -- what comes next --------------------------------------------------------------------------------------


def test_what_comes_next_is_what_the_next_pulls_give_and_asking_changes_nothing(heard: Heard) -> None:
    for reply in (1, 2):
        heard.playout.begin(reply, SLIN16)
        heard.playout.push(reply, HUM[:3000])
        heard.playout.finish(reply)
    asked = [list(heard.playout.upcoming(count)) for count in (3, 0, 100)]
    assert [len(coming) for coming in asked] == [3, 0, 10]
    assert heard.news == []
    assert heard.playout.left_ms == 200
    assert asked[0] == asked[2][:3]
    assert heard.pull(10) == asked[2]
    assert heard.playout.upcoming(3) == []


def test_what_comes_next_ends_where_something_may_still_come(heard: Heard) -> None:
    heard.playout.begin(1)
    heard.playout.push(1, LOUD * 2 + b"\1\0")
    heard.playout.begin(2)
    heard.playout.push(2, LOUD)
    assert heard.playout.upcoming(9) == [LOUD, LOUD]
    heard.playout.finish(1)
    assert len(heard.playout.upcoming(9)) == 4


def test_what_comes_next_ends_where_a_hole_will_teach_the_next_reply_to_wait() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD * 3)
    heard.pull(8)
    heard.playout.push(1, LOUD)
    heard.playout.finish(1)
    heard.playout.begin(2)
    heard.playout.push(2, LOUD * 3)
    coming = list(heard.playout.upcoming(9))
    assert heard.pull(2) == [*coming, None]
    assert heard.news == [("started", 1), ("drained", 1)]


def test_nothing_comes_next_while_it_gathers_or_is_held() -> None:
    heard = Heard(JitterSettings(least_ms=60))
    heard.playout.begin(1)
    heard.playout.push(1, LOUD * 2)
    assert heard.playout.upcoming(9) == []
    heard.playout.push(1, LOUD)
    assert heard.playout.upcoming(9) == [LOUD] * 3
    heard.pull(1)
    heard.playout.hold()
    heard.pull(1)
    assert heard.playout.upcoming(9) == []
    heard.playout.resume()
    coming = list(heard.playout.upcoming(9))
    assert len(coming) == 2
    assert heard.pull(2) == coming


@pytest.mark.parametrize("silenced", [Playout.stop, Playout.hold])
def test_the_end_of_a_sound_that_is_stopped_or_held_comes_next(
    heard: Heard, silenced: Callable[[Playout], object]
) -> None:
    speaking_hum(heard)
    silenced(heard.playout)
    assert heard.playout.upcoming(0) == []
    coming = list(heard.playout.upcoming(3))
    assert len(coming) == 1
    assert dies_away(coming[0])
    assert heard.pull(2) == [*coming, None]


# -- given up and adopted ---------------------------------------------------------------------------------


def test_what_is_given_up_goes_on_elsewhere_and_is_not_announced_again() -> None:
    one, other = Heard(), Heard()
    one.playout.begin(4, SLIN16)
    one.playout.push(4, HUM[:6400])
    one.playout.push(4, b"\1\0\2")
    one.playout.begin(5)
    one.playout.push(5, LOUD)
    one.playout.finish(5)
    one.pull(3)
    one.playout.upcoming(4)
    left = one.playout.surrender()
    assert left == (
        Unheard(4, SLIN16, HUM[1920:6400] + b"\1\0\2", False, 60.0),
        Unheard(5, SLIN8, LOUD, True, 0.0),
    )
    assert one.playout.idle
    assert one.pull(2) == [None, None]
    for unheard in left:
        other.playout.adopt(unheard)
    assert other.playout.speaking == 4
    assert not other.playout.begin(5)
    assert other.playout.push(4, b"\0" * 637)
    other.playout.finish(4)
    sound = other.pull(10)
    assert sum(got is not None for got in sound) == 9
    assert other.news == [("drained", 4), ("started", 5), ("drained", 5)]


def test_a_reply_that_had_started_rises_from_silence_in_its_new_voice() -> None:
    one, other = Heard(), Heard()
    speaking_hum(one)
    for unheard in one.playout.surrender():
        other.playout.adopt(unheard)
    assert other.playout.stop() == (Cut(1, 60.0),)
    other.playout.adopt(Unheard(1, SLIN8, HUM[960:], True, 60.0))
    sound = other.pull(47)
    assert joined(sound)[40:].tolist() == np.frombuffer(HUM, "<i2")[480 + 40 :].tolist()
    assert joined(sound)[0] == 0
    assert other.news == []
    assert other.pull(1) == [None]
    assert other.news == [("drained", 1)]


def test_what_is_given_up_while_held_leaves_nothing_behind(heard: Heard) -> None:
    speaking_hum(heard)
    heard.playout.hold()
    (left,) = heard.playout.surrender()
    assert not heard.playout.held
    heard.playout.adopt(left)
    sound = joined(heard.pull(2))
    assert sound[40:].tolist() == np.frombuffer(HUM, "<i2")[480 + 40 : 480 + 320].tolist()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 1500)),
        st.tuples(st.just("pull"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["hold", "resume", "move", "look"]), st.just(3)),
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([AT_ONCE, JitterSettings(), JitterSettings(least_ms=20, low_water_ms=60)]))
def test_no_word_is_lost_or_doubled_whatever_happens(steps: list[tuple[str, int]], jitter: JitterSettings) -> None:
    """Samples are numbered; of every frame that is sound, only the first 5 ms may have been changed."""
    heard = Heard(jitter)
    heard.playout.begin(1)
    pushed = 0
    numbers: list[int] = []
    for what, how_much in [*steps, ("resume", 0), ("move", 0)]:
        if what == "push":
            numbered = np.arange(pushed, pushed + how_much) % 30000 + 1
            assert heard.playout.push(1, numbered.astype("<i2").tobytes())
            pushed += how_much
        elif what == "pull":
            promised = list(heard.playout.upcoming(how_much))
            got = heard.pull(how_much)
            assert got[: len(promised)] == promised
            numbers += [number for number in joined(got).reshape(-1, 160)[:, 40:].ravel().tolist() if number]
        elif what == "look":
            heard.playout.upcoming(how_much)
        elif what == "hold":
            heard.playout.hold()
        elif what == "resume":
            heard.playout.resume()
        else:
            (left,) = heard.playout.surrender()
            assert SLIN8.byte_count(left.heard_ms) + len(left.pcm) == pushed * 2
            heard = Heard(jitter)
            heard.playout.adopt(left)
    (left,) = heard.playout.surrender()
    whole = np.arange(SLIN8.byte_count(left.heard_ms) // 2).reshape(-1, 160)
    assert numbers == (whole[:, 40:].ravel() % 30000 + 1).tolist()
    unheard = np.frombuffer(left.pcm, "<i2")
    assert (unheard == np.arange(whole.size, pushed) % 30000 + 1).all()


@given(
    st.lists(st.integers(0, 3000), max_size=8), st.integers(0, 40), st.booleans(), st.sampled_from([8000, 22050, 24000])
)
def test_heard_and_given_up_is_all_that_was_pushed(chunks: list[int], pulls: int, finished: bool, rate: int) -> None:
    source = AudioFormat(rate)
    playout = Playout(SLIN8, AT_ONCE)
    playout.begin(1, source)
    for chunk in chunks:
        playout.push(1, bytes(chunk))
    if finished:
        playout.finish(1)
    for _ in range(pulls):
        playout.upcoming(2)
        playout.pull()
    left = playout.surrender()
    if left:
        assert left[0].heard_ms + source.ms(len(left[0].pcm)) == pytest.approx(source.ms(sum(chunks)))
    else:
        assert finished
