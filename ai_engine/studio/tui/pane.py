"""What the tabs have in common: something that is drawn from the board, and a filter."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

from textual import on
from textual.binding import Binding
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import DataTable, Input

from ai_engine.studio.tui.board import Board

if TYPE_CHECKING:
    from ai_engine.studio.tui.app import StudioApp


class Pane(Vertical):
    """A tab."""

    title = ""
    main = ""
    """The type or id of the widget that has the focus first, as CSS names it."""

    @property
    def studio(self) -> "StudioApp":
        return cast("StudioApp", self.app)

    @property
    def board(self) -> Board:
        return self.studio.board

    def paint(self, now: datetime) -> None:
        """Draw what the board says."""
        raise NotImplementedError

    def enter(self) -> None:
        """The tab has come to the front."""
        # At once, other than `focus()`: the next key may be on its way already.
        self.screen.set_focus(self.query_one(self.main, Widget))


class FilterInput(Input):
    """Where the filter is typed; gone while there is none."""

    BINDINGS = [
        Binding("enter", "submit", "Keep the filter"),
        Binding("escape", "drop", "No filter"),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder="show only what contains …", compact=True, classes="filter")
        self.display = False
        self.cursor_blink = False

    def action_drop(self) -> None:
        self.value = ""
        self.post_message(self.Submitted(self, ""))


class FilteredPane(Pane):
    """A tab whose rows can be filtered; it has a ``FilterInput``."""

    BINDINGS = [Binding("slash", "filter", "Filter", key_display="/")]

    @property
    def wanted(self) -> str:
        """What rows must contain, in lower case."""
        return self.query_one(FilterInput).value.strip().lower()

    def action_filter(self) -> None:
        field = self.query_one(FilterInput)
        field.display = True
        field.focus()

    def filter_by(self, text: str) -> None:
        field = self.query_one(FilterInput)
        field.value = text
        field.display = bool(text)

    @on(DataTable.RowHighlighted)
    def _looked_at(self) -> None:
        self.studio.paint()

    @on(Input.Changed, ".filter")
    def _narrowed(self) -> None:
        self.studio.paint()

    @on(Input.Submitted, ".filter")
    def _kept(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value)
        self.enter()
