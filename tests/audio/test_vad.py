"""Turns begin and end where the caller's do; clicks, tones and noise are not callers."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.audio.format import FRAME_MS, SLIN8, AudioFormat
from ai_engine.audio.speech import make_scorer
from ai_engine.audio.vad import Hesitated, News, Paused, Settled, Spoke, Stirred, VadSettings, VoiceActivity
from tests.audio.voices import ACTIVE_RMS, Sound, cough, frames, noise, place, speech, tone

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
    """With round figures, so that patterns are easy to read."""
    rounded = VadSettings(**{"barge_in_ms": 100, "word_ms": 200, "settle_ms": 200, **settings})  # type: ignore[arg-type]
    activity = VoiceActivity(SLIN8, rounded, LoudIsSpeech())
    for _ in range(25):
        assert activity.process(QUIET) is None
    return activity


def hear(
    sound: Sound, format: AudioFormat = SLIN8, detector: str = "webrtc", guarded: bool = False
) -> list[tuple[int, News]]:
    """What happened, each with the milliseconds that had been heard by then."""
    settings = VadSettings(detector=detector)
    activity = VoiceActivity(format, settings, make_scorer(format, settings))
    happened = []
    for number, frame in enumerate(frames(sound, format), start=1):
        news = activity.process(frame, guarded)
        if news is not None:
            happened.append((number * FRAME_MS, news))
    return happened


def pattern(activity: VoiceActivity, marks: str, guarded: bool = False) -> list[tuple[int, News]]:
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
def test_a_turn_begins_with_60_ms_of_voice_and_one_gap(marks: str, expected: list[tuple[int, News]]) -> None:
    assert pattern(ear(), marks) == expected


@pytest.mark.parametrize(
    ("marks", "expected"),
    [("####", []), ("#####", [(4, Stirred(100.0))]), ("###.##", [(5, Stirred(120.0))]), ("###.#.##", [])],
)
def test_an_interruption_needs_more(marks: str, expected: list[tuple[int, News]]) -> None:
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
    turn = "####" + "." * 80
    kinds = [type(news) for _, news in pattern(ear(), turn + turn)]
    assert kinds == [Spoke, Paused, Spoke, Paused]


# -- over the agent's voice ------------------------------------------------------------------------------


def judged(marks: str, **settings: int) -> list[tuple[int, News]]:
    """What came after the stirring at the fifth mark."""
    first, *rest = pattern(ear(**settings), marks, guarded=True)
    assert first == (4, Stirred(100.0))
    return rest


def test_what_goes_on_is_a_turn() -> None:
    activity = ear()
    assert pattern(activity, "#" * 25, guarded=True) == [(4, Stirred(100.0)), (24, Spoke(500.0))]
    assert activity.speaking
    assert pattern(activity, "." * 25) == [(24, Paused(500.0, forced=False))]


@pytest.mark.parametrize(
    ("marks", "word"),
    [
        ("#####" + "." * 10, False),
        ("#" * 9 + "." * 10, False),
        ("#" * 10 + "." * 10, True),
        ("#" * 24 + "." * 10, True),
    ],
)
def test_what_dies_settles_after_the_quiet(marks: str, word: bool) -> None:
    assert judged(marks) == [(len(marks) - 1, Settled(word, echo=False))]


def test_short_gaps_belong_to_what_stirs() -> None:
    assert judged("#####......#####......###") == [(24, Spoke(500.0))]


def test_long_gaps_do_not_count() -> None:
    """Words of 100 ms with gaps of 180 ms: the fifth word makes 500 ms of voice."""
    assert judged(("#####" + "." * 9) * 5) == [(4 * 14 + 4, Spoke(61 * 20.0))]


def test_clicks_do_not_keep_it_open() -> None:
    assert judged("#####....#....#.........") == [(15, Settled(word=False, echo=False))]


def test_after_it_settled_the_ear_listens_anew() -> None:
    cough_ = "#####.........."
    assert [type(each) for _, each in pattern(ear(), cough_ + cough_, guarded=True)] == [
        Stirred,
        Settled,
        Stirred,
        Settled,
    ]


@pytest.mark.parametrize(("marks", "expected"), [("#" * 20, Spoke(500.0)), ("." * 10, Settled(word=False, echo=False))])
def test_it_is_judged_in_the_same_way_when_the_agent_ends(marks: str, expected: News) -> None:
    activity = ear()
    pattern(activity, "#####", guarded=True)
    assert [each for _, each in pattern(activity, marks)] == [expected]


def test_forgetting_ends_what_stirs() -> None:
    activity = ear()
    pattern(activity, "#####", guarded=True)
    activity.forget()
    assert pattern(activity, "." * 20, guarded=True) == []


# -- is the caller done? ---------------------------------------------------------------------------------


def hesitant() -> VoiceActivity:
    """An ear in whose turn 200 ms of quiet have passed."""
    activity = ear(ask_model=True)
    assert pattern(activity, "###" + "." * 10) == [(2, Spoke(60.0)), (12, Hesitated(200.0))]
    return activity


def test_a_pause_is_asked_about_once() -> None:
    assert pattern(hesitant(), "." * 15) == [(14, Paused(500.0, forced=False))]


def test_every_pause_is_asked_about() -> None:
    assert pattern(hesitant(), "###" + "." * 10) == [(12, Hesitated(200.0))]


def test_without_a_model_nothing_is_asked() -> None:
    assert pattern(ear(), "###" + "." * 24) == [(2, Spoke(60.0))]


def test_who_is_done_does_not_wait() -> None:
    activity = hesitant()
    pattern(activity, "..")
    activity.judge(0.5)
    assert pattern(activity, ".") == [(0, Paused(260.0, forced=False))]


def test_who_is_not_done_is_given_time() -> None:
    activity = hesitant()
    activity.judge(0.49)
    assert pattern(activity, "." * 50) == [(49, Paused(1200.0, forced=False))]


def test_an_answer_that_comes_too_late_is_ignored() -> None:
    activity = hesitant()
    pattern(activity, "##")
    activity.judge(1.0)
    assert pattern(activity, "." * 9) == []
    activity.judge(1.0)
    assert pattern(activity, "." * 16) == [(0, Hesitated(200.0)), (15, Paused(500.0, forced=False))]
    activity.judge(1.0)
    assert pattern(activity, "###") == [(2, Spoke(60.0))]


def test_an_answer_holds_for_its_pause_only() -> None:
    activity = hesitant()
    activity.judge(0.1)
    assert pattern(activity, "###" + "." * 25) == [(12, Hesitated(200.0)), (27, Paused(500.0, forced=False))]


def test_a_fast_speaker_waits_less_and_a_slow_one_is_waited_for() -> None:
    fast, slow = ear(), ear()
    for _ in range(8):
        pattern(fast, ("#" * 12 + "." * 7) * 4 + "." * 90)
        pattern(slow, ("#" * 12 + "." * 23) * 4 + "." * 90)
    assert pattern(fast, "#" * 12 + "." * 17)[-1][1] == Paused(320.0, forced=False)
    assert pattern(slow, "#" * 12 + "." * 28)[-1][1] == Spoke(60.0)


def test_who_is_cut_off_is_cut_off_less() -> None:
    """A number dictated with pauses of 700 ms."""
    activity = ear()
    ends = [each for _, each in pattern(activity, ("#" * 12 + "." * 35) * 12) if isinstance(each, Paused)]
    assert 1 <= len(ends) <= 3


def test_what_is_forgotten_does_not_change_the_patience() -> None:
    activity = ear()
    pattern(activity, "#" * 60 + "." * 30)
    activity.forget()
    assert pattern(activity, "." * 90 + "###" + "." * 25)[-1] == (117, Paused(500.0, forced=False))


# -- whatever comes --------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.booleans(), st.booleans(), st.sampled_from([-math.inf, -50.0, -20.0])),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_news_comes_in_an_order_that_makes_sense(
    stretches: list[tuple[int, bool, bool, float]], chance: Random
) -> None:
    activity = VoiceActivity(SLIN8, VadSettings(ask_model=True, max_turn_ms=3000), LoudIsSpeech())
    follows: dict[type | None, set[type]] = {
        None: {Spoke, Stirred},
        Stirred: {Spoke, Settled},
        Settled: {Spoke, Stirred},
        Spoke: {Hesitated, Paused},
        Hesitated: {Hesitated, Paused},
        Paused: {Spoke, Stirred},
    }
    last: type | None = None
    for count, loud, guarded, sent_db in stretches:
        for _ in range(count):
            news = activity.process(LOUD if loud else QUIET, guarded, sent_db)
            if news is None:
                continue
            assert type(news) in follows[last]
            last = type(news)
            assert activity.speaking == (last in (Spoke, Hesitated))
            if isinstance(news, Hesitated):
                activity.judge(chance.random())
    assert 6 <= activity.echo_return_loss_db <= 45


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


@pytest.mark.parametrize("voice", ["slt", "rms", "awb"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_an_interruption_is_noticed_in_time(voice: str, rate: int) -> None:
    spoken = speech("no that's all goodbye", rate, voice)
    happened = hear(place(noise(rate, 6, LINE_NOISE_RMS), spoken, 2 * rate), AudioFormat(rate), guarded=True)
    (stirred_at, stirred), (spoke_at, spoke), *_ = happened
    assert isinstance(stirred, Stirred)
    assert stirred_at <= 2000 + 160
    assert isinstance(spoke, Spoke)
    assert spoke_at <= 2000 + 600
    assert 2000 - 60 <= spoke_at - spoke.confirmed_ms <= 2000 + 60


@pytest.mark.parametrize("seed", range(10))
def test_a_cough_is_not_a_word(seed: int) -> None:
    sound = place(noise(8000, 4, LINE_NOISE_RMS), cough(8000, 0.12, seed=seed), 16000 + 17 * seed)
    assert [news for _, news in hear(sound, guarded=True)][1:] == [Settled(word=False, echo=False)]


@pytest.mark.parametrize(
    ("text", "voice"), [("uh huh", "slt"), ("uh huh", "rms"), ("uh huh", "awb"), ("no", "slt"), ("yes", "rms")]
)
def test_a_word_is_a_word(text: str, voice: str) -> None:
    happened = hear(place(noise(8000, 4, LINE_NOISE_RMS), speech(text, 8000, voice), 16000), guarded=True)
    assert [news for _, news in happened][1:] == [Settled(word=True, echo=False)]


def test_a_sentence_over_the_agent_is_a_turn_however_it_begins() -> None:
    """Between "stop" and "please" flite is quiet for 220 ms: no longer than a word's end takes to settle."""
    for voice in ("slt", "rms", "awb"):
        spoken = speech("stop please tell me the price", 8000, voice)
        happened = hear(place(noise(8000, 6, LINE_NOISE_RMS), spoken, 16000), guarded=True)
        assert isinstance(happened[0][1], Stirred)
        assert happened[0][0] - happened[0][1].confirmed_ms <= 2000 + 220
        assert any(isinstance(news, Spoke) for at, news in happened if at <= 2000 + 1200)


@pytest.mark.parametrize("guarded", [False, True])
def test_nobody_speaks_for_five_minutes(guarded: bool) -> None:
    assert hear(np.tile(noise(8000, 30, LINE_NOISE_RMS), 10), guarded=guarded) == []
