"""Passes on what is said in calls that were asked for, to those who look on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ai_engine.call.events import CallerPaused, CallerSaid, CallEvent, ReplyText

Said = Callable[[str, Literal["caller", "agent"], str], None]

_PATIENCE_SECONDS = 2.0
"""So long an answer waits for the words of its question, which a provider may understand later than it answers."""


@dataclass(slots=True)
class _Call:
    job: str
    asked: float | None = None
    """When the caller's turn ended whose words are to come."""
    held: list[str] = field(default_factory=list)
    """What the agent has said since."""


class LiveTranscript:
    """Implements ``Observer``. Of calls without a ``job`` among their facts nothing is passed on."""

    def __init__(self, said: Said) -> None:
        """``said`` is told the id of the call that was asked for, who speaks, and what; it must return at once."""
        self._said = said
        self._calls: dict[str, _Call] = {}

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        if job := facts.get("job"):
            self._calls[call_id] = _Call(job)

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if (call := self._calls.get(call_id)) is None:
            return
        if call.asked is not None and now - call.asked > _PATIENCE_SECONDS:
            self._let_go(call)
        match event:
            case CallerPaused():
                call.asked = now
            case CallerSaid(text, True):
                if text:
                    self._said(call.job, "caller", text)
                self._let_go(call)
            case ReplyText(_, text) if call.asked is not None:
                call.held.append(text)
            case ReplyText(_, text):
                self._said(call.job, "agent", text)

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Sound is not passed on."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """It was passed on as it came."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        if (call := self._calls.pop(call_id, None)) is not None:
            self._let_go(call)

    def _let_go(self, call: _Call) -> None:
        call.asked = None
        held, call.held = call.held, []
        for text in held:
            self._said(call.job, "agent", text)
