"""The tab of how the engine is."""

from collections.abc import Iterator
from datetime import datetime

from pydantic import JsonValue
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from ai_engine.studio.tui.bars import lasted, percentile, sparkline, took
from ai_engine.studio.tui.pane import Pane
from ai_engine.studio.tui.words import Words


class HealthPane(Pane):
    """The engine, Asterisk, and how fast answers are."""

    title = "Health"
    main = "VerticalScroll"
    BINDINGS = [Binding("r", "hurry", "Ask now")]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Words(classes="about")

    def paint(self, now: datetime) -> None:
        lines = (f"{name:<22} {value}".rstrip() for name, value in self._facts(now))
        self.query_one(".about", Words).say("\n".join(lines))

    def action_hurry(self) -> None:
        self.studio.feed.hurry()

    def _facts(self, now: datetime) -> Iterator[tuple[str, str]]:
        board, engine = self.board, self.board.engine
        if not board.link.up:
            yield "engine", f"not there since {board.link.since:%H:%M:%S}: {board.link.why}"
            if engine is not None:
                yield "", "What follows is what it said last."
        if engine is None:
            return
        running = lasted((now - engine.started_at).total_seconds())
        yield "engine", f"{engine.id} on {engine.host}, pid {engine.pid}, version {engine.version}"
        yield "running", f"{running}, since {engine.started_at:%Y-%m-%d %H:%M:%S}"
        yield "API", engine.url
        yield "Asterisk", f"{engine.asterisk_version} up, app {engine.app}" if engine.asterisk_up else "DOWN"
        yield "ready", "yes" if engine.ready else "NO: it takes no calls"
        yield "calls over", engine.provider or "–"
        yield "in progress", f"{engine.calls} calls, {engine.rooms} rooms"
        turns = [turn.ms for watched in (*board.over.values(), *board.calls.values()) for turn in watched.turns]
        yield "answers", _answers(turns)
        for name, value in engine.health.items():
            yield name.replace("_", " "), _plain(value)


def _plain(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(other)}" for name, other in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def _answers(turns: list[float]) -> str:
    if not turns:
        return "no turn since you look"
    half, most = took(percentile(turns, 0.5)), took(percentile(turns, 0.95))
    return f"{len(turns)} turns since you look: P50 {half}, P95 {most}  {sparkline(turns, 30)}"
