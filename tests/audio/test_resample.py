"""A stream that was cut anywhere sounds like the whole; tones survive, aliases do not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.audio.resample import Resampler

PAIRS = [
    (24000, 8000),
    (16000, 8000),
    (48000, 8000),
    (8000, 16000),
    (8000, 24000),
    (8000, 48000),
    (24000, 16000),
    (16000, 24000),
    (44100, 8000),
    (8000, 44100),
    (22050, 8000),
    (22050, 16000),
    (8000, 22050),
]


def resampler(source: int, target: int) -> Resampler:
    return Resampler(AudioFormat(source), AudioFormat(target))


def tone(rate: int, hertz: float, seconds: float = 0.5, amplitude: int = 16000) -> bytes:
    time = np.arange(int(rate * seconds)) / rate
    wave: NDArray[np.float64] = amplitude * np.sin(2 * np.pi * hertz * time)
    return np.rint(wave).astype("<i2").tobytes()


def samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)


def level(pcm: bytes, rate: int) -> float:
    """RMS in dBFS of all but the first and last 50 ms."""
    edge = rate // 20
    return float(10 * np.log10(np.mean((samples(pcm)[edge:-edge] / 32768) ** 2) + 1e-20))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_bytes(source: int, target: int, data: st.DataObject) -> None:
    noise = np.random.default_rng(7).integers(-32768, 32768, source // 10).astype("<i2").tobytes()
    noise = noise[: data.draw(st.integers(0, len(noise)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(noise)), max_size=8)))
    whole, pieces = resampler(source, target), resampler(source, target)
    expected = whole.process(noise) + whole.flush()
    got = b"".join(pieces.process(noise[a:b]) for a, b in pairwise([0, *cuts, len(noise)]))
    assert got + pieces.flush() == expected


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_frame_in_is_a_frame_out(source: int, target: int) -> None:
    converter = resampler(source, target)
    frame = tone(source, 440, 0.02)
    assert {len(converter.process(frame)) for _ in range(20)} == {AudioFormat(target).frame_bytes}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_speech_tone_comes_through_unharmed_and_in_time(source: int, target: int) -> None:
    got = samples(resampler(source, target).process(tone(source, 1000)))
    delay = 12 / min(source, target)
    assert delay <= 0.002
    wanted = 16000 * np.sin(2 * np.pi * 1000 * (np.arange(len(got)) / target - delay))
    middle = slice(target // 20, -target // 20)
    error = np.sqrt(np.mean((got[middle] - wanted[middle]) ** 2)) / 16000
    assert 20 * np.log10(error) < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_target_cannot_carry_does_not_fold_back(source: int, target: int) -> None:
    above = target / 2 * 1.375
    got = resampler(source, target).process(tone(source, above))
    assert level(got, target) - level(tone(source, above), source) < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_going_up_adds_no_image(source: int, target: int) -> None:
    got = samples(resampler(source, target).process(tone(source, 1000)))[target // 20 : -target // 20]
    spectrum = np.abs(np.fft.rfft(got * np.hanning(len(got))))
    hertz = np.fft.rfftfreq(len(got), 1 / target)
    assert 20 * np.log10(spectrum[hertz > source / 2].max() / spectrum.max()) < -70


def test_equal_rates_pass_the_bytes_themselves() -> None:
    converter = resampler(8000, 8000)
    chunk = tone(8000, 440)
    assert converter.process(chunk) is chunk
    assert converter.flush() == b""


def test_flush_gives_the_end_and_forgets() -> None:
    converter = resampler(24000, 8000)
    first = converter.process(tone(24000, 700, 0.0333)) + converter.flush()
    assert len(first) / SAMPLE_BYTES / 8 == pytest.approx(33.3 + 3, abs=0.2)
    assert converter.process(tone(24000, 700, 0.0333)) + converter.flush() == first


def test_loud_sound_is_clipped_and_not_wrapped() -> None:
    square = np.where(np.arange(4800) // 24 % 2, 32767, -32768).astype("<i2").tobytes()
    got = samples(resampler(24000, 8000).process(square))[50:]
    assert (got.max(), got.min()) == (32767, -32768)
    sign_changes = np.count_nonzero(np.diff(np.sign(got)))
    assert sign_changes == pytest.approx(len(got) / 8, abs=2)
