"""The tool that presses keys for the agent."""

from collections.abc import Mapping
from typing import Any

from ai_engine.session.ports import ToolContext
from ai_engine.tools.answer import failed


class SendDtmf:
    """Implements ``Tool``: what an agent needs to get through somebody else's menu."""

    name = "send_dtmf"
    description = (
        "Press telephone keys, one after the other, for the person or machine on the line. Say nothing meanwhile: "
        "the keys take the place of your words."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"digits": {"type": "string", "pattern": "^[0-9*#A-D]{1,64}$"}},
        "required": ["digits"],
        "additionalProperties": False,
    }
    timeout_seconds = 5.0

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        why_not = await call.press(arguments["digits"])
        return failed(f"the keys could not be pressed: {why_not}") if why_not else {"ok": True}
