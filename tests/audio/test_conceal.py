"""What stands for a lost frame sounds like what was before it, dies away, and joins without a click."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ai_engine.audio.conceal import MOST_CONCEALED, Concealer, squeeze
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from tests.audio.voices import Sound, frames, noise, tone

FORMATS = [SLIN8, SLIN16]


def vowel(rate: int, seconds: float, pitch_hz: float = 118.0) -> Sound:
    """A steady voice: harmonics that weaken."""
    return sum(
        (tone(rate, seconds, pitch_hz * k, 6000.0 / k) for k in range(1, 9)), start=np.zeros(int(rate * seconds))
    )


def samples(*pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(b"".join(pcm), "<i2")


def level(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(samples(pcm).astype(float)))))


def likeness(first: bytes, second: bytes) -> float:
    return float(np.corrcoef(samples(first), samples(second))[0, 1])


def steepest(pcm: NDArray[np.int16]) -> int:
    """The largest step from one sample to the next."""
    return int(np.max(np.abs(np.diff(pcm.astype(int)))))


def play(format: AudioFormat, sound: Sound, lost: set[int]) -> list[bytes]:
    """Every frame of ``sound`` as it is heard when those numbered ``lost`` do not come."""
    concealer = Concealer(format)
    return [
        (concealer.conceal() or format.silence()) if number in lost else concealer.hear(frame)
        for number, frame in enumerate(frames(sound, format))
    ]


def test_what_comes_is_not_touched() -> None:
    sound = vowel(8000, 0.2)
    assert play(SLIN8, sound, set()) == frames(sound, SLIN8)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("pitch_hz", [80.0, 118.0, 190.0, 260.0])
def test_a_lost_frame_of_a_voice_sounds_like_the_voice(format: AudioFormat, pitch_hz: float) -> None:
    sound = vowel(format.rate, 0.3, pitch_hz)
    heard = play(format, sound, {8})
    assert likeness(heard[8], frames(sound, format)[8]) > 0.9
    assert level(heard[8]) == pytest.approx(level(heard[7]), rel=0.25)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("lost", [{8}, {8, 9}, {8, 9, 10}, {8, 9, 10, 11, 12}, {7, 9, 11}])
@pytest.mark.parametrize("pitch_hz", [97.0, 143.0, 231.0])
def test_no_join_clicks(format: AudioFormat, lost: set[int], pitch_hz: float) -> None:
    sound = vowel(format.rate, 0.4, pitch_hz)
    heard = samples(*play(format, sound, lost))
    assert steepest(heard) <= 1.15 * steepest(samples(*frames(sound, format)))


@pytest.mark.parametrize("hertz", [25.0, 31.0, 45.0])
@pytest.mark.parametrize("lost", [{8}, {8, 9, 10}])
def test_not_even_a_rumble_too_low_for_a_pitch_clicks(lost: set[int], hertz: float) -> None:
    sound = tone(8000, 0.4, hertz)
    assert steepest(samples(*play(SLIN8, sound, lost))) < 1000


def test_a_longer_loss_dies_away_and_is_silent_after_60_ms() -> None:
    concealer = Concealer(SLIN8)
    for frame in frames(vowel(8000, 0.2), SLIN8):
        concealer.hear(frame)
    concealed = [concealer.conceal() for _ in range(6)]
    assert concealed[MOST_CONCEALED:] == [None, None, None]
    levels = [level(frame) for frame in concealed if frame is not None]
    assert len(levels) == MOST_CONCEALED
    assert levels == sorted(levels, reverse=True)
    assert abs(samples(concealed[2] or b"")[-1]) < 100


def test_after_a_long_loss_the_voice_fades_in() -> None:
    frame = np.full(160, 10000, dtype="<i2").tobytes()
    concealer = Concealer(SLIN8)
    concealer.hear(frame)
    for _ in range(MOST_CONCEALED + 2):
        concealer.conceal()
    heard = samples(concealer.hear(frame))
    assert 0 < heard[0] < 500
    assert steepest(heard) < 300
    assert set(heard[40:]) == {10000}
    assert concealer.hear(frame) == frame


def test_a_loss_before_anything_was_heard_is_silence() -> None:
    assert Concealer(SLIN8).conceal() == SLIN8.silence()


def test_noise_becomes_no_tone_that_is_louder_than_it_was() -> None:
    heard = play(SLIN8, noise(8000, 0.3, 500.0), {8, 9, 10})
    assert all(level(frame) < 1000 for frame in heard)


@given(st.lists(st.one_of(st.none(), st.binary(min_size=320, max_size=320)), max_size=30))
def test_any_sound_with_any_loss_is_frames(pattern: list[bytes | None]) -> None:
    concealer = Concealer(SLIN8)
    for frame in pattern:
        heard = concealer.conceal() if frame is None else concealer.hear(frame)
        assert heard is None or len(heard) == 320


def test_two_frames_are_squeezed_without_a_click() -> None:
    sound = vowel(8000, 0.2)
    first, second, third, fourth = frames(sound, SLIN8)[:4]
    heard = samples(first, squeeze(second, third), fourth)
    assert len(heard) == 480
    assert steepest(heard) <= 1.15 * steepest(samples(first, second, third, fourth))
