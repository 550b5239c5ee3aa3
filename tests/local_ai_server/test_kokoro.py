"""Kokoro's library with a model of tones."""

from pathlib import Path

import numpy as np
import pytest

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, SettingsError
from local_ai_server.tts.kokoro import RATE, Kokoro
from local_ai_server.tts.voices import voice_of
from tests.local_ai_server import tiny_voice

SENTENCE = "We are open from nine to five, Monday to Friday."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Kokoro:
    models = tmp_path_factory.mktemp("models")
    tiny_voice.kokoro(models / "tts" / "kokoro")
    return Kokoro(models, None, "auto")


def speak(engine: Kokoro, voice: str, text: str, stop_after: int = 10**9) -> list[bytes]:
    pieces: list[bytes] = []

    def emit(pcm: bytes) -> bool:
        pieces.append(pcm)
        return len(pieces) < stop_after

    engine.speak(voice, text, emit)
    return pieces


def loudness(pieces: list[bytes]) -> int:
    return int(np.abs(np.frombuffer(b"".join(pieces), "<i2").astype(int)).max())


def test_each_voice_speaks_with_its_own_style(engine: Kokoro) -> None:
    spoken = [speak(engine, voice, SENTENCE) for voice in tiny_voice.KOKORO_VOICES]
    assert [round(loudness(pieces) / 32767, 2) for pieces in spoken] == [0.2, 0.4, 0.6]
    for pieces in spoken:
        assert len(pieces) > 3
        assert max(map(len, pieces)) == RATE // 10 * 2


def test_a_language_has_its_own_sounds(engine: Kokoro) -> None:
    american, french = (b"".join(speak(engine, voice, SENTENCE)) for voice in ("af_heart", "ff_siwis"))
    assert len(american) != len(french)


def test_it_stops_when_nobody_listens(engine: Kokoro) -> None:
    assert len(speak(engine, "af_heart", SENTENCE, stop_after=1)) == 1


def test_who_names_no_voice_hears_the_first(engine: Kokoro) -> None:
    assert engine.prepare("") == RATE
    assert speak(engine, "", SENTENCE) == speak(engine, "af_heart", SENTENCE)
    assert voice_of(Agent("x"), "kokoro") == ("kokoro", "")
    assert voice_of(Agent("x", language="de-DE"), "kokoro") == ("espeak", "de-de")


def test_unknown_voices_are_named(engine: Kokoro) -> None:
    with pytest.raises(AgentError, match=r"kokoro voice 'bob'; known are af_heart, bm_george, ff_siwis"):
        engine.prepare("bob")


@pytest.mark.parametrize("text", ["", "...", "\u4f60\u597d", "\0", "\ud800", "a\nb\tc", "[[x]]", "<b>&amp;</b>"])
def test_odd_text_does_no_harm(engine: Kokoro, text: str) -> None:
    speak(engine, "af_heart", text)
    assert speak(engine, "af_heart", "Hello.")


@pytest.mark.parametrize("file", ["kokoro.onnx", "voices.bin"])
def test_a_broken_model_is_named(tmp_path: Path, file: str) -> None:
    folder = tiny_voice.kokoro(tmp_path / "tts" / "kokoro")
    (folder / file).write_bytes(b"broken")
    with pytest.raises(SettingsError, match="kokoro cannot load the model in .*kokoro"):
        Kokoro(tmp_path, None, "cpu")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="scripts/fetch_models tts kokoro"):
        Kokoro(tmp_path, None, "cpu")
