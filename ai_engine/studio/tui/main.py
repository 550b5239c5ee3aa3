"""The screen with the tabs."""

from datetime import datetime

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import ContentSwitcher

from ai_engine.studio.tui.agents import AgentsPane
from ai_engine.studio.tui.calls import CallsPane
from ai_engine.studio.tui.frame import Framed, studio_of
from ai_engine.studio.tui.health import HealthPane
from ai_engine.studio.tui.log import LogPane
from ai_engine.studio.tui.numbers import NumbersPane
from ai_engine.studio.tui.pane import Pane
from ai_engine.studio.tui.words import Words

_PANES: dict[str, type[Pane]] = {
    "calls": CallsPane,
    "numbers": NumbersPane,
    "agents": AgentsPane,
    "log": LogPane,
    "health": HealthPane,
}


class MainScreen(Framed):
    """One tab is in front."""

    BINDINGS = [
        Binding(str(digit), f"tab('{name}')", pane.title, show=False)
        for digit, (name, pane) in enumerate(_PANES.items(), start=1)
    ]

    def compose(self) -> ComposeResult:
        yield Words(id="tabs")
        with ContentSwitcher(initial="calls"):
            for name, pane in _PANES.items():
                yield pane(id=name)
        yield from self.frame()

    def on_mount(self) -> None:
        self.action_tab("calls")

    def action_tab(self, name: str) -> None:
        self.query_one(ContentSwitcher).current = name
        tabs = Text(" studio ", "bold")
        for digit, (other, pane) in enumerate(_PANES.items(), start=1):
            tabs.append(f" {digit} {pane.title} ", "reverse bold" if other == name else "")
        self.query_one("#tabs", Words).say(tabs)
        self._front().enter()
        self.paint(studio_of(self).sources.clock())  # at once: the next key may already be meant for a row of it

    def show_log(self, call_id: str) -> None:
        self.action_tab("log")
        self.query_one(LogPane).filter_by(call_id)

    def paint(self, now: datetime) -> None:
        super().paint(now)
        self._front().paint(now)

    def _front(self) -> Pane:
        return self.query_one(f"#{self.query_one(ContentSwitcher).current}", Pane)
