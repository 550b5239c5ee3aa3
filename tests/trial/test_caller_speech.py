"""The caller's words as sound."""

import wave
from pathlib import Path

import numpy as np
import pytest

from scripts.trial import speech
from scripts.trial.rootfs import TrialError
from scripts.trial.speech import synthesize


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "SPEECH", tmp_path / "speech")


def test_words_become_sound_at_the_asked_rate() -> None:
    with wave.open(str(synthesize("What are your opening hours?"))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2)
        seconds = sound.getnframes() / 8000
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
    assert 1 < seconds < 4
    assert 3000 < np.abs(pcm.astype(int)).max() < 32767


def test_the_same_words_are_made_once() -> None:
    first = synthesize("Goodbye.")
    made = first.stat().st_mtime_ns
    assert synthesize("Goodbye.") == first
    assert first.stat().st_mtime_ns == made
    assert synthesize("Goodbye.", voice="awb") != first
    assert {path.suffix for path in first.parent.iterdir()} == {".wav"}


def test_words_that_begin_with_a_dash_are_words() -> None:
    assert synthesize("--help").exists()


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(TrialError, match="nobody"):
        synthesize("Hello.", voice="nobody")
