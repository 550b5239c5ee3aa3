"""What every screen has at its lower edge: what was said last, how things stand, and the keys."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from ai_engine.studio.tui.bars import lasted
from ai_engine.studio.tui.board import Board
from ai_engine.studio.tui.words import Words

if TYPE_CHECKING:
    from ai_engine.studio.tui.app import StudioApp


class Framed(Screen[None]):
    """A screen that is drawn from the board."""

    def frame(self) -> Iterator[Widget]:
        yield Words(id="told")
        yield Words(id="status")
        yield Footer(compact=True, show_command_palette=False)

    def paint(self, now: datetime) -> None:
        studio = studio_of(self)
        told = self.query_one("#told", Words)
        told.say(studio.told)
        told.display = bool(studio.told)
        told.set_class(studio.told_bad, "bad")
        status = self.query_one("#status", Words)
        text = status_of(studio.board, now)
        if studio.board.link.up:
            text.pad_right(max(0, self.size.width - text.cell_len))  # the bar reaches from edge to edge
        status.say(text)
        status.set_class(not studio.board.link.up, "bad")

    def on_screen_resume(self) -> None:
        studio_of(self).paint()


def studio_of(node: DOMNode) -> "StudioApp":
    return cast("StudioApp", node.app)


def status_of(board: Board, now: datetime) -> Text:
    """The engine, Asterisk and the calls, in one line of 80 columns."""
    link = board.link
    if not link.up:
        gone = lasted((now - link.since).total_seconds())
        return Text(f" ○ no engine since {link.since:%H:%M:%S} ({gone}); tried again by itself. {link.why}")
    engine = board.engine
    if engine is None:
        return Text(" … ")
    asterisk = f"Asterisk {engine.asterisk_version} up" if engine.asterisk_up else "Asterisk DOWN"
    ready = "" if engine.ready else " (not ready)"
    return Text(
        f" ● {engine.host} {engine.version}{ready} │ {asterisk} │ {_count(len(board.calls), 'call')}"
        f" │ {_count(len(board.rooms), 'room')}"
    )


def _count(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"
