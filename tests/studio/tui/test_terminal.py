"""The studio on a real terminal: a pseudo one, at whose other end somebody reads and types."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])
_PROGRAM = """
import sys
from ai_engine.studio.tui import run_tui
from tests.studio.tui.fakes.scene import scene
office = scene()
sys.exit(run_tui(office.engine.connect, office.numbers, office.agents))
"""
_COLOURS = {str(code) for code in (*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108))}


@pytest.mark.parametrize("terminal", ["xterm", "xterm-256color", "vt220", "screen"])
async def test_it_opens_and_leaves_on_any_terminal(terminal: str) -> None:
    code, seen = await asyncio.to_thread(_session, {"TERM": terminal})
    assert code == 0
    assert b"+493055512345" in seen
    assert not any(sequence.startswith(("38;2", "48;2")) for sequence in _styles(seen)), "true colour"


async def test_colours_are_the_terminal_s_own_and_go_with_no_color() -> None:
    _, seen = await asyncio.to_thread(_session, {"TERM": "xterm-256color"})
    assert _colours(seen)
    _, seen = await asyncio.to_thread(_session, {"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert not _colours(seen)
    assert any("7" in style.split(";") for style in _styles(seen)), "what is selected is not told by colour alone"


def _styles(seen: bytes) -> list[str]:
    return re.findall(r"\x1b\[([0-9;]*)m", seen.decode("utf-8", "replace"))


def _colours(seen: bytes) -> set[str]:
    return {code for style in _styles(seen) for code in style.split(";")} & _COLOURS


def _session(environ: dict[str, str]) -> tuple[int, bytes]:
    """Waits for the list of calls, presses q: how the program ended, and what it drew."""
    ours = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLORTERM", "FORCE_COLOR")}
    us, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env={**ours, "PYTHONPATH": ROOT, **environ},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""
    pressed = False
    with suppress(OSError):  # the end of a terminal is an error
        while data := os.read(us, 65536):
            seen += data
            if not pressed and b"+493055512345" in seen:
                os.write(us, b"q")
                pressed = True
    os.close(us)
    return program.wait(timeout=10), seen
