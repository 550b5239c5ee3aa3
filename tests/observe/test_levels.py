"""Levels of both sides."""

import numpy as np

from ai_engine.observe.levels import QUIETEST_DBFS, Levels

LOUD = (np.ones(160) * 16384).astype("<i2").tobytes()


def test_every_tenth_frame_tells_how_loud_the_last_ten_were() -> None:
    levels = Levels()
    for _ in range(2):
        told = [levels.add(LOUD, None, 320) for _ in range(10)]
        assert told == [None] * 9 + [(-6.0, QUIETEST_DBFS)]


def test_missing_frames_are_silence_and_there_is_no_infinity() -> None:
    levels = Levels()
    for tick in range(9):
        assert levels.add(LOUD if tick < 5 else None, bytes(320), 320) is None
    assert levels.add(None, bytes(320), 320) == (-9.0, QUIETEST_DBFS)
