"""The life of a child process that does jobs for its parent, over a socket.

Frames are a 4-byte length and a pickle. In: ``(job, method, arguments)``, or ``(job, None, ())`` to cancel. Out:
``(job, kind, value)``, kind being ``item`` (more follows), ``done``, ``refused`` (AgentError) or ``failed``; job 0 is
the process itself, done with loading what its cards tell.
"""

import os
import pickle
import queue
import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import structlog

from local_ai_server.errors import AgentError, LocalAIError

LENGTH = struct.Struct("!I")
LOADED = 0

NICENESS = 10
"""Model work takes all the time it can get; a process beside it that must write a frame every 20 ms goes first."""

EmitItem: TypeAlias = Callable[[Any], bool]
"""Takes an item as soon as it is made; False means: nobody waits for it any more, stop."""


class Loaded(Protocol):
    """Models that are ready; each method of theirs takes an ``EmitItem`` and a job's arguments."""

    @property
    def cards(self) -> Any:
        """What the parent is told of them."""
        ...


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


def serve(sock: socket.socket, load: Callable[[], Loaded]) -> None:
    """The life of a child process: load, then work until the parent goes."""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ctrl-C is the parent's to answer
    link = Link(sock)
    job = LOADED
    try:
        loaded = load()
        link.send(LOADED, "done", loaded.cards)
        while True:
            job, method, arguments = link.jobs.get()
            _work(loaded, link, job, method, arguments)
    except LocalAIError as error:
        link.send(job, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - the edge of the process; a model that threw is not to be trusted again
        structlog.get_logger().exception("worker failed")
        link.send(job, "failed", f"{type(error).__name__}: {error}")


def _work(loaded: Loaded, link: Link, job: int, method: str, arguments: tuple[Any, ...]) -> None:
    def emit(item: Any) -> bool:
        if item:
            link.send(job, "item", item)
        return not link.is_cancelled(job)

    try:
        link.send(job, "done", getattr(loaded, method)(emit, *arguments))
    except AgentError as error:
        link.send(job, "refused", str(error))
