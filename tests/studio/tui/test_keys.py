"""Every key of every screen: hinted at, explained, and within 80 columns."""

import asyncio
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from textual.binding import ActiveBinding

from ai_engine.studio.tui.help import KEYS
from tests.studio.tui.fakes.scene import Scene
from tests.studio.tui.fakes.stage import Stage, staged

SCREENS = {"calls": ["1"], "call": ["1", "enter"], "numbers": ["2"], "agents": ["3"], "log": ["4"], "health": ["5"]}


def _hinted(stage: Stage) -> Iterator[ActiveBinding]:
    yield from (active for active in stage.app.screen.active_bindings.values() if active.binding.show)


@pytest.mark.parametrize("keys", SCREENS.values(), ids=SCREENS)
async def test_every_hint_fits_into_the_footer(studio: Stage, keys: list[str]) -> None:
    await studio.press(*keys)
    await studio.pause()
    names = [active.binding.description for active in _hinted(studio)]
    await studio.until(lambda: all(name in studio.lines[-1] for name in names), f"not all of {names}")
    assert "? Help q Quit" in studio.lines[-1]


@pytest.mark.parametrize("keys", SCREENS.values(), ids=SCREENS)
async def test_every_hint_is_explained(studio: Stage, keys: list[str]) -> None:
    await studio.press(*keys)
    await studio.pause()
    explained = {word for _, keys_of_it, _ in KEYS for word in keys_of_it.split()}
    signs = {"slash": "/", "question_mark": "?", "enter": "Enter", "escape": "Esc", "left": "←"}
    for active in _hinted(studio):
        assert signs.get(active.binding.key, active.binding.key) in explained


@pytest.mark.parametrize("keys", SCREENS.values(), ids=SCREENS)
async def test_help_opens_everywhere_fits_and_goes(studio: Stage, keys: list[str]) -> None:
    await studio.press(*keys, "question_mark")
    await studio.shows("calls, numbers, agents, log, health", "ask the engine now")
    await studio.press("escape")
    await studio.until(lambda: "ask the engine now" not in studio.text)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
@pytest.mark.parametrize("keys", SCREENS.values(), ids=SCREENS)
async def test_leaving_is_possible_everywhere(studio: Stage, keys: list[str], key: str) -> None:
    await studio.press(*keys, key)
    await studio.until(lambda: not studio.app.is_running)
    assert studio.engine.asked == []


async def test_letters_in_a_form_are_letters(studio: Stage) -> None:
    await studio.press("w")
    await studio.type("q?1hc")
    await studio.press("enter")
    await studio.shows("The agent was told: q?1hc")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
async def test_an_import_form_is_whole(office: Scene, width: int, height: int) -> None:
    async with staged(office, width, height) as studio:
        await studio.press("2", "i")
        await studio.shows("number", "calls at a time", "Enter: OK", "esc Cancel")


@pytest.mark.parametrize("no_color", [False, True])
async def test_without_colour_there_is_none(no_color: bool) -> None:
    """On a real terminal: a pseudo one, at the other end of which we read."""
    seen = await asyncio.to_thread(_on_a_terminal, {"NO_COLOR": "1"} if no_color else {})
    colours = b"\x1b[" in seen and any(f"{code}".encode() in _codes(seen) for code in (*range(31, 38), *range(90, 98)))
    assert b"reception" in seen
    assert colours is (not no_color)
    assert not any(code in (b"38", b"48") for code in _codes(seen)) or not no_color


def _codes(seen: bytes) -> set[bytes]:
    codes: set[bytes] = set()
    for part in seen.split(b"\x1b[")[1:]:
        inside, end, _ = part.partition(b"m")
        if end and len(inside) < 30:
            codes.update(inside.split(b";"))
    return codes


_PROGRAM = """
import sys
from tests.studio.tui.fakes.scene import scene
from ai_engine.studio.tui.app import StudioApp
class App(StudioApp):
    async def on_mount(self):
        await super().on_mount()
        self.set_timer(1.5, self.exit)
App(scene().sources()).run(mouse=False, size=(80, 24))
"""


def _on_a_terminal(environ: dict[str, str]) -> bytes:
    root = str(Path(__file__).parents[3])
    base = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(root)
        os.execve(
            sys.executable, [sys.executable, "-c", _PROGRAM], {**base, "TERM": "xterm", "PYTHONPATH": root, **environ}
        )
    seen = b""
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            seen += data
    os.waitpid(child, 0)
    os.close(terminal)
    return seen
