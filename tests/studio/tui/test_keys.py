"""Every key of every screen: hinted at, explained, and within 80 columns."""

from collections.abc import Iterator

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
