"""Passes on what is said in calls that were asked for, to those who look on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ai_engine.call.events import CallerSaid, CallEvent, ReplyText

Said = Callable[[str, Literal["caller", "agent"], str], None]


class LiveTranscript:
    """Implements ``Observer``. Of calls without a ``job`` among their facts nothing is passed on."""

    def __init__(self, said: Said) -> None:
        """``said`` is told the id of the call that was asked for, who speaks, and what; it must return at once."""
        self._said = said
        self._jobs: dict[str, str] = {}

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        if job := facts.get("job"):
            self._jobs[call_id] = job

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if (job := self._jobs.get(call_id)) is None:
            return
        match event:
            case CallerSaid(text, True) if text:
                self._said(job, "caller", text)
            case ReplyText(_, text):
                self._said(job, "agent", text)

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Sound is not passed on."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """It was passed on as it came."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        self._jobs.pop(call_id, None)
