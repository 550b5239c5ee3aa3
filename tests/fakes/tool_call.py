"""The call a tool is used in, as the tool sees it."""

from collections.abc import Mapping

from ai_engine.call.events import CallEvent
from ai_engine.session.ports import Consultation, Said


class ToolCall:
    """Implements ``ToolContext``; ``events`` is what happened to the call."""

    call_id = "call-1"
    history: tuple[Said, ...] = ()
    reaches_human = True

    def __init__(self, facts: Mapping[str, str] | None = None, *, caller_speaking: bool = False) -> None:
        self.facts = {"agent": "reception", "caller": "+15551234", "dialled": "100", "channel": "c1", **(facts or {})}
        self.caller_speaking = caller_speaking
        self.events: list[CallEvent] = []

    def happened(self, event: CallEvent) -> None:
        self.events.append(event)

    async def press(self, digits: str) -> str:
        raise AssertionError(digits)

    async def consult(self, consultation: Consultation) -> str:
        raise AssertionError(consultation)
