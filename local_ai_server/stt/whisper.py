"""Whisper through faster-whisper: many languages, best on a GPU."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from local_ai_server.agent import Agent
from local_ai_server.errors import SettingsError
from local_ai_server.models import model_folder, unusable
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.language import language_of, require
from local_ai_server.stt.sound import is_wordless

_RATE = 16000
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}
_MOST_NO_SPEECH = 0.6
_SURE = -0.5
"""Average log probability of a token from which words count although the model also takes the sound for no speech."""
_MOST_REPETITION = 2.4
"""Times zlib shrinks the text; beyond it a model that hears nothing repeats itself."""


class Segment(Protocol):
    """What of faster-whisper's segments is read here."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def text(self) -> str: ...
    @property
    def avg_logprob(self) -> float: ...
    @property
    def no_speech_prob(self) -> float: ...
    @property
    def compression_ratio(self) -> float: ...


class Whisper:
    """One model for every agent whose language it knows."""

    input_rate = _RATE

    def __init__(self, models: Path, name: str | None, device: str) -> None:
        """``device``: ``auto`` is a CUDA device where there is one. Raises SettingsError."""
        os.environ.update(_OFFLINE)  # noqa: TID251 - read once, by a library of the library's, as it is imported
        import ctranslate2  # noqa: PLC0415 - an optional package
        from faster_whisper import WhisperModel  # noqa: PLC0415 - an optional package

        folder = model_folder(models, "stt", "whisper", name)
        devices = ctranslate2.get_cuda_device_count()
        if device == "cuda" and not devices:
            raise SettingsError("whisper finds no CUDA device here; --device auto or --device cpu runs it on the CPU")
        self.device = "cuda" if devices and device != "cpu" else "cpu"
        try:
            self._model = WhisperModel(
                str(folder), device=self.device, compute_type=_COMPUTE_TYPES[self.device], local_files_only=True
            )
        except Exception as error:  # noqa: BLE001 - whatever two libraries think of the files
            raise unusable(folder, "stt", "whisper", error) from None
        self._name = f"whisper:{folder.name}"
        self.languages = tuple(self._model.supported_languages)
        self._hear(bytes(_RATE * 2), self.languages[0], is_filtered=False)  # the first run is slower than the others

    def prepare(self, agent: Agent) -> None:
        require(agent, self.languages, self._name)

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        if is_wordless(pcm, _RATE):
            return Transcript("", 0.0)
        self.prepare(agent)
        return self._hear(pcm, language_of(agent))

    def close(self) -> None:
        del self._model

    def _hear(self, pcm: bytes, language: str, *, is_filtered: bool = True) -> Transcript:
        segments, _ = self._model.transcribe(
            np.frombuffer(pcm, "<i2").astype(np.float32) / 32768,
            language=language,
            beam_size=1,  # a caller waits, and partial transcripts repeat the work
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=is_filtered,
        )
        return transcript_of(segments)


def transcript_of(segments: Iterable[Segment]) -> Transcript:
    """The words of all segments in which there is speech; the confidence is the share of it the model is sure of."""
    kept = [each for each in segments if _is_speech(each)]
    seconds = sum(each.end - each.start for each in kept)
    text = " ".join(each.text.strip() for each in kept).strip()
    if not text or seconds <= 0:
        return Transcript("", 0.0)
    sure = sum((each.end - each.start) * math.exp(each.avg_logprob) * (1 - each.no_speech_prob) for each in kept)
    return Transcript(text, round(min(1.0, sure / seconds), 3))


def _is_speech(segment: Segment) -> bool:
    is_unsure = segment.no_speech_prob > _MOST_NO_SPEECH and segment.avg_logprob < _SURE
    return not is_unsure and segment.compression_ratio <= _MOST_REPETITION
