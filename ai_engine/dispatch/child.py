"""A program that runs beside the engine, and ends with it."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import cast

_AS_OTHERS = """\
import ctypes, os, signal, sys
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Starts a program without the engine's real-time priority, which it would use against the calls, and has the kernel
end it (PR_SET_PDEATHSIG) when the engine dies without a word."""

_END_SECONDS = 2.0
_MOST_OF_A_LINE = 64 * 1024
_MOST_LINES = 1000
"""That wait to be read; what comes on top is lost."""


class Child(asyncio.SubprocessProtocol):
    """In a process group of its own, so that what it starts ends with it. Made by ``start``."""

    def __init__(self) -> None:
        self._exit = asyncio.get_running_loop().create_future()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting = bytearray()
        self._too_long = False

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str] | None) -> "Child":
        """``environ``: None is our own. ``kill`` has to follow. Raises OSError."""
        _, child = await asyncio.get_running_loop().subprocess_exec(
            cls,
            *(sys.executable, "-I", "-S", "-c", _AS_OTHERS, *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
        return child

    async def lines(self) -> AsyncGenerator[str, None]:
        """Of both its outputs, until they are closed; a line that is far too long is left out."""
        while (line := await self._lines.get()) is not None:
            yield line

    async def ended(self) -> int:
        """Its exit code, once it has one; what it has started is ended, too."""
        return cast(int, await asyncio.shield(self._exit))

    async def kill(self) -> None:
        """With all it has started: asked first, then made to. Nothing is wrong when it is over."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._exit.done():
                self._signal(number)
                await asyncio.wait([self._exit], timeout=_END_SECONDS)
        self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        # As long as anybody is in the group, its id is not given to others.
        with suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), number)

    # -- asyncio tells us ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\n")) >= 0:
            self._line_ended(end)
            del self._waiting[: end + 1]
        if len(self._waiting) > _MOST_OF_A_LINE:
            self._waiting.clear()
            self._too_long = True

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._line_ended(len(self._waiting))
        self._lines.put_nowait(None)

    def process_exited(self) -> None:
        self._signal(signal.SIGKILL)
        self._exit.set_result(self._transport.get_returncode())

    def _line_ended(self, end: int) -> None:
        if not self._too_long and self._lines.qsize() < _MOST_LINES:
            self._lines.put_nowait(self._waiting[:end].decode(errors="replace").strip())
        self._too_long = False


def installed(program: str, environ: Mapping[str, str] | None) -> bool:
    """Whether it is on the PATH of ``environ``; None is our own."""
    return shutil.which(program, path=None if environ is None else environ.get("PATH")) is not None
