"""The tab of our numbers and their trunks."""

from datetime import datetime

from textual.app import ComposeResult
from textual.binding import Binding

from ai_engine.studio.tui.pane import FilteredPane, FilterInput
from ai_engine.studio.tui.rows import Column, Row, Rows
from ai_engine.studio.tui.words import Words
from ai_engine.trunks.number import SipNumber

_COLUMNS = (
    Column("number", 17),
    Column("label", 14, grow=1),
    Column("trunk", 25, grow=2),
    Column("agent", 14, grow=1),
    Column("state", 9),
)
_STATES = {
    "online": "the carrier answers",
    "offline": "the carrier does not answer OPTIONS",
    "unknown": "not asked yet",
    "missing": "Asterisk does not know it; r reconciles",
    "failed": "could not be applied",
}


class NumbersPane(FilteredPane):
    """Which numbers there are, and what is wrong with their trunks."""

    title = "Numbers"
    main = "Rows"
    BINDINGS = [
        Binding("i", "add", "Import"),
        Binding("d", "remove", "Remove"),
        Binding("delete", "remove", "Remove", show=False),
        Binding("r", "reconcile", "Reconcile"),
    ]

    def compose(self) -> ComposeResult:
        yield Rows(_COLUMNS)
        yield Words(classes="empty")
        yield FilterInput()
        yield Words(classes="detail")

    def paint(self, now: datetime) -> None:
        table = self.query_one(Rows)
        table.show([row for row in map(self._row, self.board.numbers) if self.wanted in " ".join(row.cells).lower()])
        empty = self.query_one(".empty", Words)
        empty.display = table.is_bare
        empty.say(self._emptiness())
        number = self._selected()
        trouble = [self.board.number_trouble] if self.board.number_trouble else []
        lines = trouble + (self._detail(number) if number else [])
        detail = self.query_one(".detail", Words)
        detail.display = bool(lines)
        detail.say("\n".join(lines))

    def action_add(self) -> None:
        self.studio.start_verb(self.studio.verbs.add_number())

    def action_remove(self) -> None:
        if number := self._selected():
            self.studio.start_verb(self.studio.verbs.remove_number(number))
        else:
            self.studio.tell("There is no number to remove.", bad=True)

    def action_reconcile(self) -> None:
        self.studio.start_verb(self.studio.verbs.reconcile())

    def _selected(self) -> SipNumber | None:
        selected = self.query_one(Rows).selected
        return next((number for number in self.board.numbers if number.number == selected), None)

    def _state(self, number: SipNumber) -> str:
        trunk = self.board.trunks.get(number.number)
        if not self.board.link.up:
            return "–"
        return trunk.state if trunk else "missing"

    def _row(self, number: SipNumber) -> Row:
        state = self._state(number)
        agent = number.inbound_agent or "–"
        cells = (number.number, number.label, _trunk(number), agent, state)
        return Row(number.number, cells, {"online": "", "–": "dim", "unknown": "yellow"}.get(state, "bold red"))

    def _detail(self, number: SipNumber) -> list[str]:
        facts = [
            f"{number.number} {number.label}".strip(),
            f"trunk {_trunk(number)}" + (", SRTP" if number.srtp else ""),
            f"user {number.username}, password ••••" if number.username else "no user: known by our address",
            "registers" if number.registers else "does not register",
            f"inbound: {number.inbound_agent or 'refused'}",
            f"codecs {', '.join(number.codecs)}",
            f"{number.calls} calls at a time",
            *([f"calls come from {', '.join(number.allowed_ips)}"] if number.allowed_ips else []),
        ]
        return ["   ".join(facts), self._standing(number)]

    def _standing(self, number: SipNumber) -> str:
        if not self.board.link.up:
            return "How it stands in Asterisk is known when the engine is there."
        state, trunk = self._state(number), self.board.trunks.get(number.number)
        return f"{state}: {trunk.detail if trunk and trunk.detail else _STATES[state]}"

    def _emptiness(self) -> str:
        if self.wanted:
            return f"No number contains {self.wanted!r}; / then Esc drops the filter."
        return "No numbers. i imports one: number, address of the trunk, user name and password of any carrier."


def _trunk(number: SipNumber) -> str:
    port = f":{number.port}" if number.port else ""
    return f"{number.address}{port};{number.transport}"
