"""Whatever the voice, it comes out at one level, and one does not hear how."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.level import LevelNormaliser, LevelSettings
from tests.audio.voices import Sound, noise, speech

RATE = 16000
FORMAT = AudioFormat(RATE)
WIDE = LevelSettings(max_gain_db=18.0)

SENTENCES = (
    "Good morning, thank you for calling the town library. How may I help you today?",
    "We are open from nine in the morning until six in the evening, Monday to Friday.",
    "I am sorry, I did not quite catch that. Could you please say it once more?",
)


@cache
def talk(voice: str, seconds_between: float = 0.6) -> Sound:
    """Some 15 s of speech with silence between the sentences."""
    pause = np.zeros(int(RATE * seconds_between))
    sentences = [np.concatenate((speech(text, RATE, voice), pause)) for text in SENTENCES]
    return np.concatenate(sentences)


def active_db(sound: Sound) -> float:
    """ITU-T P.56, method B, in dBFS: the level of the time in which the envelope is no more than 15.9 dB below it."""
    decay = np.exp(-1 / (RATE * 0.03))
    reach = np.arange(int(0.3 * RATE))
    smoothing = (1 - decay) ** 2 * (reach + 1) * decay**reach
    scaled = sound / 32768
    size = 1 << (len(scaled) + len(reach)).bit_length()
    spectrum = np.fft.rfft(np.abs(scaled), size) * np.fft.rfft(smoothing, size)
    envelope = np.fft.irfft(spectrum, size)[: len(scaled)]
    now = np.arange(len(scaled))
    margins, levels = [], []
    for threshold in 2.0 ** np.arange(-15, np.log2(envelope.max())):
        last_above = np.maximum.accumulate(np.where(envelope >= threshold, now, -RATE))
        active = np.count_nonzero(now - last_above <= 0.2 * RATE)
        levels.append(10 * np.log10(np.sum(scaled**2) / active))
        margins.append(levels[-1] - 20 * np.log10(threshold) - 15.9)
    return float(np.interp(0.0, margins[::-1], levels[::-1]))


@cache
def talk_at(voice: str, dbfs: float) -> bytes:
    sound = talk(voice)
    return pcm(sound * 10 ** ((dbfs - active_db(sound)) / 20))


def pcm(sound: Sound) -> bytes:
    return np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()


def samples(data: bytes) -> Sound:
    return np.frombuffer(data, "<i2").astype(np.float64)


def in_frames(normaliser: LevelNormaliser, data: bytes) -> tuple[bytes, list[float]]:
    """What comes out, and the gain (dB) after every 20 ms."""
    out, gains = [], []
    for start in range(0, len(data), FORMAT.frame_bytes):
        out.append(normaliser.process(data[start : start + FORMAT.frame_bytes]))
        gains.append(normaliser.gain_db)
    return b"".join(out), gains


@pytest.mark.parametrize("voice", ["slt", "rms"])
@pytest.mark.parametrize("dbfs", [-35, -27, -20, -14, -8])
def test_every_voice_comes_to_the_target(voice: str, dbfs: float) -> None:
    out, _ = in_frames(LevelNormaliser(FORMAT, WIDE), talk_at(voice, dbfs))
    heard = samples(out)
    assert len(out) == len(pcm(talk(voice)))
    assert active_db(heard[len(heard) // 2 :]) == pytest.approx(-20, abs=2)


def test_no_more_than_the_most_gain_and_cut() -> None:
    quiet, loud = LevelNormaliser(FORMAT, LevelSettings()), LevelNormaliser(FORMAT, LevelSettings(max_cut_db=6.0))
    in_frames(quiet, talk_at("slt", -40))
    in_frames(loud, talk_at("slt", -8))
    assert quiet.gain_db == pytest.approx(12)
    assert loud.gain_db == pytest.approx(-6)


@pytest.mark.parametrize("dbfs", [-30, -12])
def test_the_first_second_of_speech_goes_one_way_and_the_rest_moves_unheard(dbfs: float) -> None:
    """Most of the way is gone within the first seconds, pauses between words included."""
    _, gains = in_frames(LevelNormaliser(FORMAT, WIDE), talk_at("slt", dbfs))
    early, late = np.diff(gains[:100]), np.diff(gains[100:])
    direction = np.sign(-20 - dbfs)
    assert abs(gains[100] - (-20 - dbfs)) < 3
    assert np.abs(early).max() <= 24 * 0.02 + 1e-9
    assert (early[:50] * direction >= 0).all()
    assert np.abs(late).max() <= 0.8 * 0.02 + 1e-9


def test_nothing_moves_in_the_pauses() -> None:
    normaliser = LevelNormaliser(FORMAT, WIDE)
    in_frames(normaliser, talk_at("slt", -32))
    gain_db = normaliser.gain_db
    assert gain_db > 8
    _, gains = in_frames(normaliser, bytes(2 * RATE * 10))
    assert set(gains) == {gain_db}
    _, gains = in_frames(normaliser, pcm(noise(RATE, 3.0, rms=32768 * 10 ** (-52 / 20))))
    assert set(gains) == {gain_db}


def test_noise_between_sentences_is_not_raised() -> None:
    """Neither when it is too quiet to be any speech, nor when it is only much quieter than this speech."""
    for level_db in (-60, -42):
        normaliser = LevelNormaliser(FORMAT, LevelSettings())
        in_frames(normaliser, talk_at("rms", -20))
        gain_db = normaliser.gain_db
        hiss = pcm(noise(RATE, 3.0, rms=32768 * 10 ** (level_db / 20)))
        _, gains = in_frames(normaliser, hiss)
        assert set(gains) == {gain_db}


def test_a_voice_after_noise_or_after_a_loud_chime_is_found() -> None:
    hiss = pcm(noise(RATE, 2.0, rms=32768 * 10 ** (-43 / 20)))
    chime = pcm(noise(RATE, 2.0, rms=32768 * 10 ** (-10 / 20)))
    for before, dbfs in ((hiss, -20), (chime, -30), (chime, -37)):
        normaliser = LevelNormaliser(FORMAT, WIDE)
        in_frames(normaliser, before + talk_at("slt", dbfs))
        heard, _ = in_frames(normaliser, talk_at("slt", dbfs))
        assert active_db(samples(heard)) == pytest.approx(-20, abs=2.5)


def test_the_gain_has_no_steps() -> None:
    """A steady tone's envelope changes by no more than the fastest move between samples, in either direction."""
    for amplitude in (800, 30000):
        tone = amplitude * np.sin(2 * np.pi * 1000 * np.arange(RATE * 4) / RATE)
        out, _ = in_frames(LevelNormaliser(FORMAT, WIDE), pcm(tone))
        periods = np.abs(samples(out)).reshape(-1, 16).max(axis=1)
        steps_db = np.abs(np.diff(20 * np.log10(periods)))
        assert steps_db.max() < 24 * 0.001 * 1.2 + 20 * np.log10(1 + 1.5 / periods.min())


