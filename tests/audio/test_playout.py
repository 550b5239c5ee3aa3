"""The queue plays replies in order, at its own pace, and forgets a stopped one for good."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.audio.playout import Cut, Playout

LOUD = np.full(160, 10000, dtype="<i2").tobytes()


def frame(number: int) -> bytes:
    return bytes([number]) * 320


class Heard:
    """A playout and the news it gave."""

    def __init__(self, prebuffer_ms: float = 0.0) -> None:
        self.news: list[tuple[str, int]] = []
        self.playout = Playout(
            SLIN8,
            prebuffer_ms,
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
    assert playout.queued_ms == 40
    assert playout.speaking is None
    assert playout.pull() == frame(1)
    assert playout.speaking == 1
    assert playout.pull() == frame(2)
    assert heard.news == [("started", 1)]
    assert playout.pull() is None
    assert heard.news == [("started", 1), ("drained", 1)]
    assert playout.speaking is None
    assert playout.queued_ms == 0


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
    heard = Heard(prebuffer_ms=60)
    heard.playout.begin(1)
    heard.playout.push(1, frame(1) + frame(2))
    assert heard.pull(2) == [None, None]
    assert heard.playout.underruns == 0
    heard.playout.push(1, frame(3))
    assert heard.pull(3) == [frame(1), frame(2), frame(3)]


def test_a_reply_shorter_than_the_prebuffer_starts_when_it_is_finished() -> None:
    heard = Heard(prebuffer_ms=60)
    heard.playout.begin(1)
    heard.playout.push(1, frame(1))
    heard.playout.finish(1)
    assert heard.pull(2) == [frame(1), None]


def test_an_underrun_is_silence_and_goes_on_with_the_first_late_frame() -> None:
    heard = Heard(prebuffer_ms=40)
    playout = heard.playout
    playout.begin(1)
    playout.push(1, frame(1) + frame(2))
    assert heard.pull(4) == [frame(1), frame(2), None, None]
    assert playout.underruns == 2
    assert playout.speaking == 1
    playout.push(1, frame(3))
    assert playout.pull() == frame(3)
    assert heard.news == [("started", 1)]


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
    assert playout.queued_ms == 0
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
    assert heard.pull(2) == [frame(2), None]
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
    playout = Playout(SLIN8, on_started=lambda reply: stopped.extend(playout.stop()))
    stopped: list[Cut] = []
    playout.begin(1)
    playout.push(1, frame(1))
    assert playout.pull() is None
    assert stopped == [Cut(1, 0.0)]


def test_the_news_may_begin_the_next_reply() -> None:
    def say_more(reply: int) -> None:
        if playout.begin(reply + 1):
            playout.push(reply + 1, frame(reply + 1))

    playout = Playout(SLIN8, on_drained=say_more)
    playout.begin(1)
    playout.push(1, frame(1))
    playout.finish(1)
    assert playout.pull() == frame(1)
    assert playout.pull() == frame(2)


def test_a_reply_is_converted_as_it_is_fetched_and_heard_in_its_own_time() -> None:
    playout = Playout(SLIN8)
    tone = np.sin(np.arange(16000) * 2 * np.pi * 1000 / 16000) * 8000
    assert playout.begin(1, SLIN16)
    playout.push(1, tone.astype("<i2").tobytes())
    assert playout.queued_ms == 1000
    frames = [playout.pull() for _ in range(25)]
    assert all(frame is not None and len(frame) == SLIN8.frame_bytes for frame in frames)
    heard = np.frombuffer(b"".join(frame or b"" for frame in frames), "<i2")[200:]
    level = np.sqrt(np.mean(heard.astype(float) ** 2))
    assert level == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    assert playout.stop() == (Cut(1, 500.0),)


def test_an_endless_reply_does_not_fill_the_memory() -> None:
    playout = Playout(SLIN8)
    playout.begin(1)
    minute = bytes(SLIN8.byte_count(60_000))
    assert [playout.push(1, minute) for _ in range(12)] == [True] * 11 + [False]
