"""Turns begin and end where the caller's do; clicks, tones and noise are not callers."""

import numpy as np
import pytest

from ai_engine.audio.format import FRAME_MS, SLIN8, AudioFormat
from ai_engine.audio.speech import make_scorer
from ai_engine.audio.vad import Paused, Spoke, VadSettings, VoiceActivity
from tests.audio.voices import ACTIVE_RMS, Sound, frames, noise, place, speech, tone

LINE_NOISE_RMS = 8.0
LOUD = np.full(160, 8000, dtype="<i2").tobytes()
QUIET = bytes(320)


class AlwaysSpeech:
    """Leaves the decision to the energy."""

    def is_speech(self, frame: bytes) -> bool:
        return True


class LoudIsSpeech:
    def is_speech(self, frame: bytes) -> bool:
        return frame == LOUD


def ear(**settings: int) -> VoiceActivity:
    activity = VoiceActivity(SLIN8, VadSettings(**settings), LoudIsSpeech())  # type: ignore[arg-type]
    for _ in range(25):
        assert activity.process(QUIET) is None
    return activity


def hear(
    sound: Sound, format: AudioFormat = SLIN8, detector: str = "webrtc", guarded: bool = False
) -> list[tuple[int, Spoke | Paused]]:
    """What happened, each with the milliseconds that had been heard by then."""
    settings = VadSettings(detector=detector)
    activity = VoiceActivity(format, settings, make_scorer(format, settings))
    happened = []
    for number, frame in enumerate(frames(sound, format), start=1):
        news = activity.process(frame, guarded)
        if news is not None:
            happened.append((number * FRAME_MS, news))
    return happened


def pattern(activity: VoiceActivity, marks: str, guarded: bool = False) -> list[tuple[int, Spoke | Paused]]:
    """Feed one frame per mark, ``#`` loud and ``.`` quiet; what happened, by the index of the mark."""
    news = [(index, activity.process(LOUD if mark == "#" else QUIET, guarded)) for index, mark in enumerate(marks)]
    return [(index, each) for index, each in news if each is not None]


# -- the rules, frame by frame ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("###", [(2, Spoke(60.0))]),
        ("#.##", [(3, Spoke(80.0))]),
        ("##.#", [(3, Spoke(80.0))]),
        ("##..##..##", []),
        ("#.#.#.#.#", []),
        ("##", []),
    ],
)
def test_a_turn_begins_with_60_ms_of_voice_and_one_gap(marks: str, expected: list[tuple[int, Spoke]]) -> None:
    assert pattern(ear(), marks) == expected


@pytest.mark.parametrize(
    ("marks", "expected"),
    [("####", []), ("#####", [(4, Spoke(100.0))]), ("###.##", [(5, Spoke(120.0))]), ("###.#.##", [])],
)
def test_an_interruption_needs_more(marks: str, expected: list[tuple[int, Spoke]]) -> None:
    assert pattern(ear(), marks, guarded=True) == expected


def test_a_turn_ends_after_the_silence() -> None:
    activity = ear()
    assert pattern(activity, "###" + "." * 24) == [(2, Spoke(60.0))]
    assert activity.speaking
    assert pattern(activity, "." * 3) == [(0, Paused(500.0, forced=False))]
    assert not activity.speaking


def test_gaps_between_words_do_not_end_a_turn() -> None:
    assert pattern(ear(), "###" + ("." * 23 + "####") * 5) == [(2, Spoke(60.0))]


def test_a_lone_frame_does_not_keep_a_turn_open() -> None:
    assert pattern(ear(), "###" + ".........#" * 2 + "." * 5) == [(2, Spoke(60.0)), (27, Paused(500.0, forced=False))]


def test_a_turn_that_does_not_end_is_ended() -> None:
    assert pattern(ear(max_turn_ms=1000), "#" * 50) == [(2, Spoke(60.0)), (49, Paused(0.0, forced=True))]


def test_after_a_forced_end_the_same_sound_is_background() -> None:
    activity = ear(max_turn_ms=6000)
    chatter = "#########."
    assert pattern(activity, chatter * 30)[-1] == (299, Paused(20.0, forced=True))
    assert pattern(activity, chatter * 3) == []


def test_two_turns_are_two() -> None:
    turn = "####" + "." * 30
    kinds = [type(news) for _, news in pattern(ear(), turn + turn)]
    assert kinds == [Spoke, Paused, Spoke, Paused]


