"""The tab of the calls in progress."""

from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import DataTable

from ai_engine.studio.tui.bars import lasted, sparkline, took
from ai_engine.studio.tui.board import Watched
from ai_engine.studio.tui.call import CallVerbs
from ai_engine.studio.tui.pane import FilteredPane, FilterInput
from ai_engine.studio.tui.rows import Column, Row, Rows
from ai_engine.studio.tui.words import Words
from ai_engine.switchboard.models import LiveCall

_COLUMNS = (
    Column("#", 3),
    Column("dir", 5),
    Column("agent", 13, grow=2),
    Column("number", 17, grow=1),
    Column("state", 9),
    Column("floor", 10),
    Column("since", 8),
    Column("turn", 6),
    Column("turns", 9, grow=2),
)
_DIRECTIONS = {"inbound": "in", "outbound": "out", "room": "room"}
_FLOORS = {"agent_pending": "thinking", "nobody": "–"}
_SPARK = 40


class CallRows(Rows):
    """Enter opens a call."""

    BINDINGS = [Binding("enter", "select_cursor", "Open", key_display="⏎")]


class CallsPane(CallVerbs, FilteredPane):
    """Which calls there are."""

    title = "Calls"
    main = "CallRows"
    BINDINGS = [Binding("c", "call", "Call")]

    def compose(self) -> ComposeResult:
        yield CallRows(_COLUMNS)
        yield Words(classes="empty")
        yield FilterInput()
        yield Words(classes="detail")

    def paint(self, now: datetime) -> None:
        table = self.query_one(CallRows)
        table.show([row for row in self._rows(now) if self.wanted in " ".join(row.cells).lower()])
        empty = self.query_one(".empty", Words)
        empty.display = table.is_bare
        empty.say(self._emptiness())
        call = self.this_call()
        detail = self.query_one(".detail", Words)
        detail.display = call is not None
        detail.say(_detail(call) if call else "")

    def this_call(self) -> LiveCall | None:
        watched = self.board.calls.get(self.query_one(CallRows).selected)
        return watched.call if watched else None

    def action_call(self) -> None:
        self.studio.start_verb(self.studio.verbs.call())

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        self.studio.open_call(str(event.row_key.value))

    def _rows(self, now: datetime) -> list[Row]:
        return [_row(index, watched, now) for index, watched in enumerate(self.board.calls.values(), start=1)]

    def _emptiness(self) -> str:
        if self.wanted:
            return f"No call contains {self.wanted!r}; / then Esc drops the filter."
        if not self.board.link.up:
            return self.board.link.why
        return "No calls. c has an agent call somebody; calls that come in appear here by themselves."


def floor_of(call: LiveCall) -> str:
    return _FLOORS.get(call.floor, call.floor)


def _row(index: int, watched: Watched, now: datetime) -> Row:
    call = watched.call
    cells = (
        str(index),
        _DIRECTIONS[call.direction],
        call.agent,
        call.number or call.room,
        call.state,
        floor_of(call),
        lasted((now - (call.answered_at or call.since)).total_seconds()),
        took(call.last_turn_ms),
        sparkline([turn.ms for turn in watched.turns], _SPARK)[-8:],
    )
    return Row(call.call_id, cells, "" if call.state == "talking" else "yellow")


def _detail(call: LiveCall) -> str:
    facts = (
        ("call", call.call_id),
        ("agent", call.agent),
        ("our number", call.did),
        ("room", call.room),
        ("provider", call.provider),
        ("channel", call.channel),
        ("turns", str(call.turns)),
    )
    return "   ".join(f"{name} {value}" for name, value in facts if value)
