"""A pseudo terminal of 80×24: a program on one end, somebody who reads and types on the other."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[4]
_NOT_INHERITED = ("NO_COLOR", "COLORTERM", "FORCE_COLOR", "COLUMNS", "LINES")


class Terminal:
    """Everything blocks; close it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path = ROOT) -> None:
        us, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        ours = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        self.seen = b""
        self._us = us
        self._program = subprocess.Popen(
            command,
            cwd=folder,
            env={**ours, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def expect(self, text: str, seconds: float = 20.0) -> None:
        """Read until it has come since the last key."""
        wanted, fresh, deadline = text.encode(), b"", time.monotonic() + seconds
        while wanted not in fresh:
            data = self._read(deadline - time.monotonic())
            assert data, f"no {text!r} in: {_plain(fresh)}"
            fresh += data

    def press(self, keys: str) -> None:
        os.write(self._us, keys.encode())

    def ended(self, seconds: float = 20.0) -> int:
        """Read to the end: how the program ended."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self._program.wait(max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        if self._program.poll() is None:
            self._program.kill()
            self._program.wait()
        os.close(self._us)

    def _read(self, seconds: float) -> bytes:
        """Nothing where it has ended, or where none comes."""
        if not select.select([self._us], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            data = os.read(self._us, 65536)
        except OSError:  # so a terminal ends
            return b""
        self.seen += data
        return data


def _plain(seen: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", seen.decode(errors="replace"))[-4000:]