# -- the energy, whatever the scorer says -----------------------------------------------------------------


@pytest.mark.parametrize("rms", [0.001, 5, 50, 500])
def test_steady_hiss_never_stands_out(rms: float) -> None:
    activity = VoiceActivity(SLIN8, VadSettings(), AlwaysSpeech())
    assert [activity.process(frame) for frame in frames(noise(8000, 20, rms), SLIN8)] == [None] * 1000


def test_noise_that_begins_in_a_call_is_learnt_within_three_seconds() -> None:
    activity = VoiceActivity(SLIN8, VadSettings(), AlwaysSpeech())
    sound = np.concatenate((noise(8000, 2, LINE_NOISE_RMS), noise(8000, 8, 400)))
    happened = [(index * 20, activity.process(frame)) for index, frame in enumerate(frames(sound, SLIN8))]
    news = [(when, each) for when, each in happened if each is not None]
    assert [type(each) for _, each in news] == [Spoke, Paused]
    assert news[1][0] < 2000 + 3000


def test_an_interruption_must_be_louder() -> None:
    floor = noise(8000, 3, 100)
    slightly_louder = place(floor, noise(8000, 0.5, 260), 16000)
    for guarded, expected in ((False, True), (True, False)):
        activity = VoiceActivity(SLIN8, VadSettings(), AlwaysSpeech())
        heard = [activity.process(frame, guarded) for frame in frames(slightly_louder, SLIN8)]
        assert any(isinstance(news, Spoke) for news in heard) is expected


# -- real sound -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pink", [False, True])
@pytest.mark.parametrize("rms", [5, 50, 500])
def test_noise_does_not_begin_a_turn(rms: float, pink: bool) -> None:
    assert hear(noise(8000, 20, rms, pink)) == []


@pytest.mark.parametrize("click_ms", [5, 20, 40])
@pytest.mark.parametrize("kind", ["noise", "tone", "step"])
def test_a_click_does_not_begin_a_turn(kind: str, click_ms: int) -> None:
    seconds = click_ms / 1000
    click = {
        "noise": noise(8000, seconds, 8000),
        "tone": tone(8000, seconds, 800, 12000),
        "step": np.full(click_ms * 8, 15000.0),
    }[kind]
    for offset in range(0, 160, 10):
        assert hear(place(noise(8000, 2, LINE_NOISE_RMS), click, 8000 + offset)) == []


def test_a_dial_tone_does_not_hold_a_turn() -> None:
    sound = place(noise(8000, 10, LINE_NOISE_RMS), tone(8000, 7, 440), 16000)
    assert [news for _, news in hear(sound) if isinstance(news, Spoke)] == [Spoke(60.0)]
    assert hear(sound)[-1][0] < 2000 + 3000


@pytest.mark.parametrize("detector", ["webrtc", "silero"])
@pytest.mark.parametrize(("snr_db", "pink"), [(None, False), (20, False), (20, True), (10, False), (10, True)], ids=str)
@pytest.mark.parametrize(("text", "voice"), [("what are your opening hours", "slt"), ("transfer me to a human", "rms")])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_an_utterance_is_one_turn(
    detector: str, snr_db: int | None, pink: bool, text: str, voice: str, rate: int
) -> None:
    spoken = speech(text, rate, voice)
    starts_ms, ends_ms = 2000, 2000 + len(spoken) * 1000 / rate
    background = noise(rate, 7, LINE_NOISE_RMS if snr_db is None else ACTIVE_RMS / 10 ** (snr_db / 20), pink)
    happened = hear(place(background, spoken, 2 * rate), AudioFormat(rate), detector)
    assert [type(news) for _, news in happened] == [Spoke, Paused]
    (spoke_at, spoke), (paused_at, paused) = happened
    assert isinstance(spoke, Spoke)
    assert starts_ms < spoke_at <= starts_ms + 250
    assert starts_ms - 60 <= spoke_at - spoke.confirmed_ms <= starts_ms + 190
    assert ends_ms + 200 <= paused_at <= ends_ms + 700
    assert paused == Paused(500.0, forced=False)


def test_an_interruption_is_noticed_in_time() -> None:
    spoken = speech("no that's all goodbye", 8000)
    happened = hear(place(noise(8000, 6, LINE_NOISE_RMS), spoken, 16000), guarded=True)
    assert isinstance(happened[0][1], Spoke)
    assert happened[0][0] <= 2000 + 160
