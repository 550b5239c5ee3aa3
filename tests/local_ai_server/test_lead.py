"""Nobody waits for the silence before the first word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server.tts.flite import RATE, Flite
from local_ai_server.tts.lead import KEPT_MS, LeadingSilence

KEPT = RATE * KEPT_MS // 1000


def passed(sound: list[int], cuts: list[int]) -> list[int]:
    out: list[bytes] = []
    lead = LeadingSilence(lambda pcm: (out.append(pcm), True)[1], RATE)
    for piece in np.split(np.array(sound, "<i2"), sorted(cut % (len(sound) + 1) for cut in cuts)):
        assert lead(piece.tobytes())
    return np.frombuffer(b"".join(out), "<i2").tolist()  # type: ignore[no-any-return]


@given(st.integers(0, 3 * KEPT), st.lists(st.integers(0, 10_000), max_size=6))
def test_sound_begins_shortly_before_its_first_word_however_it_is_cut(silence: int, cuts: list[int]) -> None:
    word = [5000, -20, 0, 0, 7, 3000]
    assert passed([3] * silence + word, cuts) == [3] * min(silence, KEPT) + word


def test_nobody_listening_is_passed_back_in_the_silence_too() -> None:
    assert LeadingSilence(lambda pcm: False, RATE)(bytes(640)) is False


@pytest.mark.parametrize("voice", ["slt", "rms"])
def test_flite_is_heard_at_once(voice: str) -> None:
    out: list[bytes] = []
    flite = Flite()
    flite.speak(voice, "Hello there.", LeadingSilence(lambda pcm: (out.append(pcm), True)[1], RATE))
    loud = np.flatnonzero(np.abs(np.frombuffer(b"".join(out), "<i2").astype(int)) > 500)
    assert loud[0] / RATE < 0.1
