"""A table that is told its rows again and again, and touches only what has changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from ai_engine.studio.tui.bars import cut


@dataclass(frozen=True, slots=True)
class Column:
    """At least ``width`` columns wide, the space after it included; ``grow`` is its share of what is left over."""

    label: str
    width: int
    grow: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """``key`` stays the same while the cells change; ``style`` is rich's."""

    key: str
    cells: Sequence[str]
    style: str = ""


class Rows(DataTable[Text]):
    """One row is selected, unless there is none."""

    BINDINGS = [
        Binding("home", "scroll_top", "First", show=False),
        Binding("end", "scroll_bottom", "Last", show=False),
    ]

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(cursor_type="row", cell_padding=0, zebra_stripes=False)
        self._fields = columns
        self._shown: list[Row] = []
        self._widths: list[int] = []

    @property
    def selected(self) -> str:
        """The key of the row; empty where there is none."""
        return self._shown[self.cursor_row].key if 0 <= self.cursor_row < len(self._shown) else ""

    @property
    def is_bare(self) -> bool:
        """Whether it was told of no rows; those it was told of may not yet have been laid down."""
        return not self._shown

    def show(self, rows: Sequence[Row]) -> None:
        if [row.key for row in rows] != [row.key for row in self._shown]:
            self._lay_down(rows)
            return
        for index, (row, before) in enumerate(zip(rows, self._shown, strict=True)):
            if row == before:
                continue
            for place, cell in enumerate(row.cells):
                if cell != before.cells[place] or row.style != before.style:
                    self.update_cell_at(Coordinate(index, place), self._cell(row, place))
        self._shown = list(rows)

    def on_resize(self, event: events.Resize) -> None:
        widths = self._measured(event.size.width)
        if widths != self._widths:
            self._widths = widths
            self.clear(columns=True)
            for column, width in zip(self._fields, widths, strict=True):
                self.add_column(column.label, width=width)
            self._lay_down(self._shown)

    def _lay_down(self, rows: Sequence[Row]) -> None:
        selected, place = self.selected, self.cursor_row
        self._shown = list(rows)
        self.clear()
        if not self._widths:
            return  # the size is not known yet
        for row in rows:
            self.add_row(*(self._cell(row, place) for place in range(len(self._fields))), key=row.key)
        keys = [row.key for row in rows]
        self.move_cursor(row=keys.index(selected) if selected in keys else min(place, max(0, len(keys) - 1)))

    def _cell(self, row: Row, place: int) -> Text:
        return Text(cut(row.cells[place], self._widths[place] - 1) if self._widths else "", row.style, no_wrap=True)

    def _measured(self, width: int) -> list[int]:
        left = max(0, width - sum(column.width for column in self._fields))
        shares = sum(column.grow for column in self._fields) or 1
        return [column.width + left * column.grow // shares for column in self._fields]
