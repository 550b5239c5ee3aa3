"""Worker processes whose models only take time: so much for a turn, so much for a clause."""

import socket
import time

from local_ai_server import backends, worker
from local_ai_server.agent import Agent
from local_ai_server.models import MODELS
from local_ai_server.processes import ProcessPool
from local_ai_server.stt.base import Transcript
from local_ai_server.tts.base import Emit

VOICE = "slow:voice"
"""For an agent that is to speak with it."""


class SlowEars:
    """Hears ``yes`` in everything."""

    input_rate = 16000

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def prepare(self, agent: Agent) -> None: ...

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        time.sleep(self._seconds)
        return Transcript("yes", 1.0)

    def close(self) -> None: ...


class SlowVoice:
    """Makes 20 ms of a loud sample, whatever it is to say."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def prepare(self, voice: str) -> int:
        return 16000

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        time.sleep(self._seconds)
        emit(b"\x00\x10" * 320)

    def close(self) -> None: ...


def run(sock: socket.socket, seconds: float) -> None:
    """The life of a worker process."""
    backends.STT = {"slow": lambda models, name, device: SlowEars(seconds)}
    backends.TTS = {"slow": lambda models, name, device: SlowVoice(seconds)}
    worker.run(sock, "slow", "slow", MODELS, "cpu")


def slow_pool(workers: int, seconds: float) -> ProcessPool:
    """``seconds``: of every job."""
    return ProcessPool("slow-worker", workers, run, seconds)
