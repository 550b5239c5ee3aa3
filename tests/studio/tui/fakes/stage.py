"""The studio without a terminal: keys in, the text of the screen out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.geometry import Region
from textual.pilot import Pilot

from ai_engine.studio.tui.app import StudioApp
from tests.studio.tui.fakes.scene import Scene
from tests.waiting import until


class Stage:
    """A running studio, and who is at its keys."""

    def __init__(self, app: StudioApp, pilot: Pilot[None], office: Scene) -> None:
        self.app = app
        self.office = office
        self.engine = office.engine
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self._pilot.press(*(_NAMES.get(letter, letter) for letter in text))

    async def pause(self) -> None:
        await self._pilot.pause()

    @property
    def lines(self) -> list[str]:
        """What is on the screen now."""
        screen = self.app.screen
        strips = screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def running_text(self) -> str:
        """The same in one line: what is wrapped can be found."""
        return " ".join(self.text.split())

    async def shows(self, *words: str) -> None:
        """Wait for all of them."""
        await self.until(lambda: all(word in self.running_text for word in words), f"no {words}")

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        try:
            await until(condition)
        except TimeoutError:
            raise AssertionError(f"{what} on:\n{self.text}") from None
        await self._pilot.pause()

    def picture(self) -> str:
        return self.app.export_screenshot(title="studio")

    def covered(self) -> Region:
        return self.app.screen.region


_NAMES = {
    " ": "space",
    "+": "plus",
    ".": "full_stop",
    "@": "at",
    "-": "minus",
    "/": "slash",
    ":": "colon",
    ",": "comma",
}


@asynccontextmanager
async def staged(office: Scene, width: int = 80, height: int = 24) -> AsyncIterator[Stage]:
    app = StudioApp(office.sources())
    async with app.run_test(size=(width, height)) as pilot:
        yield Stage(app, pilot, office)
