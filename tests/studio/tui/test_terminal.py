"""The studio on a real terminal."""

import asyncio
import re
import sys
from contextlib import closing

import pytest

from tests.studio.house import House
from tests.studio.tui.fakes.scene import INBOUND, Scene
from tests.studio.tui.fakes.terminal import Terminal

_PROGRAM = """
import sys
from ai_engine.studio.tui import run_tui
from tests.studio.tui.fakes.scene import scene
office = scene()
sys.exit(run_tui(office.engine.connect, office.numbers, office.agents))
"""
_COLOURS = {str(code) for code in (*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108))}


@pytest.mark.parametrize("terminal", ["xterm", "xterm-256color", "vt220", "screen"])
def test_it_opens_and_leaves_on_any_terminal(terminal: str) -> None:
    code, seen = _session({"TERM": terminal})
    assert code == 0
    assert not any(style.startswith(("38;2", "48;2")) for style in _styles(seen)), "true colour"


def test_colours_are_the_terminals_own_and_go_with_no_color() -> None:
    _, seen = _session({})
    assert _colours(seen)
    _, seen = _session({"NO_COLOR": "1"})
    assert not _colours(seen)
    assert any("7" in style.split(";") for style in _styles(seen)), "what is selected is told by more than colour"


async def test_studio_alone_opens_it_on_real_files_and_a_real_server(house: House, office: Scene) -> None:
    assert house.import_number("+15550199").status == 0
    async with house.engine(office.engine):  # type: ignore[arg-type]
        with closing(Terminal([sys.executable, "-m", "ai_engine.studio"], {}, house.folder)) as terminal:
            await asyncio.to_thread(terminal.expect, "+493055512345")
            terminal.press("2")
            await asyncio.to_thread(terminal.expect, "sip.example.com;udp")
            terminal.press("1h")
            await asyncio.to_thread(terminal.expect, "Hang up on +493055512345?")
            terminal.press("y")
            await asyncio.to_thread(terminal.expect, "Hung up on +493055512345.")
            terminal.press("q")
            assert await asyncio.to_thread(terminal.ended) == 0
    assert office.engine.asked == [("hang_up", INBOUND)]
    assert b"pw-of-the-trunk" not in terminal.seen


def test_studio_alone_opens_without_an_engine(house: House) -> None:
    with closing(Terminal([sys.executable, "-m", "ai_engine.studio"], {}, house.folder)) as terminal:
        terminal.expect("no engine since")
        terminal.press("2")
        terminal.expect("i imports one")
        terminal.press("q")
        assert terminal.ended() == 0


def _session(environ: dict[str, str]) -> tuple[int, bytes]:
    """Waits for the list of calls, and leaves: how the program ended, and what it drew."""
    with closing(Terminal([sys.executable, "-c", _PROGRAM], environ)) as terminal:
        terminal.expect("+493055512345")
        terminal.press("q")
        return terminal.ended(), terminal.seen


def _styles(seen: bytes) -> list[str]:
    return re.findall(r"\x1b\[([0-9;]*)m", seen.decode("utf-8", "replace"))


def _colours(seen: bytes) -> set[str]:
    return {code for style in _styles(seen) for code in style.split(";")} & _COLOURS
