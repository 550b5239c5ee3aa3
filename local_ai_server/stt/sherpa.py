"""sherpa-onnx: streaming and offline transducers, Whisper, Moonshine, SenseVoice, Paraformer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from local_ai_server.agent import Agent
from local_ai_server.errors import SettingsError
from local_ai_server.models import missing_file, model_folder, unusable
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.language import language_of, require
from local_ai_server.stt.sound import is_wordless

_RATE = 16000
_TAIL_SECONDS = 0.5
"""Silence after a turn, so that a streaming model gets to its end."""
_SENSE_VOICE_LANGUAGES = ("zh", "en", "ja", "ko", "yue")

Samples: TypeAlias = NDArray[np.float32]
Heard: TypeAlias = tuple[str, Sequence[float]]
"""The text and the log probability of each of its tokens; none where the model does not tell."""


@dataclass(frozen=True, slots=True)
class Recognizer:
    """A model that is loaded."""

    hear: Callable[[Samples, str], Heard]
    """A whole turn, in a language."""
    languages: tuple[str, ...] = ()


class Sherpa:
    """One model for every agent whose language it knows."""

    input_rate = _RATE

    def __init__(self, models: Path, name: str | None, device: str) -> None:
        """``cuda`` needs a sherpa-onnx that was built for it, so ``auto`` is the CPU. Raises SettingsError."""
        folder = model_folder(models, "stt", "sherpa", name)
        self.device = "cuda" if device == "cuda" else "cpu"
        try:
            self._recognizer = load(folder, self.device)
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001 - two libraries and an assertion each have their own way
            raise unusable(folder, "stt", "sherpa", error) from None
        self._name = f"sherpa:{folder.name}"
        self.languages = self._recognizer.languages

    def prepare(self, agent: Agent) -> None:
        require(agent, self.languages, self._name)

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        if is_wordless(pcm, _RATE):
            return Transcript("", 0.0)
        self.prepare(agent)
        samples: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        return transcript_of(*self._recognizer.hear(samples, language_of(agent)))

    def close(self) -> None:
        del self._recognizer


def transcript_of(text: str, log_probabilities: Sequence[float]) -> Transcript:
    """Without capitals where there is nothing else; the confidence is 1 where the model tells none."""
    text = text.strip()
    if not text:
        return Transcript("", 0.0)
    confidence = fmean(math.exp(min(0.0, each)) for each in log_probabilities) if log_probabilities else 1.0
    return Transcript(text.lower() if text.isupper() else text, round(confidence, 3))


def load(folder: Path, device: str) -> Recognizer:
    """The model in ``folder``, whichever kind it is. Raises SettingsError, and what the libraries raise."""
    files = _Files(folder, prefers_small=device == "cpu")
    common = {"tokens": files.one("tokens.txt|*-tokens.txt"), "provider": device}
    if files.has("*joiner*.onnx"):
        return _transducer(files, common)
    if files.has("preprocess*.onnx"):
        return _moonshine(files, common)
    if files.has("*encoder*.onnx"):
        return _whisper(files, common)
    return _single(files, common)


class _Files:
    """The files of one model."""

    def __init__(self, folder: Path, *, prefers_small: bool) -> None:
        self.folder = folder
        self._prefers_small = prefers_small

    def has(self, pattern: str) -> bool:
        return any(self.folder.glob(pattern))

    def one(self, pattern: str) -> str:
        """Of the full and the int8 variant of a file that ``pattern`` matches, the one that suits the device."""
        found = sorted(path for each in pattern.split("|") for path in self.folder.glob(each))
        if not found:
            raise missing_file(self.folder, "stt", "sherpa", pattern)
        suited = [path for path in found if ("int8" in path.name) == self._prefers_small]
        return str((suited or found)[0])

    def unknown(self, what: str) -> SettingsError:
        return SettingsError(
            f"sherpa:{self.folder.name} is {what}, which this server cannot run; it runs streaming and offline"
            " transducers, Whisper, Moonshine, SenseVoice and Paraformer"
        )


def _transducer(files: _Files, common: dict[str, str]) -> Recognizer:
    parts = {name: files.one(f"*{name}*.onnx") for name in ("encoder", "decoder", "joiner")}
    inputs, metadata = _inspect(parts["encoder"])
    if len(inputs) > 2:  # sound, its length, and what it carries from one piece to the next
        return Recognizer(_online(_sherpa().OnlineRecognizer.from_transducer(**parts, **common)))
    model_type = "nemo_transducer" if metadata.get("model_type", "").startswith("EncDec") else "transducer"
    return Recognizer(_offline(_sherpa().OfflineRecognizer.from_transducer(**parts, **common, model_type=model_type)))


def _moonshine(files: _Files, common: dict[str, str]) -> Recognizer:
    parts = {
        "preprocessor": files.one("preprocess*.onnx"),
        "encoder": files.one("encode*.onnx"),
        "uncached_decoder": files.one("uncached_decode*.onnx"),
        "cached_decoder": files.one("cached_decode*.onnx"),
    }
    return Recognizer(_offline(_sherpa().OfflineRecognizer.from_moonshine(**parts, **common)))


def _whisper(files: _Files, common: dict[str, str]) -> Recognizer:
    parts = {name: files.one(f"*{name}*.onnx") for name in ("encoder", "decoder")}
    _, metadata = _inspect(parts["encoder"])
    if not metadata.get("model_type", "").startswith("whisper"):
        raise files.unknown(f"an encoder and a decoder of the type {metadata.get('model_type', 'unknown')!r}")
    is_multilingual = metadata.get("is_multilingual", "0") == "1"
    languages = tuple(metadata.get("all_language_codes", "").split(",")) if is_multilingual else ("en",)
    recognizer = _sherpa().OfflineRecognizer.from_whisper(**parts, **common, language="en")
    return Recognizer(_of_language(recognizer, "whisper"), languages)


def _single(files: _Files, common: dict[str, str]) -> Recognizer:
    model = files.one("model*.onnx|*.onnx")
    inputs, _ = _inspect(model)
    if {"language", "text_norm"} <= inputs:
        recognizer = _sherpa().OfflineRecognizer.from_sense_voice(model=model, **common, use_itn=True)
        return Recognizer(_of_language(recognizer, "sense_voice"), _SENSE_VOICE_LANGUAGES)
    if "speech" in inputs:
        return Recognizer(_offline(_sherpa().OfflineRecognizer.from_paraformer(paraformer=model, **common)))
    raise files.unknown(f"a model of the inputs {', '.join(sorted(inputs))}")


def _of_language(recognizer: Any, part: str) -> Callable[[Samples, str], Heard]:
    """Whatever language is asked for, by that ``part`` of the recognizer's configuration."""
    hear = _offline(recognizer)

    def hear_in(samples: Samples, language: str) -> Heard:
        getattr(recognizer.config.model_config, part).language = language
        recognizer.recognizer.set_config(recognizer.config)
        return hear(samples, language)

    return hear_in


def _offline(recognizer: Any) -> Callable[[Samples, str], Heard]:
    def hear(samples: Samples, language: str) -> Heard:
        stream = recognizer.create_stream()
        stream.accept_waveform(_RATE, samples)
        recognizer.decode_stream(stream)
        return stream.result.text, stream.result.ys_log_probs

    return hear


def _online(recognizer: Any) -> Callable[[Samples, str], Heard]:
    def hear(samples: Samples, language: str) -> Heard:
        stream = recognizer.create_stream()
        stream.accept_waveform(_RATE, samples)
        stream.accept_waveform(_RATE, np.zeros(int(_RATE * _TAIL_SECONDS), np.float32))
        stream.input_finished()
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
        result = recognizer.get_result_all(stream)
        return result.text, result.ys_probs

    return hear


def _sherpa() -> Any:
    import sherpa_onnx  # noqa: PLC0415 - an optional package

    return sherpa_onnx


def _inspect(model: str) -> tuple[set[str], dict[str, str]]:
    """``(inputs' names, metadata)`` of an ONNX file: what is in it, whatever it is called."""
    import onnxruntime  # noqa: PLC0415 - a second's work, and no other backend's

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return {each.name for each in session.get_inputs()}, session.get_modelmeta().custom_metadata_map
