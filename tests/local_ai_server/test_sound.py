"""Trimming pauses and dithering."""

import numpy as np
import pytest

from local_ai_server.stt.sound import Samples, dither, trim

RATE = 16000


def tone(ms: int, level: int = 8000) -> Samples:
    wave: Samples = (level * np.sin(np.arange(RATE * ms // 1000) * 0.3)).astype(np.int16)
    return wave


def silence(ms: int) -> Samples:
    return np.zeros(RATE * ms // 1000, np.int16)


@pytest.mark.parametrize(("before_ms", "after_ms"), [(1000, 2000), (300, 300), (0, 1000)])
def test_pauses_are_cut_to_the_margin(before_ms: int, after_ms: int) -> None:
    turn = np.concatenate([silence(before_ms), tone(400), silence(after_ms)])
    expected_ms = min(before_ms, 200) + 400 + min(after_ms, 200)
    assert len(trim(turn, RATE, 200)) == RATE * expected_ms // 1000


def test_a_pause_inside_is_kept() -> None:
    turn = np.concatenate([silence(500), tone(200), silence(900), tone(200), silence(500)])
    assert len(trim(turn, RATE, 200)) == RATE * (200 + 200 + 900 + 200 + 200) // 1000


def test_steady_line_noise_is_not_speech() -> None:
    noise = np.random.default_rng(0).normal(0, 100, RATE * 2).astype(np.int16)
    turn = noise.copy()
    turn[RATE : RATE + 6400] += tone(400)
    assert len(trim(turn, RATE, 200)) == RATE * 800 // 1000


@pytest.mark.parametrize("samples", [silence(0), silence(10), silence(500)])
def test_nothing_loud_is_left_alone(samples: Samples) -> None:
    assert len(trim(samples, RATE, 200)) == len(samples)


def test_dither_is_small_and_always_the_same() -> None:
    quiet = silence(100)
    assert (dither(quiet) == dither(quiet)).all()
    assert np.abs(dither(quiet)).max() == 3
    assert dither(np.full(100, 32767, np.int16)).max() == 32767
