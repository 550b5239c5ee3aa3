"""The scorers know a voice from silence and noise, at the rates they say."""

import numpy as np
import pytest

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.silero import SileroScorer
from ai_engine.audio.speech import WebRtcScorer, make_scorer
from ai_engine.audio.vad import VadSettings
from tests.audio.voices import frames, noise, place, speech

RATES = [8000, 16000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("detector", ["webrtc", "silero"])
def test_hears_speech_and_nothing_else(detector: str, rate: int) -> None:
    format = AudioFormat(rate)
    spoken = speech("what are your opening hours", rate)
    start, end = rate, rate + len(spoken)
    scorer = make_scorer(format, VadSettings(detector=detector))
    sound = place(noise(rate, 4, rms=5), spoken, start)
    scores = np.array([scorer.is_speech(frame) for frame in frames(sound, format)])
    first, last = start // format.frame_samples, end // format.frame_samples
    assert scores[first + 5 : last - 5].mean() > 0.8
    assert not scores[20 : first - 1].any()
    assert not scores[last + 25 :].any()


def test_silero_is_not_fooled_by_a_loud_hiss() -> None:
    scorer = SileroScorer(AudioFormat(8000))
    assert not any(scorer.is_speech(frame) for frame in frames(noise(8000, 2, rms=1500), AudioFormat(8000)))


def test_silero_does_not_need_whole_chunks() -> None:
    """20 ms frames and 32 ms chunks meet every 160 ms; between verdicts the last one stands."""
    scorer = SileroScorer(AudioFormat(8000))
    heard = [scorer.is_speech(frame) for frame in frames(speech("hello there", 8000), AudioFormat(8000))]
    assert any(heard)
    assert isinstance(heard[0], bool)


@pytest.mark.parametrize(("scorer", "rate"), [(WebRtcScorer, 24000), (SileroScorer, 24000), (SileroScorer, 48000)])
def test_refuses_a_rate_it_does_not_know(scorer: type[WebRtcScorer | SileroScorer], rate: int) -> None:
    with pytest.raises(ValueError, match=f"{rate} Hz"):
        scorer(AudioFormat(rate))


def test_refuses_a_detector_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="'crystal ball'"):
        make_scorer(AudioFormat(8000), VadSettings(detector="crystal ball"))
