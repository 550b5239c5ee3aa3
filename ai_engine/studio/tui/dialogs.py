"""Questions that stand before the screen until they are answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Checkbox, Footer, Input, Label, Static

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a form."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    """Shown where nothing is written yet."""
    choices: Sequence[str] = ()
    """Completed while one types, with the right arrow."""
    secret: bool = False
    tick: bool = False
    """A box to tick; its value is `yes` or nothing."""


class Form(ModalScreen[T | None], Generic[T]):
    """Asks for some values; what ``read`` makes of them is the answer, None where the form was left."""

    BINDINGS = [
        Binding("escape", "leave", "Cancel"),
        Binding("ctrl+s", "submit", "OK", key_display="^s"),
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Field before", show=False),
    ]

    def __init__(self, title: str, fields: Sequence[Field], read: Callable[[Mapping[str, str]], T]) -> None:
        """``read`` raises ValueError, whose text says what is wrong."""
        super().__init__()
        self._title = title
        self._fields = fields
        self._read = read

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._title, classes="title", markup=False)
            with VerticalScroll(classes="fields", can_focus=False):
                for field in self._fields:
                    with Horizontal(classes="field"):
                        yield Label(field.label, classes="name", markup=False)
                        yield _widget(field)
            yield Static("", classes="wrong", markup=False)
            yield Static("Tab: next field   Enter: OK   Esc: cancel", classes="hint")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        empty = next((f for f in self._fields if not f.value and not f.tick), self._fields[0])
        self.query_one(f"#field-{empty.name}").focus()

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.action_submit()

    def action_submit(self) -> None:
        try:
            answer = self._read(self._values())
        except ValidationError as problem:
            self._wrong("; ".join(f"{_place(error['loc'])}{_said(error['msg'])}" for error in problem.errors()))
        except ValueError as problem:
            self._wrong(str(problem))
        else:
            self.dismiss(answer)

    def action_leave(self) -> None:
        self.dismiss(None)

    def _wrong(self, what: str) -> None:
        self.query_one(".wrong", Static).update(what)

    def _values(self) -> dict[str, str]:
        values = {}
        for field in self._fields:
            if field.tick:
                values[field.name] = "yes" if self.query_one(f"#field-{field.name}", Checkbox).value else ""
            else:
                text = self.query_one(f"#field-{field.name}", Input).value
                values[field.name] = text if field.secret else text.strip()
        return values


class Confirm(ModalScreen[bool]):
    """Yes or no; Enter alone is neither."""

    BINDINGS = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n", "answer(False)", "No"),
        Binding("escape", "answer(False)", "No", show=False),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False)
            yield Static("y: yes   n: no", classes="hint")
        yield Footer(compact=True, show_command_palette=False)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Steady(Input):
    """Its cursor does not blink: each blink would be bytes over SSH."""

    def on_mount(self) -> None:
        self.cursor_blink = False


def _widget(field: Field) -> Input | Checkbox:
    if field.tick:
        return Checkbox(field.hint, field.value == "yes", id=f"field-{field.name}", compact=True)
    suggester = SuggestFromList(field.choices, case_sensitive=False) if field.choices else None
    return Steady(
        field.value,
        placeholder=field.hint,
        password=field.secret,
        suggester=suggester,
        id=f"field-{field.name}",
        compact=True,
        select_on_focus=False,
    )


def _place(loc: Sequence[int | str]) -> str:
    return f"{loc[0]}: " if loc else ""


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
