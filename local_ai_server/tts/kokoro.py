"""Kokoro's neural voices; its phonemes are espeak-ng's (GPL), so it too is loaded in worker processes only."""

import ctypes
from contextlib import suppress
from pathlib import Path

import numpy as np

from local_ai_server.errors import AgentError
from local_ai_server.models import model_file, unusable
from local_ai_server.tts.base import Emit
from local_ai_server.tts.espeak import LIBRARY
from local_ai_server.tts.onnx import device_for, session_of
from local_ai_server.tts.pieces import emit_in_pieces
from local_ai_server.tts.text import harmless

RATE = 24000
DEFAULT = "af_heart"
_LANGUAGES = {
    "a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-br", "z": "cmn",
}  # fmt: skip
"""As espeak-ng calls them, by the first letter of a voice."""


class Kokoro:
    """One model with all its voices, in a folder ``models/tts/NAME``."""

    languages = ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")

    def __init__(self, models: Path, name: str | None, device: str) -> None:
        """Raises SettingsError."""
        # this library brings an espeak-ng of its own, and who is loaded first is found by the name from then on
        with suppress(OSError):
            ctypes.CDLL(LIBRARY)
        import kokoro_onnx  # noqa: PLC0415 - an optional package

        weights = model_file(models, "tts", "kokoro", name, "*.onnx")
        voices = model_file(models, "tts", "kokoro", name, "voices*.bin")
        self.device = device_for("kokoro", device)
        try:
            self._kokoro = kokoro_onnx.Kokoro.from_session(session_of(weights, self.device), str(voices))
            self._voices = tuple(self._kokoro.get_voices())
            self._kokoro.create("Hello.", self._voices[0])  # the first run is slower than the others
        except Exception as error:  # noqa: BLE001 - whatever three libraries think of the files
            raise unusable(weights.parent, "tts", "kokoro", error) from None

    def prepare(self, voice: str) -> int:
        if (voice or DEFAULT) not in self._voices:
            raise AgentError(f"there is no kokoro voice {voice or DEFAULT!r}; known are {', '.join(self._voices)}")
        return RATE

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        """A clause is synthesized at once."""
        self.prepare(voice)
        name = voice or DEFAULT
        phonemes = self._kokoro.tokenizer.phonemize(harmless(text), _LANGUAGES.get(name[0], "en-us"))
        if phonemes:  # the library takes text without any for an error
            sound, _ = self._kokoro.create(phonemes, name, is_phonemes=True)
            emit_in_pieces(emit, (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes(), RATE)

    def close(self) -> None:
        del self._kokoro
