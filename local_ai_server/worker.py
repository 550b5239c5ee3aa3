"""What a worker process does: it hears and speaks with the models it keeps loaded."""

import socket
from collections.abc import Mapping
from pathlib import Path

from local_ai_server import backends
from local_ai_server.agent import Agent
from local_ai_server.backends import Card
from local_ai_server.errors import AgentError, SettingsError
from local_ai_server.link import serve
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.sound import resample
from local_ai_server.tts.base import Emit, TextToSpeech
from local_ai_server.tts.lead import LeadingSilence
from local_ai_server.tts.voices import voice_of

SOUND = frozenset({"stt", "tts"})
"""The parts of the server that workers do."""


class Models:
    """The jobs a worker can do. Loading the default backends is done once, here."""

    def __init__(self, stt: str, tts: str, models: Path, device: str) -> None:
        self._models = models
        self._device = device
        self._stt, hearing = backends.load("stt", backends.STT, stt, models, device)
        engine, speaking = backends.load("tts", backends.TTS, tts, models, device)
        self._default_engine, _ = backends.parse(tts)
        self._engines: dict[str, TextToSpeech] = {self._default_engine: engine}
        self.cards: Mapping[str, Card] = {"stt": hearing, "tts": speaking}

    def prepare(self, emit: Emit, agent: Agent, parts: frozenset[str] = SOUND) -> tuple[int, int]:
        """Warm ``parts`` for ``agent``; ``(input_rate, output_rate)`` in Hz, 0 for what is no part of it."""
        heard = spoken = 0
        if "stt" in parts:
            self._stt.prepare(agent)
            heard = self._stt.input_rate
        if "tts" in parts:
            engine, voice = self._voice(agent)
            spoken = engine.prepare(voice)
        return heard, spoken

    def transcribe(self, emit: Emit, agent: Agent, pcm: bytes, rate: int, brief: bool) -> Transcript:
        """``pcm`` is at ``rate`` Hz, a whole fraction of what ``prepare`` said, or just that."""
        return self._stt.transcribe(agent, resample(pcm, rate, self._stt.input_rate), brief=brief)

    def speak(self, emit: Emit, agent: Agent, text: str, opens_reply: bool) -> None:
        engine, voice = self._voice(agent)
        engine.speak(voice, text, LeadingSilence(emit, engine.prepare(voice)) if opens_reply else emit)

    def _voice(self, agent: Agent) -> tuple[TextToSpeech, str]:
        name, voice = voice_of(agent, self._default_engine)
        if name not in backends.TTS:
            raise AgentError(f"there is no voice engine {name!r}; known are {', '.join(backends.TTS)}")
        if name not in self._engines:
            try:
                self._engines[name] = backends.TTS[name](self._models, None, self._device)
            except SettingsError as error:
                raise AgentError(f"the voice engine {name!r} is not there: {error}") from None
        return self._engines[name], voice


def run(sock: socket.socket, stt: str, tts: str, models: Path, device: str) -> None:
    """The life of a worker process."""
    serve(sock, lambda: Models(stt, tts, models, device))
