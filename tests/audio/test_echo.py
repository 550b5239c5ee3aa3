"""The agent does not interrupt itself, and its caller still can."""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.echo import EchoPath
from ai_engine.audio.energy import level_db
from ai_engine.audio.format import FRAME_MS, SLIN8
from ai_engine.audio.speech import make_scorer
from ai_engine.audio.vad import News, Settled, Spoke, Stirred, VadSettings, VoiceActivity
from tests.audio.voices import ACTIVE_RMS, Sound, cough, echo_path, frames, monologue, noise, speech

RATE = 8000
LINE_NOISE_RMS = 8.0
STOP = "no wait please stop i want to talk to a human about my last invoice"

# -- what the path says ----------------------------------------------------------------------------------


def sending(path: EchoPath, sent_db: float, heard_db: float, seconds: float = 0.02) -> None:
    for _ in range(round(seconds / 0.02)):
        path.follow(sent_db, heard_db)
        path.learn()


def test_the_bar_is_below_what_was_sent_by_the_loss() -> None:
    path = EchoPath(20.0)
    path.follow(-20.0, -60.0)
    assert path.bar_db == pytest.approx(-36)


def test_the_bar_outlasts_what_was_sent_for_half_a_second() -> None:
    path = EchoPath(20.0)
    path.follow(-20.0, -60.0)
    for _ in range(24):
        path.follow(-math.inf, -60.0)
        assert path.possible
        assert path.bar_db == pytest.approx(-36)
    path.follow(-math.inf, -60.0)
    assert not path.possible
    assert path.bar_db == -math.inf


def test_the_loss_rises_while_nothing_comes_back() -> None:
    path = EchoPath(20.0)
    sending(path, -20.0, -60.0, seconds=1)
    assert 22 <= path.loss_db <= 25
    sending(path, -20.0, -60.0, seconds=20)
    assert path.loss_db == pytest.approx(40)


def test_the_loss_is_never_more_than_what_is_seen() -> None:
    path = EchoPath(20.0)
    for _ in range(20):
        sending(path, -20.0, -60.0, seconds=0.98)
        sending(path, -20.0, -52.0)
    assert path.loss_db == pytest.approx(32)


def test_the_loss_falls_at_once_to_what_is_seen() -> None:
    path = EchoPath(40.0)
    sending(path, -20.0, -57.0, seconds=1)
    assert path.loss_db == pytest.approx(37)


@pytest.mark.parametrize("sent_db", [-math.inf, -45.0])
def test_what_is_hardly_sent_teaches_nothing(sent_db: float) -> None:
    path = EchoPath(20.0)
    sending(path, sent_db, -62.0, seconds=10)
    assert path.loss_db == 20


@given(st.lists(st.tuples(st.floats(-90, 0) | st.just(-math.inf), st.floats(-62, 0), st.booleans()), max_size=300))
def test_who_is_as_loud_as_we_are_is_always_above_the_bar(levels: list[tuple[float, float, bool]]) -> None:
    path = EchoPath(20.0)
    for index, (sent_db, heard_db, learn) in enumerate(levels):
        path.follow(sent_db, heard_db)
        loudest = max((sent for sent, _, _ in levels[max(0, index - 24) : index + 1]), default=-math.inf)
        assert path.bar_db <= max(loudest, -60) - 2
        if learn:
            path.learn()
        elif index % 7 == 0:
            path.explains(10, 5)
        assert 6 <= path.loss_db <= 45


# -- a call with an echo ---------------------------------------------------------------------------------


@cache
def agent(seconds: float = 30, voice: str = "rms") -> Sound:
    return monologue(RATE, seconds, voice)


@dataclass
class Call:
    """An agent that holds its breath when something stirs, and an ear that hears caller, echo and line noise."""

    sound: Sound
    echo: Sound
    caller: Sound = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    """Or as long as the agent speaks."""
    holds: bool = True
    loss_db: float = 20.0
    """As assumed when the call begins."""
    ear: VoiceActivity = field(init=False)

    def __post_init__(self) -> None:
        settings = VadSettings(echo_return_loss_db=self.loss_db)
        self.ear = VoiceActivity(SLIN8, settings, make_scorer(SLIN8, settings))
        self._said = frames(self.sound, SLIN8)
        self._lately = np.zeros(len(self.echo) - 1 + SLIN8.frame_samples)
        self._held = self._stopped = False

    def run(self) -> list[tuple[float, News]]:
        """All news, each with its second."""
        line = noise(RATE, self.seconds or len(self.sound) / RATE, LINE_NOISE_RMS)
        line[: len(self.caller)] += self.caller[: len(line)]
        happened = []
        for number, frame in enumerate(frames(line, SLIN8), start=1):
            news = self._tick(frame)
            if news is not None:
                happened.append((number * FRAME_MS / 1000, news))
        return happened

    def _tick(self, frame: bytes) -> News | None:
        speaks = not self._stopped and bool(self._said)
        sent = self._said.pop(0) if speaks and not self._held else SLIN8.silence()
        samples = np.frombuffer(sent, dtype="<i2").astype(np.float64)
        self._lately = np.concatenate((self._lately[len(samples) :], samples))
        returned = np.convolve(self._lately, self.echo, "valid")
        (heard,) = frames(np.frombuffer(frame, dtype="<i2") + returned, SLIN8)
        news = self.ear.process(heard, speaks, level_db(sent))
        if isinstance(news, Stirred):
            self._held = self.holds
        elif isinstance(news, Settled):
            self._held = False
        elif isinstance(news, Spoke):
            self._stopped = True
        return news


