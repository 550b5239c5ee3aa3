"""The page of keys."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

KEYS: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
    (
        "Everywhere",
        (
            ("1 2 3 4 5", "calls, numbers, agents, log, health"),
            ("↑ ↓  Tab", "select; go to the next part of the screen"),
            ("/", "show only what contains a word (Esc drops it)"),
            ("?  q", "this page; leave (calls and agents go on)"),
        ),
    ),
    (
        "Calls, and one call",
        (
            ("Enter  Esc", "open a call; back"),
            ("c", "have an agent call somebody"),
            ("h  t", "hang up; transfer to an extension, or to the human"),
            ("l", "listen in: a telephone rings and hears both sides; again: stop"),
            ("w", "whisper: tell the agent something"),
            ("g", "the log of this call"),
            ("← →", "in a call: the turn before, the next turn"),
        ),
    ),
    ("Numbers", (("i  d", "import a number; remove one"), ("r", "make Asterisk's trunks those of the store"))),
    ("Agents", (("s  x", "start one without a telephone, in a room; stop it"), ("c", "have it call somebody"))),
    ("Log", (("f  a", "follow or stand still; the lines of all calls"),)),
    ("Health", (("r", "ask the engine now"),)),
)


class HelpScreen(ModalScreen[None]):
    """Any of its keys leaves it."""

    BINDINGS = [Binding("escape,question_mark,q,enter", "dismiss", "Back", key_display="esc")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static("\n".join(_lines()), markup=False)
        yield Footer(compact=True, show_command_palette=False)


def _lines() -> list[str]:
    lines = []
    for title, keys in KEYS:
        lines.append(title)
        lines += [f"  {key:<10} {what}" for key, what in keys]
    return lines
