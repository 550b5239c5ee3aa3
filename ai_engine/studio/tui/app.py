"""The studio in a terminal."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding
from textual.css.query import NoMatches

from ai_engine.studio.tui.board import Board
from ai_engine.studio.tui.call import CallScreen
from ai_engine.studio.tui.feed import Feed
from ai_engine.studio.tui.frame import Framed
from ai_engine.studio.tui.help import HelpScreen
from ai_engine.studio.tui.main import MainScreen
from ai_engine.studio.tui.sources import Sources
from ai_engine.studio.tui.verbs import Verbs

_DRAW_SECONDS = 0.2
_STAYS_SECONDS = 5.0
"""What came of one's own doing is not pushed away by news before that."""


class StudioApp(App[None]):
    """Draws the board five times a second where something has changed, and each second for the clocks."""

    TITLE = "studio"
    CSS_PATH = "studio.tcss"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    BINDINGS: ClassVar = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, sources: Sources) -> None:
        # The terminal's own sixteen colours: they are there over SSH, too, and go away with NO_COLOR.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.sources = sources
        self.board = Board(sources.clock())
        self.feed = Feed(sources, self.board)
        self.verbs = Verbs(self)
        self.told = ""
        self.told_bad = False
        self._told_at = sources.clock()
        self._drawn: tuple[int, int] | None = None

    async def on_mount(self) -> None:
        await self.push_screen(MainScreen())
        self.run_worker(self.feed.run(), group="feed")
        self.run_worker(self.feed.watch_files(), group="feed")
        self.set_interval(_DRAW_SECONDS, self._draw)

    def paint(self) -> None:
        """Draw at the next occasion."""
        self._drawn = None

    def tell(self, text: str, *, bad: bool = False) -> None:
        """Said above the status, until something else is."""
        self.told, self.told_bad, self._told_at = text, bad, self.sources.clock()
        self.paint()

    def start_verb(self, verb: Coroutine[Any, Any, None]) -> None:
        self.run_worker(verb, group="verbs")

    def agent_names(self) -> list[str]:
        """Of the engine's agents and of the files, in order."""
        return sorted({agent.name for agent in self.board.agents} | set(self.board.agent_files))

    def open_call(self, call_id: str) -> None:
        if self.board.find(call_id):
            self.push_screen(CallScreen(call_id))

    def show_log(self, call_id: str) -> None:
        """The lines of one call."""
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        self.screen.show_log(call_id)

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def _draw(self) -> None:
        screen, now = self.screen, self.sources.clock()
        if self.board.news and (not self.told or (now - self._told_at).total_seconds() > _STAYS_SECONDS):
            self.tell(self.board.news.popleft())
        state = (self.board.version, int(now.timestamp()))
        if state != self._drawn and isinstance(screen, Framed):
            with suppress(NoMatches):  # it is being put up, or taken down
                screen.paint(now)
                self._drawn = state