def kinds(happened: list[tuple[float, News]]) -> list[type]:
    return [type(news) for _, news in happened]


@pytest.mark.parametrize("voice", ["rms", "slt", "awb"])
@pytest.mark.parametrize(("delay_ms", "reverb_ms"), [(30, 0), (150, 60), (300, 100)])
@pytest.mark.parametrize("loss_db", [10, 12, 20, 30])
def test_the_agent_does_not_interrupt_itself(loss_db: float, delay_ms: float, reverb_ms: float, voice: str) -> None:
    sound = agent(voice=voice)
    call = Call(sound, echo_path(RATE, loss_db, delay_ms, reverb_ms, like=sound))
    happened = call.run()
    assert kinds(happened) in ([], [Stirred, Settled])
    assert all(news == Settled(word=False, echo=True) for _, news in happened[1:])
    assert loss_db - 4 <= call.ear.echo_return_loss_db <= loss_db + 3


def test_an_echo_as_bad_as_they_get_stirs_twice_at_most() -> None:
    sound = agent(voice="slt")
    happened = Call(sound, echo_path(RATE, 6, 350, 60, like=sound)).run()
    assert kinds(happened) in ([Stirred, Settled], [Stirred, Settled] * 2)


def test_a_line_without_echo_is_learned() -> None:
    call = Call(agent(), np.zeros(1))
    assert call.run() == []
    assert call.ear.echo_return_loss_db > 38


def falls_in(at: float, text: str, db: float = 0.0, voice: str = "slt") -> Sound:
    """A caller who begins at ``at`` seconds, ``db`` louder than the agent."""
    return np.concatenate((np.zeros(int(at * RATE)), speech(text, RATE, voice) * 10 ** (db / 20)))


@pytest.mark.parametrize("at", [5.0, 6.1, 7.3, 8.9])
@pytest.mark.parametrize(("delay_ms", "reverb_ms"), [(40, 0), (150, 60), (300, 100)])
def test_who_talks_over_a_speakerphone_is_heard(at: float, delay_ms: float, reverb_ms: float) -> None:
    sound = agent(14)
    happened = Call(sound, echo_path(RATE, 10, delay_ms, reverb_ms, like=sound), falls_in(at, STOP)).run()
    stirred = [when for when, news in happened if isinstance(news, Stirred) and when > at]
    spoke = [when for when, news in happened if isinstance(news, Spoke)]
    assert stirred[0] <= at + 0.3
    assert at < spoke[0] <= at + 1.5


@pytest.mark.parametrize("loss_db", [30, 40, 99])
def test_a_quiet_caller_is_heard_where_there_is_little_echo(loss_db: float) -> None:
    sound = agent(14)
    whisper = falls_in(6.0, STOP, db=-30 - 20 * math.log10(ACTIVE_RMS / 32768))
    happened = Call(sound, echo_path(RATE, loss_db, 150, 60, like=sound), whisper).run()
    assert isinstance(happened[0][1], Stirred)
    assert happened[0][0] <= 6.0 + 0.3
    assert Spoke in kinds(happened)


def test_who_fell_in_with_the_agent_is_not_locked_out() -> None:
    """A word that begins just after the agent does looks like its echo; what was learned from it wears off."""
    happened = Call(agent(14), np.zeros(1), falls_in(6.0, STOP, db=-6), loss_db=6.0).run()
    assert isinstance(happened[0][1], Stirred)
    assert happened[0][0] <= 6.0 + 0.3


@pytest.mark.parametrize(("at", "voice"), [(0.3, "awb"), (0.6, "awb"), (0.1, "slt"), (0.3, "slt")])
def test_a_word_as_loud_as_the_agent_that_begins_with_it_is_no_echo(at: float, voice: str) -> None:
    happened = Call(agent(3), np.zeros(1), falls_in(at, "no", voice=voice)).run()
    assert [news for _, news in happened][1:] == [Settled(word=True, echo=False)]


def test_a_cough_over_the_agent_is_no_echo() -> None:
    coughs = np.concatenate([np.concatenate((np.zeros(RATE * 3), cough(RATE, 0.12, seed=seed))) for seed in range(4)])
    call = Call(agent(14), np.zeros(1), coughs)
    happened = call.run()
    assert [news for _, news in happened if not isinstance(news, Stirred)] == [Settled(word=False, echo=False)] * 4
    assert call.ear.echo_return_loss_db > 30


def test_a_caller_is_heard_even_if_the_agent_does_not_hold_its_breath() -> None:
    sound = agent(14)
    call = Call(sound, echo_path(RATE, 30, 150, 0, like=sound), falls_in(6.0, STOP), holds=False)
    happened = call.run()
    assert kinds(happened)[0] is Stirred
    assert any(isinstance(news, Spoke) and when < 6 + 2 for when, news in happened)


def test_the_last_words_of_the_agent_do_not_begin_a_turn() -> None:
    """Their echo comes when the agent is done, and nothing is guarded any more."""
    sound = agent(6)
    assert Call(sound, echo_path(RATE, 20, 300, 60, like=sound), seconds=7).run() == []
