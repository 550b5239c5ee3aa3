"""Keys that an agent presses, and what it is told."""

from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.send_dtmf import SendDtmf
from tests.fakes.tool_call import ToolCall


class Keys(ToolCall):
    """A call whose keys do, or do not work."""

    def __init__(self, why_not: str = "") -> None:
        super().__init__()
        self.why_not = why_not
        self.pressed: list[str] = []

    async def press(self, digits: str) -> str:
        self.pressed.append(digits)
        return self.why_not


async def test_keys_that_are_pressed() -> None:
    call = Keys()
    result, _ = await Toolbox([SendDtmf()]).use("send_dtmf", {"digits": "12#"}, call)
    assert (result, call.pressed) == ({"ok": True}, ["12#"])


async def test_keys_that_cannot_be_pressed() -> None:
    call = Keys("pressing keys needs a call of our own Asterisk")
    result, _ = await Toolbox([SendDtmf()]).use("send_dtmf", {"digits": "1"}, call)
    assert result["ok"] is False
    assert result["error"] == "the keys could not be pressed: pressing keys needs a call of our own Asterisk"
