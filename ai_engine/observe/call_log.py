"""A call as lines of the log: who said what, who interrupted whom, how it ended."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import structlog

from ai_engine.call.events import (
    AgentAdvised,
    CallerHeld,
    CallerHummed,
    CallerHungUp,
    CallerMuttered,
    CallerSaid,
    CallerUnheld,
    CallEvent,
    ConsultationBegan,
    ConsultationEnded,
    DigitReceived,
    DigitsAsked,
    FalseAlarm,
    FellBack,
    HangupAsked,
    HangupOrdered,
    MediaAttached,
    PlayoutHeld,
    PlayoutResumed,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAsked,
    TransferAsked,
)

log = structlog.get_logger(__name__)

_SENTENCES: dict[type[CallEvent], str] = {
    AgentAdvised: "agent is advised",
    CallerHeld: "caller put us on hold",
    CallerHummed: "caller only hummed",
    CallerHungUp: "caller hung up",
    CallerMuttered: "caller muttered",
    CallerUnheld: "caller is back",
    ConsultationBegan: "human is asked",
    ConsultationEnded: "human was asked",
    FalseAlarm: "false alarm",
    HangupAsked: "hangup asked",
    HangupOrdered: "hangup ordered",
    MediaAttached: "sound flows",
    PlayoutHeld: "agent waits",
    PlayoutResumed: "agent goes on",
    ReplyCut: "agent interrupted",
    ToolAsked: "tool asked",
    TransferAsked: "transfer asked",
}
"""What an operator wants to read; everything else is for DEBUG."""


class CallLog:
    """Implements ``Observer``: one line per event, never per frame."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._said: dict[str, dict[ReplyId, list[str]]] = defaultdict(dict)
        """Words of the replies that are being made: they come in pieces."""

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        self._began[call_id] = now
        log.info("call started", call_id=call_id, **facts)

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        match event:
            case CallerSaid(text, final=True):
                log.info("caller said", call_id=call_id, text=text)
            case DigitReceived():
                log.info("key pressed", call_id=call_id)  # not which: it may be a PIN
            case DigitsAsked():
                log.info("keys asked", call_id=call_id)
            case FellBack():
                log.warning("sound does not travel this way, trying the next", call_id=call_id, **_details(event))
            case ReplyText(reply, text):
                self._said[call_id].setdefault(reply, []).append(text)
            case ReplyEnded(reply) if words := self._said[call_id].pop(reply, None):
                log.info("agent says", call_id=call_id, reply=reply, text=" ".join(words))
            case _ if type(event) in _SENTENCES:
                log.info(_SENTENCES[type(event)], call_id=call_id, **_details(event))
            case _:
                log.debug(type(event).__name__, call_id=call_id, **_details(event))

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Frames are no lines."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """What was said has been logged as it was said."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        self._said.pop(call_id, None)
        seconds = round(now - self._began.pop(call_id, now), 1)
        log.info("call ended", call_id=call_id, reason=reason, seconds=seconds)


def _details(event: CallEvent) -> dict[str, object]:
    return {
        field.name: round(value, 1) if isinstance(value := getattr(event, field.name), float) else value
        for field in fields(event)
    }
