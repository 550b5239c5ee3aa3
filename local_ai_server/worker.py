"""A worker process: it keeps the models loaded and does one job at a time.

Frames on its socket are a 4-byte length and a pickle. In: ``(job, method, arguments)``, or ``(job, None, ())`` to
cancel. Out: ``(job, kind, value)``, kind being ``item`` (more follows), ``done``, ``refused`` (AgentError) or
``failed``; job 0 is the worker itself, done with loading.
"""

import os
import pickle
import queue
import signal
import socket
import struct
import threading
from typing import Any

import structlog

from local_ai_server import backends
from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.sound import resample
from local_ai_server.tts.base import Emit, TextToSpeech
from local_ai_server.tts.lead import LeadingSilence
from local_ai_server.tts.voices import voice_of

LENGTH = struct.Struct("!I")
LOADED = 0

NICENESS = 10
"""Model work takes all the time it can get; a process beside it that must write a frame every 20 ms goes first."""


class Models:
    """The jobs a worker can do. Loading the default backends is done once, here."""

    def __init__(self, stt: str, tts: str) -> None:
        self._stt = backends.STT[stt]()
        self._default_engine = tts
        self._engines: dict[str, TextToSpeech] = {tts: backends.TTS[tts]()}

    def prepare(self, emit: Emit, agent: Agent) -> tuple[int, int]:
        """Warm everything for ``agent``; ``(input_rate, output_rate)`` in Hz."""
        self._stt.prepare(agent)
        engine, voice = self._voice(agent)
        return self._stt.input_rate, engine.prepare(voice)

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
            self._engines[name] = backends.TTS[name]()
        return self._engines[name], voice


class Link:
    """The socket to the parent; its end is the end of this process, whatever it is doing."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.jobs: queue.SimpleQueue[tuple[int, str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._withdrawn = LOADED
        """The latest job the parent wants no more; job numbers grow, so those before it are done with."""
        threading.Thread(target=self._read, daemon=True).start()

    def is_cancelled(self, job: int) -> bool:
        return job == self._withdrawn

    def send(self, job: int, kind: str, value: object) -> None:
        data = pickle.dumps((job, kind, value), pickle.HIGHEST_PROTOCOL)
        try:
            self._sock.sendall(LENGTH.pack(len(data)) + data)
        except OSError:
            os._exit(0)

    def _read(self) -> None:
        stream = self._sock.makefile("rb")
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            job, method, arguments = pickle.loads(stream.read(LENGTH.unpack(head)[0]))
            if method is None:
                self._withdrawn = job
            else:
                self.jobs.put((job, method, arguments))
        os._exit(0)


def run(sock: socket.socket, stt: str, tts: str) -> None:
    """The life of a worker process: load, then work until the parent goes."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ctrl-C is the parent's to answer
    link = Link(sock)
    job = LOADED
    try:
        models = Models(stt, tts)
        link.send(LOADED, "done", None)
        while True:
            job, method, arguments = link.jobs.get()
            _work(models, link, job, method, arguments)
    except Exception as error:  # noqa: BLE001 - the edge of the process; a model that threw is not to be trusted again
        structlog.get_logger().exception("worker failed")
        link.send(job, "failed", f"{type(error).__name__}: {error}")


def _work(models: Models, link: Link, job: int, method: str, arguments: tuple[Any, ...]) -> None:
    def emit(pcm: bytes) -> bool:
        if pcm:
            link.send(job, "item", pcm)
        return not link.is_cancelled(job)

    try:
        link.send(job, "done", getattr(models, method)(emit, *arguments))
    except AgentError as error:
        link.send(job, "refused", str(error))
