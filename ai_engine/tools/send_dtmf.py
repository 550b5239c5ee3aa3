"""The tool that presses keys for the agent."""

from collections.abc import Mapping
from typing import Any

from ai_engine.call.events import DigitsAsked
from ai_engine.session.ports import ToolContext


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
        call.happened(DigitsAsked(arguments["digits"]))
        return {"ok": True}
