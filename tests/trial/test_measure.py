"""Gaps, voice and tones in packets whose content is known."""

import numpy as np
import pytest

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.measure import (
    MARKER_HZ,
    RATE,
    Pcm,
    RtpPacket,
    Segment,
    audio,
    frame_gaps,
    is_tone,
    level_dbfs,
    missing_packets,
    tone_level,
    tone_starts,
    voice_segments,
)


def _tone(hz: float, seconds: float, amplitude: float = 8000) -> Pcm:
    tone: Pcm = (amplitude * np.sin(2 * np.pi * hz / RATE * np.arange(round(seconds * RATE)))).astype(np.int16)
    return tone


def _buzz(seconds: float) -> Pcm:
    # A vowel: many harmonics of one voice.
    vowel: Pcm = np.sum([_tone(125 * n, seconds, 1500) for n in range(1, 12)], axis=0).astype(np.int16)
    return vowel


def _silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE), np.int16)


def _packets(*sounds: Pcm, at: float = 1000.0, sequence: int = 0, timestamp: int = 0) -> list[RtpPacket]:
    pcm = np.concatenate(sounds)
    return [
        RtpPacket(
            at + index * 0.02,
            20000,
            10000,
            (sequence + index) & 0xFFFF,
            (timestamp + index * 160) & 0xFFFFFFFF,
            0,
            pcm_to_ulaw(pcm[index * 160 : (index + 1) * 160].tobytes()),
        )
        for index in range(len(pcm) // 160)
    ]


def test_gaps_are_milliseconds_between_neighbours() -> None:
    packets = _packets(_silence(0.1))
    late = [*packets[:3], *(RtpPacket(p.at + 0.03, p.src, p.dst, p.sequence, p.timestamp, 0, b"") for p in packets[3:])]
    assert frame_gaps(late) == pytest.approx([20, 20, 50, 20])
    assert frame_gaps([]) == []


def test_a_key_press_between_frames_is_no_frame() -> None:
    first, second = _packets(_silence(0.04))
    key = RtpPacket(1000.01, 20000, 10000, 1, 0, 101, b"\5\0\0\0")
    assert frame_gaps([first, key, second]) == pytest.approx([20])
    assert voice_segments([key]) == []


@pytest.mark.parametrize(("kept", "missing"), [([0, 1, 2], 0), ([0, 3], 2), ([0, 2, 1, 3], 0), ([0, 3, 1], 1)])
def test_missing_packets_are_counted_across_the_wrap(kept: list[int], missing: int) -> None:
    packets = _packets(_silence(0.08), sequence=0xFFFE)
    assert missing_packets([packets[index] for index in kept]) == missing


def test_voice_is_where_the_energy_is_to_20_ms() -> None:
    packets = _packets(_silence(0.5), _buzz(0.6), _silence(0.5), _buzz(0.2))
    assert voice_segments(packets) == [pytest.approx(Segment(1000.5, 1001.1)), pytest.approx(Segment(1001.6, 1001.8))]


def test_a_short_pause_does_not_divide_a_sentence() -> None:
    packets = _packets(_buzz(0.4), _silence(0.2), _buzz(0.4))
    assert len(voice_segments(packets)) == 1
    assert len(voice_segments(packets, join_seconds=0.1)) == 2


def test_sound_that_was_never_sent_is_silence() -> None:
    packets = _packets(_buzz(0.1), timestamp=0xFFFFFF00)
    del packets[2]
    pcm = audio(packets)
    assert len(pcm) == 800
    assert not pcm[320:480].any()
    assert pcm[480:].any()
    assert audio([]).size == 0


def test_packets_out_of_order_are_put_right() -> None:
    packets = _packets(_buzz(0.1))
    assert np.array_equal(audio([packets[1], packets[0], *packets[2:]]), audio(packets))


@pytest.mark.parametrize(("hz", "level"), [(MARKER_HZ, 1.0), (1200.0, 0.0), (440.0, 0.0)])
def test_a_tone_has_its_energy_at_its_frequency(hz: float, level: float) -> None:
    assert tone_level(_tone(hz, 0.5), MARKER_HZ) == pytest.approx(level, abs=0.01)


def test_silence_and_speech_are_no_tone() -> None:
    assert tone_level(_silence(0.1), MARKER_HZ) == 0
    assert tone_starts(np.concatenate((_buzz(1), _silence(1)))) is None
    assert not any(map(is_tone, _packets(_buzz(1))))


def test_a_tone_is_found_where_it_begins() -> None:
    assert tone_starts(np.concatenate((_buzz(0.7), _silence(0.1), _tone(MARKER_HZ, 0.4)))) == pytest.approx(
        0.8, abs=0.02
    )
    assert tone_starts(_tone(MARKER_HZ, 0.1)) is None, "too short"
    assert all(map(is_tone, _packets(_tone(MARKER_HZ, 0.4))))


def test_levels() -> None:
    assert level_dbfs(np.full(160, -32768, np.int16)) == pytest.approx(0)
    assert level_dbfs(_silence(0.02)) == -96
    assert level_dbfs(audio([])) == -96
