"""The fakes' ear for the caller's turns."""

import pytest

from tests.fakes.energy_vad import EnergyVad, SpeechStarted, SpeechStopped
from tests.fakes.word_tones import spoken


def silence(ms: int, rate: int) -> bytes:
    return bytes(2 * rate * ms // 1000)


@pytest.mark.parametrize("rate", [8000, 24000])
@pytest.mark.parametrize("piece_bytes", [1, 317, 4096, 10**6])
def test_a_turn_is_where_the_samples_say_however_they_come(rate: int, piece_bytes: int) -> None:
    pcm = silence(200, rate) + spoken("one two three", rate) + silence(800, rate)
    vad = EnergyVad(rate)
    told = [one for at in range(0, len(pcm), piece_bytes) for one in vad.hear(pcm[at : at + piece_bytes])]
    assert told == [SpeechStarted(200, 260), SpeechStopped(760, 1260)]
    assert vad.heard_ms == 1600


def test_a_click_is_no_speech() -> None:
    vad = EnergyVad(8000)
    assert vad.hear(spoken("one", 8000)[: 2 * 8 * 40] + silence(1000, 8000)) == []


def test_whispers_are_no_speech() -> None:
    quiet = bytes([0x40, 0x00]) * 8000
    assert EnergyVad(8000).hear(quiet) == []


def test_a_pause_shorter_than_asked_for_ends_nothing() -> None:
    vad = EnergyVad(8000, silence_duration_ms=300)
    told = vad.hear(spoken("one", 8000) + silence(200, 8000) + spoken("two", 8000) + silence(300, 8000))
    assert told == [SpeechStarted(0, 60), SpeechStopped(560, 860)]


def test_it_goes_on_from_where_it_began_to_listen() -> None:
    assert EnergyVad(8000, heard_ms=1000).hear(spoken("one", 8000)) == [SpeechStarted(1000, 1060)]


def test_what_is_forgotten_has_no_end() -> None:
    vad = EnergyVad(8000)
    vad.hear(spoken("one", 8000))
    vad.forget()
    assert vad.hear(silence(1000, 8000)) == []
