"""Sends the caller to the voicemail once the agent's last word was played."""

from collections.abc import Mapping
from typing import Any

from ai_engine.call.events import TransferAsked
from ai_engine.session.ports import ToolContext
from ai_engine.tools.answer import failed


class LeaveVoicemail:
    """Implements ``Tool``."""

    name = "leave_voicemail"
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    timeout_seconds = 5.0

    def __init__(self, context: str, extension: str, description: str | None = None) -> None:
        """The place in the dialplan that takes messages; ``description`` says when to offer it."""
        self.description = description or (
            "Let the caller leave a voice message, when they want to or nobody can help now. Say so first: it happens "
            "after your last word was played."
        )
        self._place = context, extension

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        if not call.reaches_human:
            return failed("there is no voicemail in this call")
        if call.caller_speaking:
            return failed("the caller is speaking; listen first")
        call.happened(TransferAsked("the caller leaves a message", *self._place))
        return {"ok": True}
