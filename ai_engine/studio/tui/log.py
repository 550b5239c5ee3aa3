"""The tab of the engine's log."""

from datetime import datetime

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import RichLog

from ai_engine.studio.tui.pane import FilteredPane, FilterInput
from ai_engine.studio.tui.words import Words
from ai_engine.switchboard.models import LogLine

_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red"}


class LogPane(FilteredPane):
    """The latest lines, and those that come."""

    title = "Log"
    main = "RichLog"
    BINDINGS = [
        Binding("f", "follow", "Follow"),
        Binding("a", "all", "All calls"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._written = 0
        self._shown = (0, "")
        """Of which connection, and the filter."""

    def compose(self) -> ComposeResult:
        yield RichLog(max_lines=1000, wrap=True, markup=False, highlight=False)
        yield FilterInput()
        yield Words(classes="detail")

    def paint(self, now: datetime) -> None:
        log, board = self.query_one(RichLog), self.board
        if (board.logs, self.wanted) != self._shown:
            self._shown, self._written = (board.logs, self.wanted), board.logged - len(board.log)
            log.clear()
        fresh = min(board.logged - self._written, len(board.log))
        for line in list(board.log)[len(board.log) - fresh :]:
            text = _line(line)
            if self.wanted in text.plain.lower():
                log.write(text)
        self._written = board.logged
        self.query_one(".detail", Words).say(self._footing(log.auto_scroll))

    def action_follow(self) -> None:
        log = self.query_one(RichLog)
        log.auto_scroll = not log.auto_scroll
        if log.auto_scroll:
            log.scroll_end(animate=False)
        self.studio.paint()

    def action_all(self) -> None:
        self.filter_by("")
        self.enter()
        self.studio.paint()

    def _footing(self, follows: bool) -> str:
        if self.board.log_trouble:
            return self.board.log_trouble
        following = "follows" if follows else "stands still: f follows again"
        only = f"   only what contains {self.wanted!r}: a shows all" if self.wanted else ""
        return f"{len(self.board.log)} lines   {following}{only}"


def _line(line: LogLine) -> Text:
    call = f" {line.call_id}" if line.call_id else ""
    fields = "".join(f" {name}={value}" for name, value in line.fields.items())
    return Text(
        f"{line.at:%H:%M:%S} {line.level:<7} {line.event}{call}{fields}", _STYLES.get(line.level, ""), overflow="fold"
    )
