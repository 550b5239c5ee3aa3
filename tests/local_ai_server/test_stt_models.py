"""Speech-to-text backends that load a model of the operator's: real libraries on tiny models (tiny_models.py).

Not run here, for want of a model that small: Vosk beyond its refusal of a folder, sherpa's Whisper and Moonshine beyond
theirs, and anything on a GPU.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from local_ai_server import backends, models
from local_ai_server.agent import read_agent
from local_ai_server.config import read_settings
from local_ai_server.crew import Crew
from local_ai_server.errors import AgentError, JobFailed, SettingsError
from local_ai_server.llm.intents import Intents
from local_ai_server.protocol import Backends
from local_ai_server.stt import sherpa, vosk, whisper
from local_ai_server.stt.base import SpeechToText, Transcript
from local_ai_server.workers import WorkerPool
from tests.local_ai_server import tiny_models, tiny_onnx
from tests.local_ai_server.phone_speech import caller

ENGLISH = read_agent({"name": "x"})
GERMAN = read_agent({"name": "x", "language": "de-DE"})

FILES: dict[str, tuple[str, ...]] = {
    "vosk": ("am/final.mdl", "conf/model.conf", "conf/mfcc.conf", "graph/HCLr.fst", "graph/Gr.fst"),
    "whisper": ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"),
    "sherpa": ("tokens.txt", "encoder.onnx", "decoder.onnx", "joiner.onnx"),
}
PACKAGES = {"vosk": "vosk", "whisper": "faster_whisper", "sherpa": "sherpa_onnx"}
NAMED = {
    "tokens.txt": "tokens.txt (or *-tokens.txt)",
    "encoder.onnx": "*encoder*.onnx",
    "decoder.onnx": "*decoder*.onnx",
}
NAMED |= {"am/final.mdl": "am/final.mdl (or final.mdl)", "conf/mfcc.conf": "conf/mfcc.conf (or conf/fbank.conf)"}
NAMED |= {"graph/HCLr.fst": "graph/HCLG.fst (or graph/HCLr.fst)"}
NAMED |= {"vocabulary.json": "vocabulary.json (or vocabulary.txt)"}
LEFT_OUT = [(backend, file) for backend, files in FILES.items() for file in files if file != "joiner.onnx"]
"""Without a joiner a transducer's files are those of a Whisper model; what they are is seen when they are loaded."""


