"""The backends there are, by the names an operator uses: ``pocketsphinx``, ``whisper:base.en``."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from local_ai_server import models as model_files
from local_ai_server.errors import SettingsError
from local_ai_server.llm.base import LanguageModel
from local_ai_server.llm.endpoint import Endpoint
from local_ai_server.llm.intents import Intents
from local_ai_server.llm.llama import Llama
from local_ai_server.stt.base import SpeechToText
from local_ai_server.stt.pocketsphinx import DictationSphinx, GrammarSphinx
from local_ai_server.stt.sherpa import Sherpa
from local_ai_server.stt.vosk import Vosk
from local_ai_server.stt.whisper import Whisper
from local_ai_server.tts.base import TextToSpeech
from local_ai_server.tts.espeak import Espeak
from local_ai_server.tts.flite import Flite
from local_ai_server.tts.kokoro import Kokoro
from local_ai_server.tts.piper import Piper

T = TypeVar("T")

Factory: TypeAlias = Callable[[Path, str | None, str], T]
"""Loads a backend: ``(models folder, model's name or None, device)``, the device being ``auto``, ``cpu`` or ``cuda``.

It raises SettingsError where the model cannot be loaded, and imports its library only now.
"""
SttFactory: TypeAlias = Factory[SpeechToText]
LlmFactory: TypeAlias = Factory[LanguageModel]
TtsFactory: TypeAlias = Factory[TextToSpeech]


def _embedded(make: Callable[[], T]) -> Factory[T]:
    """The factory of a backend that needs no model files."""
    return lambda models, name, device: make()


STT: Mapping[str, SttFactory] = {
    "pocketsphinx": _embedded(GrammarSphinx),
    "pocketsphinx-lm": _embedded(DictationSphinx),
    "vosk": Vosk,
    "whisper": Whisper,
    "sherpa": Sherpa,
}
TTS: Mapping[str, TtsFactory] = {
    "flite": _embedded(Flite),
    "espeak": _embedded(Espeak),
    "piper": Piper,
    "kokoro": Kokoro,
}


def language_models(endpoint: Endpoint) -> Mapping[str, LlmFactory]:
    """The dialogs there are; ``openai`` asks at ``endpoint``."""

    def chat() -> LanguageModel:
        from local_ai_server.llm.chat import Chat  # noqa: PLC0415 - workers have no use for an HTTP client

        return Chat(endpoint)

    return {"intents": _embedded(Intents), "openai": _embedded(chat), "llama": Llama}


LLM = language_models(Endpoint())

DEVICES = ("auto", "cpu", "cuda")
KINDS: Mapping[str, Mapping[str, Factory[object]]] = {"stt": STT, "llm": LLM, "tts": TTS}


@runtime_checkable
class Describable(Protocol):
    """A backend that knows more about itself than its name."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``; ``remote`` where it is not ours."""
        ...

    languages: tuple[str, ...]
    """Primary BCP 47 subtags its model knows (``en``); empty: the model does not say."""


@dataclass(frozen=True, slots=True)
class Card:
    """What ``/health`` tells about a backend that is loaded."""

    name: str
    """As the operator wrote it."""
    folder: str | None
    """The model's; None where it is built in."""
    device: str
    languages: tuple[str, ...]
    load_seconds: float


def parse(text: str) -> tuple[str, str | None]:
    """``(backend, model's name)`` of what an operator writes; ``whisper`` alone names no model."""
    backend, _, name = text.partition(":")
    return backend, name or None


def check(kind: str, text: str, models: Path) -> None:
    """Nothing, where ``text`` could be loaded now. Raises SettingsError with a sentence that says what to do."""
    backend, name = parse(text)
    known = KINDS[kind]
    if backend not in known:
        raise SettingsError(f"there is no backend {text!r}; known are {', '.join(known)}")
    if backend == "openai" and name:
        raise SettingsError("openai is told its model by --llm-model")
    model_files.check(models, kind, backend, name)


def load(kind: str, known: Mapping[str, Factory[T]], text: str, models: Path, device: str) -> tuple[T, Card]:
    """The backend ``text`` names out of ``known``, the map of its kind. Raises SettingsError."""
    backend, name = parse(text)
    started = time.monotonic()
    made = known[backend](models, name, device)
    seconds = round(time.monotonic() - started, 3)
    has_files = (kind, backend) in model_files.NEEDS
    folder = str(model_files.model_folder(models, kind, backend, name)) if has_files else None
    if isinstance(made, Describable):
        return made, Card(text, folder, made.device, made.languages, seconds)
    return made, Card(text, folder, "cpu", (), seconds)
