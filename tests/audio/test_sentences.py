"""Where speech is divided."""

import numpy as np
import pytest

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.audio.sentences import SentenceCutter


def speech(ms: int, format: AudioFormat = SLIN8) -> bytes:
    return (np.random.default_rng(1).normal(0, 4000, format.rate * ms // 1000)).astype("<i2").tobytes()


def softly(pcm: bytes, by: float) -> bytes:
    return (np.frombuffer(pcm, "<i2") * by).astype("<i2").tobytes()


def pieces_ms(cutter: SentenceCutter, pcm: bytes, format: AudioFormat = SLIN8, chunk: int = 630) -> list[float]:
    pieces = [piece for at in range(0, len(pcm), chunk) for piece in cutter.push(pcm[at : at + chunk])]
    assert b"".join(pieces) + cutter.waiting == pcm
    return [format.ms(len(piece)) for piece in pieces]


def test_its_maker_ends_it() -> None:
    cutter = SentenceCutter(SLIN8)
    assert cutter.push(speech(1013)) == []
    assert cutter.waiting_ms == 1013
    assert cutter.end() == speech(1013)
    assert cutter.end() == b""


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 48000])
def test_the_first_pause_after_three_seconds(rate: int) -> None:
    format = AudioFormat(rate)
    early = speech(1000, format) + bytes(format.byte_count(500))
    spoken = early + speech(2500, format) + softly(speech(200, format), 0.05) + speech(3000, format)
    assert pieces_ms(SentenceCutter(format), spoken, format) == [pytest.approx(4020, abs=20)]


def test_the_softest_place_when_there_is_no_pause() -> None:
    spoken = speech(4500) + softly(speech(100), 0.5) + speech(3000)
    assert pieces_ms(SentenceCutter(SLIN8), spoken) == [pytest.approx(4550, abs=60)]


def test_all_at_once_is_divided_the_same() -> None:
    spoken = speech(30000)
    whole = pieces_ms(SentenceCutter(SLIN8), spoken, chunk=len(spoken))
    assert all(3000 <= ms <= 6000 for ms in whole)
    assert whole == pieces_ms(SentenceCutter(SLIN8), spoken, chunk=320)


def test_silence_is_divided_too() -> None:
    assert pieces_ms(SentenceCutter(SLIN8), bytes(160_000)) == [pytest.approx(3020, abs=40)] * 3