def stub(folder: Path, files: tuple[str, ...]) -> Path:
    """A folder that has every file it should, with junk in it."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"junk")
    return folder


def noise() -> bytes:
    """Two seconds of hiss."""
    return np.random.default_rng(1).normal(0, 3000, 32000).astype("<i2").tobytes()


def hum() -> bytes:
    """Two seconds of a tone: it has a pitch, and nobody speaks."""
    return (np.sin(np.arange(32000) * 2 * np.pi * 200 / 16000) * 6000).astype("<i2").tobytes()


def load(backend: str, folder: Path, device: str = "auto") -> SpeechToText:
    return backends.STT[backend](folder, "tiny", device)


# what is missing


@pytest.mark.parametrize(("backend", "file"), LEFT_OUT)
def test_a_missing_file_is_named_with_what_fetches_it(tmp_path: Path, backend: str, file: str) -> None:
    folder = stub(tmp_path / "stt" / "mine", FILES[backend])
    backends.check("stt", f"{backend}:mine", tmp_path)
    (folder / file).unlink()
    with pytest.raises(SettingsError) as refusal:
        backends.check("stt", f"{backend}:mine", tmp_path)
    assert str(refusal.value) == (
        f"{backend}:mine lacks the file {folder / NAMED.get(file, file)};"
        f" `scripts/fetch_models stt {backend}:mine` fetches it"
    )


def test_other_shapes_a_model_may_have(tmp_path: Path) -> None:
    stub(tmp_path / "stt" / "flat", ("final.mdl", "mfcc.conf", "HCLr.fst"))
    backends.check("stt", "vosk:flat", tmp_path)
    stub(tmp_path / "stt" / "old", ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"))
    backends.check("stt", "whisper:old", tmp_path)
    folder = stub(
        tmp_path / "stt" / "shine", ("tokens.txt", "encode.int8.onnx", "preprocess.onnx", "cached_decode.onnx")
    )
    with pytest.raises(SettingsError, match=rf"sherpa:shine lacks the file {folder}/uncached_decode\*\.onnx;"):
        backends.check("stt", "sherpa:shine", tmp_path)
    with pytest.raises(SettingsError, match=f"vosk:gone lacks the file {tmp_path}/stt/gone/am/final.mdl"):
        backends.check("stt", "vosk:gone", tmp_path)


@pytest.mark.parametrize(("backend", "package"), PACKAGES.items())
def test_a_missing_package_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, package: str
) -> None:
    stub(tmp_path / "stt" / "mine", FILES[backend])
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(SettingsError) as refusal:
        backends.check("stt", f"{backend}:mine", tmp_path)
    assert str(refusal.value) == (
        f"{backend} needs the Python package {package}; `pip install 'offhook[{backend}]'` installs it"
    )


def test_without_a_name_there_must_be_one_model(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        backends.check("stt", "whisper", tmp_path)
    assert str(refusal.value) == (
        f"there is no whisper model, {tmp_path}/stt/NAME with model.bin, config.json, tokenizer.json, vocabulary.json"
        " or vocabulary.txt; `scripts/fetch_models stt whisper:NAME` fetches one"
    )
    stub(tmp_path / "stt" / "en", FILES["vosk"])
    first = stub(tmp_path / "stt" / "base.en", FILES["whisper"])
    assert models.model_folder(tmp_path, "stt", "whisper", None) == first
    stub(tmp_path / "stt" / "small", FILES["whisper"])
    with pytest.raises(SettingsError) as refusal:
        backends.check("stt", "whisper", tmp_path)
    assert str(refusal.value) == (
        f"there are several whisper models in {tmp_path}/stt; say which: whisper:base.en, whisper:small"
    )


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".hidden", "-x", "a b", "/etc"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="is no model: a name is"):
        models.model_folder(tmp_path, "stt", "whisper", name)


def test_a_file_of_a_model(tmp_path: Path) -> None:
    folder = stub(tmp_path / "llm" / "mine", ("b.gguf", "a.gguf"))
    assert models.model_file(tmp_path, "llm", "llama", "mine", "*.gguf") == folder / "a.gguf"
    with pytest.raises(SettingsError, match=r"llama:mine lacks the file .*/llm/mine/template.txt; `scripts/fetch"):
        models.model_file(tmp_path, "llm", "llama", "mine", "template.txt")


def test_what_is_built_in_takes_no_name(tmp_path: Path) -> None:
    assert backends.parse("pocketsphinx") == ("pocketsphinx", None)
    assert backends.parse("whisper:base.en") == ("whisper", "base.en")
    with pytest.raises(SettingsError, match="pocketsphinx has its model built in and takes no name"):
        backends.check("stt", "pocketsphinx:en", tmp_path)


def test_settings(tmp_path: Path) -> None:
    tiny_models.whisper(tmp_path / "stt" / "tiny")
    settings = read_settings(["--stt", "whisper:tiny", "--device", "cpu"], {"LOCAL_AI_MODELS": str(tmp_path)})
    assert (settings.stt, settings.models, settings.device) == ("whisper:tiny", tmp_path, "cpu")
    with pytest.raises(SettingsError, match=r"^LOCAL_AI_STT: whisper:small lacks the file .*/stt/small/model\.bin"):
        read_settings(["--models", str(tmp_path)], {"LOCAL_AI_STT": "whisper:small"})
    with pytest.raises(SettingsError, match="--device must be one of auto, cpu, cuda, not 'tpu'"):
        read_settings(["--device", "tpu"], {})


async def test_the_program_refuses_before_it_starts_anything(tmp_path: Path) -> None:
    command = ("-m", "local_ai_server", "--port", "0", "--stt", "vosk:en", "--models", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, said = await process.communicate()
    assert process.returncode == 2
    assert out == b""  # no worker told of itself
    assert said.decode() == (
        f"local_ai_server: --stt: vosk:en lacks the file {tmp_path}/stt/en/am/final.mdl (or final.mdl);"
        " `scripts/fetch_models stt vosk:en` fetches it\n"
    )


# whisper


@pytest.fixture(scope="module")
def whisper_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.whisper(folder / "stt" / "tiny")
    return folder


@pytest.fixture(scope="module")
def tiny_whisper(whisper_models: Path) -> Iterator[SpeechToText]:
    made = load("whisper", whisper_models)
    yield made
    made.close()


def test_whisper_hears_something_in_speech_and_nothing_else_in_nothing_else(tiny_whisper: SpeechToText) -> None:
    for brief in (False, True):
        for said in ("when are you open", "stop"):
            heard = tiny_whisper.transcribe(ENGLISH, caller(said, "rms"), brief=brief)
            assert heard.text
            assert 0.1 < heard.confidence < 1
        for sound in (b"", b"\0\0", bytes(64000), noise(), hum()):
            assert tiny_whisper.transcribe(ENGLISH, sound, brief=brief) == Transcript("", 0.0)


def test_whisper_is_asked_for_the_agents_language(tiny_whisper: SpeechToText) -> None:
    tiny_whisper.prepare(ENGLISH)
    with pytest.raises(AgentError, match="whisper:tiny does not know the language 'de-DE'; it knows en"):
        tiny_whisper.prepare(GERMAN)


def test_whisper_looks_for_nothing_on_the_network(tiny_whisper: SpeechToText) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - imported by the library, after the backend has had its say

    assert (constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY) == (True, True)


def test_words_that_whisper_takes_for_no_speech_are_none(tmp_path: Path) -> None:
    tiny_models.whisper(tmp_path / "stt" / "tiny", hears_speech=False)
    assert load("whisper", tmp_path).transcribe(ENGLISH, caller("when are you open", "rms")) == Transcript("", 0.0)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_not_used(whisper_models: Path) -> None:
    assert isinstance(made := load("whisper", whisper_models, "auto"), backends.Describable)
    assert made.device == "cpu"
    with pytest.raises(SettingsError, match="whisper finds no CUDA device here; --device auto"):
        load("whisper", whisper_models, "cuda")


def test_a_damaged_whisper_model_is_explained(tmp_path: Path) -> None:
    folder = tiny_models.whisper(tmp_path / "stt" / "tiny")
    for file in ("tokenizer.json", "model.bin"):
        (folder / file).write_bytes(b"\0\0\0\0junk")
        with pytest.raises(SettingsError) as refusal:
            load("whisper", tmp_path)
        said = str(refusal.value)
        assert said.startswith(f"whisper cannot load the model in {folder} (")
        assert said.endswith("remove the folder and `scripts/fetch_models stt whisper:tiny` fetches it anew")


@dataclass
class Segment:
    text: str = " hello"
    start: float = 0.0
    end: float = 1.0
    avg_logprob: float = -0.1
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.8


def test_what_whisper_is_unsure_of_is_left_out() -> None:
    assert whisper.transcript_of([Segment(), Segment(" Stop.", 1.0, 3.0, -0.7)]) == Transcript("hello Stop.", 0.633)
    assert whisper.transcript_of([Segment(no_speech_prob=0.9)]).text == "hello"  # it is sure of the word
    assert whisper.transcript_of([Segment(no_speech_prob=0.9, avg_logprob=-0.6)]) == Transcript("", 0.0)
    assert whisper.transcript_of([Segment(" la la la la la la la la", compression_ratio=2.5)]) == Transcript("", 0.0)
    assert whisper.transcript_of([]) == Transcript("", 0.0)


# vosk


def test_what_is_no_vosk_model_is_explained(tmp_path: Path) -> None:
    folder = stub(tmp_path / "stt" / "tiny", FILES["vosk"])
    with pytest.raises(SettingsError) as refusal:
        load("vosk", tmp_path)
    assert str(refusal.value) == (
        f"vosk cannot load the model in {folder} (Failed to create a model); where its files are damaged, remove the"
        " folder and `scripts/fetch_models stt vosk:tiny` fetches it anew"
    )


def test_results_as_voskapi_h_shows_them() -> None:
    result = {
        "result": [
            {"conf": 1.0, "end": 1.11, "start": 0.87, "word": "what"},
            {"conf": 0.6, "end": 1.53, "start": 1.11, "word": "zero"},
            {"conf": 0.2, "end": 1.83, "start": 1.53, "word": "[unk]"},
        ],
        "text": "what zero [unk]",
    }
    assert vosk.read_result(json.dumps(result)) == Transcript("what zero", 0.8)
    assert vosk.read_result('{"text" : ""}') == Transcript("", 0.0)


# sherpa


def has_letters(text: str) -> bool:
    return len(text.split()) > 3 and text == text.lower()


@pytest.mark.parametrize(
    ("make", "is_right"),
    [
        (tiny_models.streaming_transducer, has_letters),
        (tiny_models.offline_transducer, has_letters),
        (tiny_models.paraformer, lambda text: "hello" in text and "world" in text),
    ],
)
def test_sherpa_hears_with_any_kind_of_model(
    tmp_path: Path, make: Callable[[Path], Path], is_right: Callable[[str], bool]
) -> None:
    make(tmp_path / "stt" / "tiny")
    made = load("sherpa", tmp_path)
    made.prepare(GERMAN)
    heard = made.transcribe(GERMAN, caller("when are you open", "rms"))
    assert is_right(heard.text), heard
    assert 0 < heard.confidence <= 1
    for sound in (b"", bytes(64000), noise()):
        assert made.transcribe(GERMAN, sound) == Transcript("", 0.0)
    made.close()


def test_sherpa_is_asked_for_the_agents_language(tmp_path: Path) -> None:
    tiny_models.sense_voice(tmp_path / "stt" / "tiny")
    made = load("sherpa", tmp_path)
    for language, text in (("en-US", "en"), ("ja-JP", "ja"), ("en-GB", "en")):
        heard = made.transcribe(read_agent({"name": "x", "language": language}), caller("when are you open", "rms"))
        assert heard.text == text
    with pytest.raises(
        AgentError, match="sherpa:tiny does not know the language 'de-DE'; it knows zh, en, ja, ko, yue"
    ):
        made.prepare(GERMAN)


def test_sherpa_takes_small_weights_for_the_cpu(tmp_path: Path) -> None:
    folder = tiny_models.paraformer(tmp_path / "stt" / "tiny")
    (folder / "model.onnx").rename(folder / "model.int8.onnx")
    (folder / "model.onnx").write_bytes(b"junk")
    assert load("sherpa", tmp_path).transcribe(ENGLISH, caller("stop", "rms")).text


@pytest.mark.parametrize(
    "files",
    [
        ("tokens.txt", "model.onnx"),
        ("tokens.txt", "encoder.onnx", "decoder.onnx", "joiner.onnx"),
        ("tiny-tokens.txt", "tiny-encoder.onnx", "tiny-decoder.onnx"),
        ("tokens.txt", "preprocess.onnx", "encode.int8.onnx", "uncached_decode.int8.onnx", "cached_decode.int8.onnx"),
    ],
)
def test_what_is_no_sherpa_model_is_explained(tmp_path: Path, files: tuple[str, ...]) -> None:
    folder = stub(tmp_path / "stt" / "tiny", files)
    with pytest.raises(SettingsError) as refusal:
        load("sherpa", tmp_path)
    said = str(refusal.value)
    assert said.startswith(f"sherpa cannot load the model in {folder} (")
    assert said.endswith("remove the folder and `scripts/fetch_models stt sherpa:tiny` fetches it anew")


def test_a_model_of_another_kind_is_not_tried(tmp_path: Path) -> None:
    folder = tiny_models.offline_transducer(tmp_path / "stt" / "tiny")
    (folder / "joiner-epoch-1.onnx").unlink()
    with pytest.raises(SettingsError, match="sherpa:tiny is an encoder and a decoder of the type 'zipformer2', which"):
        load("sherpa", tmp_path)
    node = tiny_onnx.Node("Identity", ["audio_signal"], ["logprobs"])
    shaped = ("float32", ["N", "T"])
    folder = stub(tmp_path / "stt" / "ctc", ("tokens.txt",))
    tiny_onnx.write(folder / "model.onnx", [node], {"audio_signal": shaped}, {"logprobs": shaped}, {}, {})
    with pytest.raises(
        SettingsError, match="sherpa:ctc is a model of the inputs audio_signal, which this server cannot"
    ):
        sherpa.Sherpa(tmp_path, "ctc", "cpu")


# all of it


async def test_a_worker_process_hears_with_whisper_and_health_tells_of_it(whisper_models: Path) -> None:
    async with asyncio.timeout(30), WorkerPool(1, "whisper", "flite", whisper_models, "cpu") as pool:
        assert await pool.run_everywhere("prepare", ENGLISH) == [(16000, 16000)]
        heard = await pool.run("transcribe", ENGLISH, caller("when are you open", "rms", rate=8000), 8000, False)
        assert heard.text
        with pytest.raises(AgentError, match="whisper:tiny does not know the language"):
            await pool.run("prepare", GERMAN)
        model, card = backends.load("llm", backends.LLM, "intents", whisper_models, "cpu")
        assert isinstance(model, Intents)
        crew = Crew(Backends("whisper", "intents", "flite"), pool, model, card)
        told = json.loads(json.dumps({kind: asdict(card) for kind, card in crew.cards.items()}))
    assert told["stt"].pop("load_seconds") > 0
    assert told["stt"] == {
        "name": "whisper",
        "folder": str(whisper_models / "stt" / "tiny"),
        "device": "cpu",
        "languages": ["en"],
    }
    assert told["tts"]["name"] == "flite"
    assert told["tts"]["folder"] is None
    assert told["llm"]["name"] == "intents"


async def test_a_worker_that_cannot_load_its_model_says_why(tmp_path: Path) -> None:
    stub(tmp_path / "stt" / "tiny", FILES["vosk"])
    with pytest.raises(JobFailed, match="could not start: vosk cannot load the model in .*/stt/tiny"):
        async with asyncio.timeout(30), WorkerPool(1, "vosk:tiny", "flite", tmp_path):
            pass