def test_nothing_is_clipped() -> None:
    """Speech at -35 dBFS was raised; then a shout comes in at full scale."""
    normaliser = LevelNormaliser(FORMAT, WIDE)
    in_frames(normaliser, talk_at("slt", -35))
    shout = 32767 * np.sin(2 * np.pi * 300 * np.arange(RATE // 5) / RATE)
    heard = samples(normaliser.process(pcm(shout)))
    assert np.abs(heard).max() < 32767
    crests = heard[np.abs(heard) > 30000]
    assert np.unique(np.abs(crests)).size > 20
    assert (np.sign(heard) == np.sign(np.rint(shout))).all()


def test_a_voice_at_the_target_below_the_knee_is_left_alone() -> None:
    normaliser = LevelNormaliser(FORMAT, LevelSettings(max_gain_db=0.0, max_cut_db=0.0))
    data = talk_at("rms", -20)
    quiet_enough = pcm(np.clip(samples(data), -24000, 24000))
    assert normaliser.process(quiet_enough) == quiet_enough


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4000), max_size=30))
def test_chunks_of_any_length_give_the_same_sound(sizes: list[int]) -> None:
    data = talk_at("slt", -30)[: RATE * 4]
    whole, pieces = LevelNormaliser(FORMAT, WIDE), LevelNormaliser(FORMAT, WIDE)
    got, rest = b"", data
    for size in sizes:
        got += pieces.process(rest[:size])
        rest = rest[size:]
    assert got + pieces.process(rest) == whole.process(data)
    assert pieces.gain_db == whole.gain_db


def test_half_a_sample_waits_unless_it_is_forgotten() -> None:
    normaliser = LevelNormaliser(FORMAT, LevelSettings())
    assert normaliser.process(b"\x10") == b""
    assert normaliser.process(b"\x00\x20\x00\x30") == b"\x10\x00\x20\x00"
    normaliser.forget_rest()
    assert normaliser.process(b"\x40\x00") == b"\x40\x00"
