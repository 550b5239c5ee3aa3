"""Vosk: a Kaldi model of the operator's, quick on any CPU."""

import json
from pathlib import Path
from statistics import fmean

from local_ai_server.agent import Agent
from local_ai_server.models import model_folder, unusable
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.sound import is_wordless

_RATE = 16000
_QUIET = -1
"""Vosk's log level at which it tells of failures only."""


class Vosk:
    """One model for every agent; what it was trained on is its language, and it does not say which that is."""

    input_rate = _RATE
    device = "cpu"
    languages: tuple[str, ...] = ()

    def __init__(self, models: Path, name: str | None, device: str) -> None:
        """``device`` is the CPU whatever is asked for. Raises SettingsError."""
        import vosk  # noqa: PLC0415 - an optional package

        folder = model_folder(models, "stt", "vosk", name)
        vosk.SetLogLevel(_QUIET)
        try:
            self._model = vosk.Model(model_path=str(folder))  # of a name it would ask the network
        except Exception as error:  # noqa: BLE001 - vosk raises nothing narrower
            raise unusable(folder, "stt", "vosk", error) from None
        self._make_recognizer = vosk.KaldiRecognizer

    def prepare(self, agent: Agent) -> None:
        """The model serves every agent."""

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        if is_wordless(pcm, _RATE):
            return Transcript("", 0.0)
        recognizer = self._make_recognizer(self._model, _RATE)
        recognizer.SetWords(True)
        recognizer.AcceptWaveform(pcm)  # all at once: it looks for the end of an utterance after each call
        return read_result(recognizer.FinalResult())

    def close(self) -> None:
        del self._model


def read_result(result: str) -> Transcript:
    """Vosk's JSON; the confidence is the mean of the words'."""
    given = json.loads(result)
    words = [word for word in given.get("result", ()) if word["word"] != "[unk]"]
    if not words:
        return Transcript("", 0.0)
    return Transcript(" ".join(word["word"] for word in words), round(min(1.0, fmean(w["conf"] for w in words)), 3))
