"""Piper's library with a voice of tones."""

import json
from pathlib import Path

import numpy as np
import pytest

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, SettingsError
from local_ai_server.tts.piper import Piper
from local_ai_server.tts.voices import voice_of
from local_ai_server.workers import WorkerPool
from tests.local_ai_server import tiny_voice

SENTENCES = "Hello there. We are open from nine to five."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_voice.piper(folder / "tts" / "amy", 16000)
    tiny_voice.piper(folder / "tts" / "bob", 22050)
    return folder


def speak(engine: Piper, voice: str, text: str, stop_after: int = 10**9) -> list[bytes]:
    pieces: list[bytes] = []

    def emit(pcm: bytes) -> bool:
        pieces.append(pcm)
        return len(pieces) < stop_after

    engine.speak(voice, text, emit)
    return pieces


@pytest.mark.parametrize(("voice", "rate"), [("amy", 16000), ("bob", 22050)])
def test_a_voice_has_its_own_rate(models: Path, voice: str, rate: int) -> None:
    engine = Piper(models, None, "auto")
    assert engine.prepare(voice) == rate
    pieces = speak(engine, voice, SENTENCES)
    sound = np.frombuffer(b"".join(pieces), "<i2")
    assert len(sound) % tiny_voice.SAMPLES == 0
    assert len(sound) > 30 * tiny_voice.SAMPLES
    assert np.abs(sound.astype(int)).max() > 20000
    assert max(map(len, pieces)) == rate // 10 * 2


def test_longer_text_is_longer_sound(models: Path) -> None:
    engine = Piper(models, "amy", "cpu")
    one, two = (sum(map(len, speak(engine, "amy", text))) for text in ("Hello there.", SENTENCES))
    assert one < two


def test_it_stops_when_nobody_listens(models: Path) -> None:
    engine = Piper(models, "amy", "cpu")
    assert len(speak(engine, "amy", SENTENCES, stop_after=1)) == 1
    assert len(speak(engine, "amy", SENTENCES)) > 2


def test_the_operators_voice_is_spoken_where_none_is_named(models: Path) -> None:
    engine = Piper(models, "bob", "cpu")
    assert voice_of(Agent("x"), "piper") == ("piper", "")
    assert engine.prepare("") == 22050


@pytest.mark.parametrize("voice", ["carl", "../amy", "amy/amy"])
def test_unknown_voices_are_refused(models: Path, voice: str) -> None:
    with pytest.raises(AgentError, match=f"piper:{voice} "):
        Piper(models, None, "cpu").prepare(voice)


def test_one_of_several_voices_must_be_named(models: Path) -> None:
    with pytest.raises(AgentError, match="say which: piper:amy, piper:bob"):
        Piper(models, None, "cpu").prepare("")


@pytest.mark.parametrize("text", ["", "...", "\u4f60\u597d", "\0", "\ud800", "a\nb\tc", "[[x]]", "[[", "<b>&amp;</b>"])
def test_odd_text_does_no_harm(models: Path, text: str) -> None:
    engine = Piper(models, "amy", "cpu")
    speak(engine, "amy", text)
    assert speak(engine, "amy", "Hello.")


@pytest.mark.parametrize(
    ("file", "content"), [("broken.onnx", b"no network"), ("broken.onnx.json", b"{"), ("broken.onnx.json", b"{}")]
)
def test_a_broken_voice_is_named(tmp_path: Path, file: str, content: bytes) -> None:
    folder = tiny_voice.piper(tmp_path / "tts" / "broken")
    (folder / file).write_bytes(content)
    with pytest.raises(SettingsError, match="piper cannot load the model in .*broken"):
        Piper(tmp_path, "broken", "cpu")


def test_a_voice_of_another_alphabet_is_refused_as_it_is_loaded(tmp_path: Path) -> None:
    folder = tiny_voice.piper(tmp_path / "tts" / "odd")
    described = folder / "odd.onnx.json"
    described.write_text(json.dumps({**json.loads(described.read_text()), "phoneme_type": "runes"}))
    with pytest.raises(AgentError, match="runes"):
        Piper(tmp_path, None, "cpu").prepare("odd")


def test_a_device_that_is_not_there_is_refused(models: Path) -> None:
    with pytest.raises(SettingsError, match="no CUDA device"):
        Piper(models, "amy", "cuda")


async def test_neural_voices_and_espeak_share_a_worker(models: Path) -> None:
    tiny_voice.kokoro(models / "tts" / "kokoro")
    rates = {"": 16000, "kokoro:af_heart": 24000, "espeak:de": 22050, "piper:bob": 22050, "slt": 16000}
    async with WorkerPool(1, "pocketsphinx", "piper:amy", models, "cpu") as pool:
        for voice, rate in [*rates.items(), *rates.items()]:
            agent = Agent("x", voice=voice)
            assert await pool.run("prepare", agent) == (16000, rate)
            assert len([pcm async for pcm in pool.stream("speak", agent, SENTENCES, True)]) > 1
        assert pool.replaced == 0
