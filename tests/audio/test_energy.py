"""Levels are what a meter shows."""

import math

import numpy as np
import pytest

from ai_engine.audio.energy import NoiseFloor, level_db
from ai_engine.audio.format import SLIN8
from tests.audio.voices import frames, noise, tone


def test_a_full_scale_sine_is_3_db_below_full_scale() -> None:
    assert level_db(frames(tone(8000, 0.02, 1000, 32767), SLIN8)[0]) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("pcm", [b"", bytes(320)])
def test_silence_has_no_level(pcm: bytes) -> None:
    assert level_db(pcm) == -math.inf


def test_the_floor_measures_the_quieter_half_of_a_frame() -> None:
    floor = NoiseFloor(SLIN8, -62.0, -20.0)
    halves = np.concatenate((np.full(80, 3276), np.full(80, 327))).astype("<i2").tobytes()
    for frame in (halves, halves[160:] + halves[:160]):
        floor.hear(frame)
        assert floor.level_db == pytest.approx(-40, abs=0.1)


def test_the_floor_is_found_in_the_gaps() -> None:
    floor = NoiseFloor(SLIN8, -62.0, -20.0)
    quiet, loud = frames(noise(8000, 0.2, 30), SLIN8), frames(noise(8000, 0.4, 3000), SLIN8)
    for frame in (quiet + loud) * 5:
        floor.hear(frame)
    assert floor.floor_db == pytest.approx(level_db(b"".join(quiet)), abs=2)
