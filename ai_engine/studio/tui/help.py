"""The page of keys."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

KEYS: Sequence[tuple[str, str, str]] = (
    ("", "1 2 3 4 5", "calls, numbers, agents, log, health"),
    ("", "↑ ↓  Tab", "select; go to the next part of the screen"),
    ("", "/", "show only what contains a word (Esc drops it)"),
    ("", "?  q", "this page; leave (calls and agents go on)"),
    ("Calls,", "Enter  Esc", "open a call; back"),
    ("one call", "c", "have an agent call somebody"),
    ("", "h", "hang up"),
    ("", "t", "transfer to an extension, or to the human"),
    ("", "l", "listen in with a telephone; again: stop"),
    ("", "w", "whisper: tell the agent something"),
    ("", "g", "the log of this call"),
    ("", "←  →", "in a call: the turn before, the next turn"),
    ("Numbers", "i  d", "import a number; remove one"),
    ("", "r", "make Asterisk's trunks those of the store"),
    ("Agents", "s  x", "start in a room, without a telephone; stop"),
    ("", "c", "have it call somebody"),
    ("Log", "f  a", "follow or stand still; the lines of all calls"),
    ("Health", "r", "ask the engine now"),
)


class HelpScreen(ModalScreen[None]):
    """Any of its keys leaves it."""

    BINDINGS = [
        Binding("escape", "dismiss", "Back"),
        Binding("question_mark,q,enter", "dismiss", "Back", show=False),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static("\n".join(_lines()), markup=False)
        yield Footer(compact=True, show_command_palette=False)


def _lines() -> list[str]:
    return [f"{where:<9} {keys:<11} {what}" for where, keys, what in KEYS]
