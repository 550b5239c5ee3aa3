"""Both voice engines stream, stop when told to, and know their voices."""

import numpy as np
import pytest

from local_ai_server.agent import read_agent
from local_ai_server.errors import AgentError
from local_ai_server.tts.base import TextToSpeech
from local_ai_server.tts.espeak import Espeak
from local_ai_server.tts.flite import VOICES, Flite, plain_text
from local_ai_server.tts.voices import voice_of

SENTENCE = "We are open from nine to five, Monday to Friday, and on Saturday until noon."


@pytest.fixture(scope="module")
def engines() -> dict[str, TextToSpeech]:
    return {"flite": Flite(), "espeak": Espeak()}


def speak(engine: TextToSpeech, voice: str, text: str, stop_after: int = 10**9) -> list[bytes]:
    chunks: list[bytes] = []

    def emit(pcm: bytes) -> bool:
        chunks.append(pcm)
        return len(chunks) < stop_after

    engine.speak(voice, text, emit)
    return chunks


EVERY_VOICE = [*(("flite", voice, 16000) for voice in VOICES), ("espeak", "de", 22050), ("espeak", "en-us", 22050)]


@pytest.mark.parametrize(("engine", "voice", "rate"), EVERY_VOICE)
def test_a_voice_streams_at_its_rate(engines: dict[str, TextToSpeech], engine: str, voice: str, rate: int) -> None:
    assert engines[engine].prepare(voice) == rate
    chunks = speak(engines[engine], voice, SENTENCE)
    sound = np.frombuffer(b"".join(chunks), "<i2")
    assert len(chunks) > 20
    assert max(map(len, chunks)) <= rate * 2 * 0.3
    assert 3 < len(sound) / rate < 8
    assert np.abs(sound.astype(int)).max() > 3000


@pytest.mark.parametrize(("engine", "voice", "rate"), EVERY_VOICE)
def test_it_stops_when_nobody_listens(engines: dict[str, TextToSpeech], engine: str, voice: str, rate: int) -> None:
    assert len(speak(engines[engine], voice, SENTENCE, stop_after=2)) == 2
    assert len(speak(engines[engine], voice, "Hello there.")) > 2


@pytest.mark.parametrize(("engine", "voice"), [("flite", "bob"), ("flite", ""), ("espeak", "xx-yy")])
def test_unknown_voices_are_named(engines: dict[str, TextToSpeech], engine: str, voice: str) -> None:
    with pytest.raises(AgentError, match=f"voice '{voice}'"):
        engines[engine].prepare(voice)


@pytest.mark.parametrize("text", ["", "...", "\u4f60\u597d", "\0", "a\nb\tc", "50 \u20ac caf\u00e9", "<b>&amp;</b>"])
@pytest.mark.parametrize(("engine", "voice"), [("flite", "slt"), ("espeak", "de")])
def test_odd_text_does_no_harm(engines: dict[str, TextToSpeech], engine: str, voice: str, text: str) -> None:
    speak(engines[engine], voice, text)
    assert speak(engines[engine], voice, "Hello.")


def test_plain_text() -> None:
    assert plain_text("That\u2019s \u201eZo\u00eb\u201c \u2014\n ok\u2026") == "That's Zoe , ok."


@pytest.mark.parametrize(
    ("definition", "default", "expected"),
    [
        ({}, "flite", ("flite", "slt")),
        ({}, "espeak", ("espeak", "en-us")),
        ({"language": "de-DE"}, "flite", ("espeak", "de-de")),
        ({"language": "de-DE", "voice": "rms"}, "flite", ("flite", "rms")),
        ({"voice": "espeak:fr"}, "flite", ("espeak", "fr")),
        ({"voice": "piper:amy"}, "flite", ("piper", "amy")),
    ],
)
def test_which_voice_speaks(definition: dict[str, str], default: str, expected: tuple[str, str]) -> None:
    assert voice_of(read_agent({"name": "x", **definition}), default) == expected
