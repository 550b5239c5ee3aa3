"""The tab of the agents: what each can do, and why not."""

from collections.abc import Iterator
from datetime import datetime

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from ai_engine.studio.tui.pane import FilteredPane, FilterInput
from ai_engine.studio.tui.rows import Column, Row, Rows
from ai_engine.studio.tui.words import Words
from ai_engine.switchboard.models import AgentInfo

_COLUMNS = (
    Column("agent", 18, grow=1),
    Column("version", 10),
    Column("provider", 15, grow=1),
    Column("lang", 7),
    Column("numbers", 17, grow=1),
    Column("state", 12, grow=1),
)


class AgentsPane(FilteredPane):
    """Which agents there are."""

    title = "Agents"
    main = "Rows"
    BINDINGS = [
        Binding("s", "start", "Start"),
        Binding("x", "stop", "Stop"),
        Binding("c", "call", "Call"),
    ]

    def compose(self) -> ComposeResult:
        yield Rows(_COLUMNS)
        yield Words(classes="empty")
        yield FilterInput()
        with VerticalScroll(classes="below"):
            yield Words(classes="about")

    def paint(self, now: datetime) -> None:
        table = self.query_one(Rows)
        rows = [self._row(name) for name in self.studio.agent_names()]
        table.show([row for row in rows if self.wanted in " ".join(row.cells).lower()])
        empty = self.query_one(".empty", Words)
        empty.display = table.is_bare
        empty.say(self._emptiness())
        self.query_one(".about", Words).say("\n".join(self._about(table.selected)))

    def action_start(self) -> None:
        self.studio.start_verb(self.studio.verbs.start(self.query_one(Rows).selected))

    def action_stop(self) -> None:
        if agent := self.query_one(Rows).selected:
            self.studio.start_verb(self.studio.verbs.stop(agent))

    def action_call(self) -> None:
        self.studio.start_verb(self.studio.verbs.call(self.query_one(Rows).selected))

    def _emptiness(self) -> str:
        if self.wanted:
            return f"No agent contains {self.wanted!r}; / then Esc drops the filter."
        return "No agents; 'studio agent create NAME' makes one."

    def _info(self, name: str) -> AgentInfo | None:
        return next((agent for agent in self.board.agents if agent.name == name), None)

    def _row(self, name: str) -> Row:
        info = self._info(name)
        rooms = [room.name for room in self.board.rooms if room.agent == name]
        state = "room " + ", ".join(rooms) if rooms else "ready"
        if info is None:
            wrong = bool(self.board.agent_files.get(name))
            return Row(name, (name, "", "", "", "", "ERROR" if wrong else "–"), "bold red" if wrong else "dim")
        if info.error:
            state = "ERROR"
        cells = (name, info.version, info.provider, info.language, ", ".join(info.numbers), state)
        return Row(name, cells, "bold red" if info.error else "")

    def _about(self, name: str) -> Iterator[str]:
        if self.board.agent_trouble:
            yield self.board.agent_trouble
        if not name:
            return
        info = self._info(name)
        if info is None:
            yield from self.board.agent_files.get(name, ())
            yield f"{name} is a file; what it can do is known when the engine is there and has read it."
            return
        yield f"{info.name}   version {info.version}   {info.source}"
        if info.error:
            yield f"ERROR {info.error}"
        for room in self.board.rooms:
            if room.agent == name:
                ways = "   ".join(filter(None, (room.extension and f"dial {room.extension}", room.url)))
                yield f"runs in room {room.name}, {room.joined} joined   {ways}"
        for capability in info.capabilities:
            reason = f": {capability.reason}" if capability.reason else ""
            yield f"  {'yes' if capability.present else 'NO ':<3} {capability.name}{reason}"
        if info.tools:
            yield f"tools: {', '.join(info.tools)}"
        if info.not_applicable:
            yield "means nothing here:"
            yield from (f"  {key}" for key in info.not_applicable)
