"""Trimming pauses and dithering."""

import numpy as np
import pytest

from local_ai_server.stt.sound import Samples, dither, is_wordless, resample, trim, voiced_ms

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


def sine(hz: float, rate: int, ms: int) -> Samples:
    wave: Samples = np.rint(10000 * np.sin(2 * np.pi * hz * np.arange(rate * ms // 1000) / rate)).astype("<i2")
    return wave


@pytest.mark.parametrize("hz", [50, 300, 1000, 3000])
def test_what_a_telephone_carries_is_the_same_at_twice_the_rate(hz: int) -> None:
    wide = np.frombuffer(resample(sine(hz, 8000, 200).tobytes(), 8000, 16000), "<i2").astype(float)
    ideal = sine(hz, 16000, 200).astype(float)
    assert len(wide) == len(ideal)
    inside = slice(400, -400)  # the sound begins and ends with a click
    assert np.abs(wide[inside] - ideal[inside]).max() < 100  # 40 dB below


def test_nothing_is_heard_above_what_the_telephone_carries() -> None:
    wide = np.frombuffer(resample(sine(1000, 8000, 200).tobytes(), 8000, 16000), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(wide[400:-400] * np.hanning(len(wide) - 800)))
    assert spectrum[len(spectrum) * 5 // 8 :].max() < spectrum.max() / 1000


@pytest.mark.parametrize("pcm", [b"", b"\1\0", bytes(640)])
def test_any_length_is_doubled_and_one_rate_is_left_alone(pcm: bytes) -> None:
    assert len(resample(pcm, 8000, 16000)) == 2 * len(pcm)
    assert resample(pcm, 16000, 16000) is pcm


def test_the_loudest_sound_does_not_wrap() -> None:
    square = np.where(np.arange(800) // 4 % 2, 32767, -32768).astype("<i2")
    wide = np.frombuffer(resample(square.tobytes(), 8000, 16000), "<i2")
    assert wide.max() == 32767
    assert wide.min() == -32768


def test_a_voice_has_a_pitch() -> None:
    buzz = np.sign(sine(120, RATE, 300)) * 4000  # like a throat
    said = np.concatenate([silence(400), buzz, silence(300)]).astype("<i2")
    assert 280 <= voiced_ms(said.tobytes(), RATE) <= 360


def test_breath_and_clicks_have_none() -> None:
    generator = np.random.default_rng(3)
    breath = generator.normal(0, 3000, RATE // 2) * np.hanning(RATE // 2)
    click = np.zeros(RATE // 2)
    click[4000:4080] = generator.normal(0, 9000, 80)
    for sound in (breath, click, np.zeros(RATE // 2), np.zeros(10)):
        assert voiced_ms(sound.astype("<i2").tobytes(), RATE) < 60


def test_a_word_may_come_late_in_a_long_sound() -> None:
    breath = np.random.default_rng(3).normal(0, 300, RATE * 5).astype("<i2")
    word = np.sign(sine(120, RATE, 200)).astype("<i2") * 4000
    assert is_wordless(breath.tobytes(), RATE)
    assert not is_wordless(np.concatenate([breath, word, breath]).astype("<i2").tobytes(), RATE)
    assert is_wordless(b"", RATE)
