"""Pitches, keys and G.722, with sound whose content is known."""

import numpy as np
import pytest

from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from scripts.trial.measure import TELEPHONE_EVENT, Pcm, RtpPacket, keys, level_dbfs, likeness, pitches, tones
from tests.fakes.tone_agent import OUTPUT_RATE, Clause, sweep, swept
from tests.fakes.tone_agent import tones as sing


def pcm_of(*clauses: Clause) -> Pcm:
    return np.frombuffer(b"".join(clause.pcm for clause in clauses), "<i2")


def test_tones_are_found_in_order_with_their_lengths() -> None:
    found = tones(pcm_of(sing(500, 1200, 5500)), OUTPUT_RATE)
    assert [tone.hz for tone in found] == pytest.approx([500, 1200, 5500], abs=3)
    assert [tone.end - tone.start for tone in found] == pytest.approx([0.25] * 3, abs=0.03)
    assert found[1].start == pytest.approx(0.25, abs=0.02)


def test_tones_are_as_loud_as_speech_should_be_and_survive_g711() -> None:
    wide = pcm_of(sing(700))
    assert level_dbfs(wide) == pytest.approx(-20, abs=0.5)
    narrow = np.frombuffer(ulaw_to_pcm(pcm_to_ulaw(wide[::2].tobytes())), "<i2")
    assert [tone.hz for tone in tones(narrow)] == pytest.approx([700], abs=3)


def test_the_pitch_of_a_sweep_tells_how_much_of_it_went_by() -> None:
    found = pitches(pcm_of(*sweep(10)), OUTPUT_RATE)
    assert len(found) > 990
    assert max(abs(swept(pitch.hz) - pitch.at) for pitch in found) < 0.02


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 8000).astype(np.int16)
    assert pitches(noise) == []
    assert pitches(np.zeros(8000, np.int16)) == []
    assert pitches(np.zeros(10, np.int16)) == []


def test_keys_are_counted_once_however_many_packets_they_take() -> None:
    def packet(timestamp: int, event: int) -> RtpPacket:
        return RtpPacket(0.0, 1, 2, 0, timestamp, TELEPHONE_EVENT, bytes([event, 0x0A, 0, 0]))

    assert keys([packet(160, 7), packet(160, 7), packet(900, 11), packet(900, 11)]) == "7#"


def test_likeness_knows_a_part_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    whole = rng.normal(0, 3000, 8000).astype(np.int16)
    assert likeness(whole, whole[1000:3000]) > 0.99
    assert likeness(whole, rng.normal(0, 3000, 2000).astype(np.int16)) < 0.2
