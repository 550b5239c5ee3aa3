"""Whatever the network does to the packets, one frame per tick comes out, in order."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.audio.jitter import JitterBuffer

SSRC = 0x63145241
TICK = 0.02


def frame(number: int) -> bytes:
    return np.full(160, 1000 + number % 20000, dtype="<i2").tobytes()


def number(heard: bytes | None) -> int | None:
    """Which frame it is; None if it was made up, or made of two."""
    if heard is None:
        return None
    tail = np.frombuffer(heard, "<i2")[-80:]
    return int(tail[0]) - 1000 if np.all(tail == tail[0]) and tail[0] >= 1000 else None


@dataclass
class Sender:
    """Counts as an RTP sender does."""

    sequence: int = 0
    timestamp: int = 0
    ssrc: int = SSRC

    def packet(self, count: int) -> tuple[int, int, int, bytes]:
        """The packet that carries ``frame(count)``."""
        return (
            self.ssrc,
            self.sequence + count & 0xFFFF,
            self.timestamp + 160 * count & 0xFFFFFFFF,
            frame(count),
        )


@dataclass
class Heard:
    """A buffer that is pulled every 20 ms, and what came out."""

    buffer: JitterBuffer = field(default_factory=lambda: JitterBuffer(SLIN8))
    now: float = 0.0
    frames: list[bytes | None] = field(default_factory=list)

    def tick(self, *packets: tuple[int, int, int, bytes]) -> int | None:
        """These packets come, in the middle of the 20 ms before a pull."""
        for packet in packets:
            self.buffer.push(*packet, self.now + TICK / 2)
        self.now += TICK
        self.frames.append(self.buffer.pull(self.now))
        return number(self.frames[-1])

    def ticks(self, packets: Iterable[tuple[int, int, int, bytes]]) -> list[int | None]:
        return [self.tick(packet) for packet in packets]

    def count(self, name: str) -> int:
        return self.buffer.counters[name]

    @property
    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.buffer.counters.items() if count}


def arrivals(heard: Heard, packets: Sequence[tuple[float, tuple[int, int, int, bytes]]], seconds: float) -> None:
    """Packets come at their times (in seconds), while the buffer is pulled."""
    waiting = sorted(packets, key=lambda packet: packet[0])
    while heard.now < seconds:
        heard.now += TICK
        while waiting and waiting[0][0] <= heard.now:
            at, packet = waiting.pop(0)
            heard.buffer.push(*packet, at)
        heard.frames.append(heard.buffer.pull(heard.now))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def stream(*numbers: int) -> list[tuple[int, int, int, bytes]]:
    return [Sender().packet(count) for count in numbers]


def flowing(heard: Heard, last: int) -> None:
    """Frames 0 to ``last`` came, and ``last - 1`` was given out."""
    heard.ticks(stream(*range(last + 1)))
    assert number(heard.frames[-1]) == last - 1


def test_without_a_stream_there_is_nothing(heard: Heard) -> None:
    assert [heard.tick() for _ in range(5)] == [None] * 5
    assert heard.counted == {}


def test_a_steady_stream_is_given_out_as_it_was_one_frame_later(heard: Heard) -> None:
    assert heard.ticks(stream(*range(20))) == [None, *range(19)]
    assert heard.frames[1:] == [frame(count) for count in range(19)]
    assert heard.counted == {}


@pytest.mark.parametrize("order", [(6, 5), (7, 6, 5), (5, 7, 6), (6, 7, 5)])
def test_packets_out_of_order_that_come_in_time_are_put_in_order(heard: Heard, order: tuple[int, ...]) -> None:
    flowing(heard, 4)
    heard.tick(*stream(*order))
    assert heard.ticks(stream(*range(5 + len(order), 12))) == list(range(5, 5 + 12 - 5 - len(order)))
    assert heard.counted == {}


def test_a_lost_frame_is_concealed_and_the_rest_stays_in_time(heard: Heard) -> None:
    flowing(heard, 4)
    assert [heard.tick(), *heard.ticks(stream(*range(6, 12)))] == [4, None, *range(6, 11)]
    assert heard.frames[-6] is not None
    assert heard.counted == {"lost": 1, "concealed": 1}


def test_three_lost_frames_are_concealed(heard: Heard) -> None:
    flowing(heard, 4)
    out = [heard.tick(), heard.tick(), heard.tick(), *heard.ticks(stream(*range(8, 12)))]
    assert out == [4, None, None, None, 8, 9, 10]
    assert None not in heard.frames[1:]
    assert heard.counted == {"lost": 3, "concealed": 3}


def test_a_longer_outage_becomes_silence_and_ends_with_what_comes_next(heard: Heard) -> None:
    flowing(heard, 4)
    for _ in range(8):
        heard.tick()
    assert heard.frames[-4:] == [None] * 4
    assert heard.ticks(stream(13, 14, 15)) == [None, 13, 14]
    assert heard.counted == {"lost": 8, "concealed": 3}


def test_a_frame_that_is_late_is_played_and_those_after_it_are_waited_for(heard: Heard) -> None:
    flowing(heard, 4)
    assert [heard.tick(), heard.tick()] == [4, None]
    assert heard.tick(*stream(5, 6, 7)) == 5
    assert heard.ticks(stream(8, 9)) == [6, 7]
    assert heard.counted == {"concealed": 1}
    assert heard.buffer.waiting == 2


def test_what_comes_after_its_time_is_dropped(heard: Heard) -> None:
    flowing(heard, 4)
    out = [heard.tick(), heard.tick(*stream(6)), heard.tick(*stream(7)), heard.tick(*stream(5, 8))]
    assert out == [4, None, 6, 7]
    assert heard.counted == {"lost": 1, "concealed": 1, "late": 1}


def test_duplicates_are_dropped(heard: Heard) -> None:
    flowing(heard, 4)
    assert heard.tick(*stream(5, 5, 5)) == 4
    assert heard.tick(*stream(6, 4)) == 5
    assert heard.tick() == 6
    assert heard.counted == {"duplicates": 2, "late": 1}


@pytest.mark.parametrize(
    "sender",
    [Sender(sequence=65530), Sender(timestamp=2**32 - 160 * 5), Sender(65535, 2**32 - 160), Sender(0, 2**32 - 1)],
)
def test_counts_wrap_around(heard: Heard, sender: Sender) -> None:
    assert heard.ticks(sender.packet(count) for count in range(30)) == [None, *range(29)]
    assert heard.tick(sender.packet(31), sender.packet(30)) == 29
    assert heard.counted == {}


def test_a_call_longer_than_all_sequence_numbers(heard: Heard) -> None:
    sender = Sender(sequence=100)
    for count in range(70000):
        heard.buffer.push(*sender.packet(count), heard.now)
        heard.now += TICK
        heard.buffer.pull(heard.now)
    assert heard.buffer.waiting <= 1
    assert heard.count("lost") == heard.count("strays") == 0


@pytest.mark.parametrize(
    "again",
    [Sender(ssrc=7), Sender(sequence=30000), Sender(timestamp=5000), Sender(timestamp=2**31), Sender(40, 77, 9)],
)
def test_a_sender_that_begins_anew_is_followed(heard: Heard, again: Sender) -> None:
    flowing(heard, 4)
    out = heard.ticks(again.packet(count) for count in range(100, 110))
    assert out[0] == 4
    assert [count for count in out if count is not None] == [4, *range(101, 110)]
    assert heard.counted == {"strays": 1, "resynchronised": 1}


@pytest.mark.parametrize("step", [80, 152, 320])
def test_timestamps_that_are_a_little_off_do_no_harm(heard: Heard, step: int) -> None:
    out = heard.ticks((SSRC, count, step * count, frame(count)) for count in range(20))
    assert out == [None, *range(19)]
    assert heard.counted == {}


def test_single_packets_from_nowhere_move_nothing(heard: Heard) -> None:
    flowing(heard, 4)
    nowhere = Sender(ssrc=99, sequence=500)
    out = [heard.tick(nowhere.packet(count), *stream(count)) for count in range(5, 15)]
    assert out == list(range(4, 14))
    assert heard.counted == {"strays": 10}


def test_a_burst_is_played_on_and_its_oldest_frames_are_dropped(heard: Heard) -> None:
    flowing(heard, 4)
    assert heard.tick() == 4
    first = heard.tick(*stream(*range(5, 30)))
    assert first == 20
    assert heard.count("stale") == 15


def test_delay_of_a_burst_is_squeezed_out_within_seconds(heard: Heard) -> None:
    flowing(heard, 4)
    heard.tick(*stream(*range(5, 14)))
    assert heard.buffer.waiting == 9
    out = heard.ticks(stream(*range(14, 14 + 150)))
    assert heard.buffer.waiting <= 2
    assert heard.count("squeezed") >= 7
    assert heard.count("lost") == heard.count("concealed") == 0
    known = [count for count in out if count is not None]
    assert known == sorted(known)


def test_a_spare_frame_nobody_needed_is_given_up_after_5_s_and_then_it_is_kept_longer(heard: Heard) -> None:
    heard.ticks(stream(*range(240)))
    assert heard.buffer.waiting == 1
    heard.ticks(stream(*range(240, 260)))
    assert heard.buffer.waiting == 0
    assert heard.counted == {"squeezed": 1}
    assert heard.tick() is None  # 260 is late, and was needed after all
    heard.tick(*stream(260, 261))
    heard.ticks(stream(*range(262, 662)))
    assert heard.buffer.waiting == 1
    heard.ticks(stream(*range(662, 800)))
    assert heard.buffer.waiting == 0
    assert heard.counted == {"squeezed": 2, "concealed": 1}


def jittery(spread_ms: float, count: int, seed: int = 1) -> list[tuple[float, tuple[int, int, int, bytes]]]:
    delays = random.Random(seed)
    return [(n * TICK + delays.uniform(0.0, spread_ms / 1000), Sender().packet(n)) for n in range(count)]


@pytest.mark.parametrize(("spread_ms", "most_ms"), [(5.0, 40.0), (30.0, 80.0), (60.0, 120.0), (90.0, 160.0)])
def test_delay_grows_with_jitter_and_hardly_anything_is_lost(heard: Heard, spread_ms: float, most_ms: float) -> None:
    arrivals(heard, jittery(spread_ms, 1500), 30.0)
    # Whatever it took to learn, the last 20 s are nearly free of it.
    known = [number(heard_) for heard_ in heard.frames[500:]]
    assert known.count(None) <= 10
    assert heard.count("late") + heard.count("lost") <= 10
    delay_ms = max((tick - (count or tick)) * 20 for tick, count in enumerate(known[-200:], len(heard.frames) - 200))
    assert delay_ms <= most_ms


def test_jitter_is_measured_as_rfc_3550_says(heard: Heard) -> None:
    heard.buffer.push(*Sender().packet(0), 0.0)
    heard.buffer.push(*Sender().packet(1), 0.036)
    assert heard.buffer.jitter_ms == pytest.approx(1.0)
    heard.buffer.push(*Sender().packet(2), 0.040)
    assert heard.buffer.jitter_ms == pytest.approx(1.0 + (16.0 - 1.0) / 16)


def test_other_formats_have_other_timestamps() -> None:
    buffer = JitterBuffer(SLIN16)
    for count in range(3):
        buffer.push(1, count, 320 * count, bytes([count]) * 640, 0.02 * count)
    assert buffer.counters["strays"] == 0
    assert [buffer.pull(0.1), buffer.pull(0.12)] == [None, bytes(640)]


def test_counters_may_be_shared() -> None:
    heard = Heard()
    other = JitterBuffer(SLIN8, heard.buffer.counters)
    other.push(*Sender().packet(0), 0.0)
    other.push(*Sender().packet(0), 0.0)
    assert heard.counted == {"duplicates": 1}


DELAYS_MS = st.one_of(st.none(), st.integers(0, 19), st.integers(0, 150))
"""None for a packet that is lost."""


@given(st.lists(DELAYS_MS, max_size=120), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_any_delay_and_loss_gives_frames_in_order(delays: list[int | None], sequence: int, timestamp: int) -> None:
    sender, heard = Sender(sequence, timestamp), Heard()
    sent = [(n * TICK + ms / 1000, sender.packet(n)) for n, ms in enumerate(delays) if ms is not None]
    arrivals(heard, sent, len(delays) * TICK + 1.0)
    assert {len(out) for out in heard.frames if out is not None} <= {320}
    known = [count for out in heard.frames if (count := number(out)) is not None]
    assert known == sorted(set(known))
    assert all(delays[count] is not None for count in known)
    given_out = len(known) + 2 * heard.count("squeezed")
    assert given_out + heard.count("late") + heard.count("stale") + heard.count("strays") == len(sent)
    assert heard.buffer.waiting == 0


@given(st.permutations(range(5)), st.integers(0, 65535))
def test_any_order_within_the_window_is_mastered_after_a_while(order: list[int], sequence: int) -> None:
    heard, sender = Heard(), Sender(sequence)
    packets = [sender.packet(start + offset) for start in range(0, 400, 5) for offset in order]
    heard.ticks(packets[:300])
    learned = heard.counted
    out = heard.ticks(packets[300:])
    assert None not in heard.frames[300:]
    assert {**heard.counted, "squeezed": 0} == {**learned, "squeezed": 0}
    known = [count for count in out if count is not None]
    assert known == sorted(known)


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.tuples(st.integers(0, 2), st.integers(0, 65535), st.integers(0, 2**32 - 1)),
            st.tuples(st.just(1), st.integers(0, 60), st.integers(0, 60).map(lambda count: 160 * count)),
        ),
        max_size=200,
    )
)
def test_nothing_a_peer_sends_makes_it_raise_or_grow(pattern: list[tuple[int, int, int] | None]) -> None:
    heard = Heard()
    for packet in pattern:
        if packet is None:
            heard.tick()
        else:
            heard.buffer.push(*packet, frame(1), heard.now)
        assert heard.buffer.waiting <= 60
    assert {len(out) for out in heard.frames if out is not None} <= {320}
