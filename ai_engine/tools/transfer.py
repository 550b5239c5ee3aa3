"""Hands the caller to a human once the agent's last word was played."""

from collections.abc import Mapping
from typing import Any

from ai_engine.call.events import TransferAsked
from ai_engine.session.ports import ToolContext


class Transfer:
    """Implements ``Tool``."""

    name = "transfer"
    description = "Connect the caller with a person. Say so first: it happens after your last word was played."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    timeout_seconds = 5.0

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        call.happened(TransferAsked("the agent asked for a person"))
        return {"ok": True}
