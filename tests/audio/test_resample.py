"""A stream that was cut anywhere sounds like the whole; tones survive, aliases do not."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.audio.resample import Resampler, _block_matrix

RATES = (8000, 16000, 22050, 24000, 48000)
PAIRS = [*permutations(RATES, 2), (44100, 8000), (8000, 44100)]

PASSED = 0.85
"""Of the lower Nyquist frequency, where the pass band ends: 3400 Hz at 8 kHz. The stop band begins at 1."""

JUST_ABOVE = (1.0005, 1.002, 1.005, 1.01, 1.02, 1.03, 1.05, 1.1)

SENT = 16000
"""The amplitude of a tone."""


def resampler(source: int, target: int) -> Resampler:
    return Resampler(AudioFormat(source), AudioFormat(target))


def tone(rate: int, hertz: float, seconds: float = 0.5, amplitude: int = SENT) -> bytes:
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
    """The tone in all but the ends, and everything else there, in dB of the tone that was sent."""
    got = samples(pcm)[rate // 20 : -rate // 20]
    turns = np.exp(2j * np.pi * hertz * np.arange(len(got)) / rate)
    basis = np.column_stack((turns.real, turns.imag))
    parts = np.linalg.lstsq(basis, got)[0]
    rest = np.std(got - basis @ parts) * np.sqrt(2)
    return float(20 * np.log10(np.hypot(*parts) / SENT)), float(20 * np.log10(rest / SENT))


def click_response(source: int, target: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What becomes of a click: seconds since it, and the samples."""
    click, at = np.zeros(source // 10, dtype="<i2"), source // 20
    click[at] = 32767
    got = samples(resampler(source, target).process(click.tobytes()))
    return np.arange(len(got)) / target - at / source, got


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
def test_every_sum_is_exact_in_whatever_order(source: int, target: int) -> None:
    ratio = Fraction(target, source)
    steps = _block_matrix(ratio.numerator, ratio.denominator) * 2.0**24
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(steps).sum(axis=0).max() * 32768 < 2.0**53


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_pass_band_is_even_and_pure(source: int, target: int) -> None:
    for part in (0.03, 0.1, 0.25, 0.3, 0.5, 0.65, 0.75, 0.8, PASSED):
        hertz = part * min(source, target) / 2
        change_db, rest_db = alone(resampler(source, target).process(tone(source, hertz)), target, hertz)
        assert abs(change_db) < (0.02 if part <= 0.75 else 0.2)
        assert rest_db < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_a_tone_has_no_image_above_the_nyquist_frequency_of_the_source(source: int, target: int) -> None:
    for above in JUST_ABOVE:
        hertz = (2 - above) * source / 2
        _, rest_db = alone(resampler(source, target).process(tone(source, hertz)), target, hertz)
        assert rest_db < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_target_cannot_carry_does_not_fold_back(source: int, target: int) -> None:
    nyquist = target / 2
    just_above = [part * nyquist for part in JUST_ABOVE if part * nyquist < source / 2]
    for hertz in (*just_above, *np.arange(nyquist, source / 2, target / 61)):
        got = resampler(source, target).process(tone(source, hertz, amplitude=32000))
        assert level(got, target) - 20 * np.log10(32000 / 32768 / np.sqrt(2)) < -70


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_speech_is_at_most_2_ms_late_and_stays_together(source: int, target: int) -> None:
    time, got = click_response(source, target)

    def delay(hertz: float) -> float:
        turned = got * np.exp(-2j * np.pi * hertz * time)
        return float((np.sum(turned * time) / np.sum(turned)).real)

    voice = [delay(hertz) for hertz in (300, 1000, 2000, 3000)]
    assert max(voice) - min(voice) < 0.0005
    assert max(*voice, delay(3400)) < 0.002


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_click_is_heard_at_once_and_rings_only_afterwards(source: int, target: int) -> None:
    time, got = click_response(source, target)
    lower = min(source, target)
    loudness = got**2 / np.sum(got**2)
    assert np.sum(loudness * time) == pytest.approx(4 / lower, abs=0.7 / lower)
    assert not np.any(got[time < -1e-9])
    assert np.sum(loudness[time > 40 / lower]) < 1e-5


def test_equal_rates_pass_the_bytes_themselves() -> None:
    converter = resampler(8000, 8000)
    chunk = tone(8000, 440)
    assert converter.process(chunk) is chunk
    assert converter.flush() == b""


def test_flush_gives_the_end_and_forgets() -> None:
    converter = resampler(24000, 8000)
    first = converter.process(tone(24000, 700, 0.0333)) + converter.flush()
    assert len(first) / SAMPLE_BYTES / 8 == pytest.approx(33.3 + 6, abs=0.2)
    assert converter.process(tone(24000, 700, 0.0333)) + converter.flush() == first


def test_loud_sound_is_clipped_and_not_wrapped() -> None:
    square = np.where(np.arange(4800) // 24 % 2, 32767, -32768).astype("<i2").tobytes()
    got = samples(resampler(24000, 8000).process(square))[50:]
    assert (got.max(), got.min()) == (32767, -32768)
    sign_changes = np.count_nonzero(np.diff(np.sign(got)))
    assert sign_changes == pytest.approx(len(got) / 8, abs=2)
