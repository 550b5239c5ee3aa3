"""The ring keeps the newest frames, once."""

import pytest

from ai_engine.audio.format import SLIN8
from ai_engine.audio.preroll import PreRoll


def frame(number: int) -> bytes:
    return bytes([number]) * SLIN8.frame_bytes


def test_keeps_the_newest_oldest_first() -> None:
    ring = PreRoll(SLIN8, ms=60)
    for number in range(5):
        ring.push(frame(number))
    assert ring.take() == [frame(2), frame(3), frame(4)]
    assert ring.take() == []


def test_of_no_length_keeps_nothing() -> None:
    ring = PreRoll(SLIN8, ms=0)
    ring.push(frame(1))
    assert ring.take() == []


def test_refuses_what_is_not_a_frame() -> None:
    with pytest.raises(ValueError, match="320 bytes"):
        PreRoll(SLIN8, ms=60).push(b"\0" * 100)
