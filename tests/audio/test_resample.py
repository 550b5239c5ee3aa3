"""A stream that was cut anywhere sounds like the whole; tones survive, aliases do not."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.audio.resample import Resampler

RATES = (8000, 16000, 22050, 24000, 48000)
PAIRS = [*permutations(RATES, 2), (44100, 8000), (8000, 44100)]

PASSED, STOPPED = 0.85, 1.13
"""Of the lower Nyquist frequency, where the pass band ends and the stop band begins: 3400 and 4520 Hz at 8 kHz."""


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


def alone(pcm: bytes, rate: int, hertz: float) -> tuple[float, float]:
    """The amplitude of the tone in all but the ends, and that of everything else, in dB below it."""
    got = samples(pcm)[rate // 20 : -rate // 20]
    turns = np.exp(2j * np.pi * hertz * np.arange(len(got)) / rate)
    basis = np.column_stack((turns.real, turns.imag))
    parts = np.linalg.lstsq(basis, got)[0]
    rest = got - basis @ parts
    return float(np.hypot(*parts)), float(20 * np.log10(np.std(rest) / np.std(basis @ parts)))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_bytes(source: int, target: int, data: st.DataObject) -> None:
    noise = np.random.default_rng(7).integers(-32768, 32768, source // 8).astype("<i2").tobytes()
    noise = noise[: data.draw(st.integers(0, len(noise)))]
    frame = AudioFormat(source).frame_bytes
    sizes = st.one_of(st.just(frame), st.integers(0, 3 * frame), st.integers(0, 40))
    whole, pieces = resampler(source, target), resampler(source, target)
    expected = whole.process(noise) + whole.flush()
    got, rest = b"", noise
    for size in data.draw(st.lists(sizes, max_size=12)):
        got += pieces.process(rest[:size])
        rest = rest[size:]
    assert got + pieces.process(rest) + pieces.flush() == expected


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_frame_by_frame_is_the_whole(source: int, target: int) -> None:
    noise = np.random.default_rng(8).integers(-32768, 32768, source).astype("<i2").tobytes()
    frames, whole = resampler(source, target), resampler(source, target)
    size = AudioFormat(source).frame_bytes
    got = [frames.process(noise[at : at + size]) for at in range(0, len(noise), size)]
    assert {len(frame) for frame in got} == {AudioFormat(target).frame_bytes}
    assert b"".join(got) == whole.process(noise)
    assert frames.flush() == whole.flush()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_speech_tone_comes_through_unharmed_and_in_time(source: int, target: int) -> None:
    got = samples(resampler(source, target).process(tone(source, 1000)))
    delay = 12 / min(source, target)
    assert delay <= 0.002
    wanted = 16000 * np.sin(2 * np.pi * 1000 * (np.arange(len(got)) / target - delay))
    middle = slice(target // 20, -target // 20)
    error = np.sqrt(np.mean((got[middle] - wanted[middle]) ** 2)) / 16000
    assert 20 * np.log10(error) < -70


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_pass_band_is_even_and_has_no_images(source: int, target: int) -> None:
    nyquist = min(source, target) / 2
    for part in (0.03, 0.1, 0.3, 0.5, 0.65, 0.75, 0.8, PASSED):
        hertz = part * nyquist
        amplitude, rest_db = alone(resampler(source, target).process(tone(source, hertz)), target, hertz)
        change_db = 20 * np.log10(amplitude / 16000)
        assert abs(change_db) < (0.05 if part <= 0.75 else 0.4 if part <= 0.8 else 1.6)
        assert rest_db < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_target_cannot_carry_does_not_fold_back(source: int, target: int) -> None:
    for hertz in np.arange(STOPPED * target / 2, source / 2, target / 61):
        got = resampler(source, target).process(tone(source, hertz, amplitude=32000))
        assert level(got, target) - 20 * np.log10(32000 / 32768 / np.sqrt(2)) < -70


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_delay_is_half_the_filter_and_at_most_2_ms(source: int, target: int) -> None:
    click, at = np.zeros(source // 10, dtype="<i2"), source // 20
    click[at] = 32767
    got = samples(resampler(source, target).process(click.tobytes())) ** 2
    centre = float(np.sum(got * np.arange(len(got))) / got.sum())
    delay = centre / target - at / source
    assert delay == pytest.approx(12 / min(source, target), abs=0.02 / target)
    assert delay < 0.002


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
