"""Text that is told again and again, and drawn only when it is another."""

from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """Like Static; what stands there already costs nothing over SSH."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self._said: str | Text = ""

    def say(self, text: str | Text) -> None:
        if text != self._said or type(text) is not type(self._said):
            self._said = text
            self.update(text)
