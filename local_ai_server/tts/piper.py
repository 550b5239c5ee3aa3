"""Piper's neural voices; the library is GPL, so it is loaded in the worker processes of this separate program only."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_server.errors import AgentError, SettingsError
from local_ai_server.models import model_file, unusable
from local_ai_server.tts.base import Emit
from local_ai_server.tts.onnx import device_for, session_of
from local_ai_server.tts.pieces import emit_in_pieces
from local_ai_server.tts.text import harmless

if TYPE_CHECKING:
    from piper import PiperVoice


class Piper:
    """Voices are the folders ``models/tts/NAME``; each is loaded on first use, and stays."""

    languages: tuple[str, ...] = ()
    """Each voice has its own."""

    def __init__(self, models: Path, name: str | None, device: str) -> None:
        """``name`` is the voice of agents that name none, and is loaded now. Raises SettingsError."""
        self._models = models
        self._default = name
        self._voices: dict[Path, PiperVoice] = {}
        self.device = device_for("piper", device)
        if name is not None:
            self._load(name)

    def prepare(self, voice: str) -> int:
        rate: int = self._voice(voice).config.sample_rate
        return rate

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        """A sentence is the least that is synthesized at once."""
        for sentence in self._voice(voice).synthesize(harmless(text)):
            if not emit_in_pieces(emit, sentence.audio_int16_bytes, sentence.sample_rate):
                return

    def close(self) -> None:
        self._voices.clear()

    def _voice(self, name: str) -> "PiperVoice":
        try:
            return self._load(name or self._default)
        except SettingsError as error:
            raise AgentError(str(error)) from None

    def _load(self, name: str | None) -> "PiperVoice":
        from piper import PiperConfig, PiperVoice  # noqa: PLC0415 - an optional package

        described = model_file(self._models, "tts", "piper", name, "*.onnx.json")
        if described in self._voices:
            return self._voices[described]
        try:
            config = PiperConfig.from_dict(json.loads(described.read_text("utf-8")))
            voice = PiperVoice(session_of(described.with_suffix(""), self.device), config)
            for _ in voice.synthesize("Hello."):  # the first run is slower than the others
                pass
        except Exception as error:  # noqa: BLE001 - whatever two libraries think of the files
            raise unusable(described.parent, "tts", "piper", error) from None
        self._voices[described] = voice
        return voice
