"""Ends the call once the agent's last word was played."""

from collections.abc import Mapping
from typing import Any

from ai_engine.call.events import HangupAsked
from ai_engine.session.ports import ToolContext


class Hangup:
    """Implements ``Tool``."""

    name = "hangup"
    description = "End the call. Say goodbye first: the call ends after your last word was played."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    timeout_seconds = 5.0

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        if call.caller_speaking:
            return {"ok": False, "error": "the caller is speaking; listen first"}
        call.happened(HangupAsked())
        return {"ok": True}
