"""Frames come out whole and in order, wherever the chunks were cut."""

from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.format import SLIN8
from ai_engine.audio.framing import Framer


@given(st.lists(st.binary(max_size=900), max_size=12))
def test_nothing_is_lost_or_moved(chunks: list[bytes]) -> None:
    framer = Framer(SLIN8)
    frames = [frame for chunk in chunks for frame in framer.push(chunk)]
    assert framer.waiting_bytes == len(b"".join(chunks)) % 320
    last = framer.flush()
    if last is not None:
        frames.append(last)
    assert {len(frame) for frame in frames} <= {320}
    assert b"".join(frames).startswith(b"".join(chunks))
    assert not any(b"".join(frames)[len(b"".join(chunks)) :])


def test_flush_forgets() -> None:
    framer = Framer(SLIN8)
    framer.push(b"\1\1")
    assert framer.flush() == b"\1\1" + bytes(318)
    assert framer.flush() is None
    assert framer.waiting_bytes == 0
