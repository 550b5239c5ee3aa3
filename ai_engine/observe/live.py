"""Calls as they are now, and what happens in them, for whoever looks on."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ai_engine.audio.format import FRAME_MS, SAMPLE_BYTES
from ai_engine.call.events import (
    AgentSpoke,
    AgentStarted,
    CallerSaid,
    CallEvent,
    MediaAttached,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ReplyText,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.observe.feed import Feed, Reader
from ai_engine.observe.latency import TurnTimes, Waterfall
from ai_engine.observe.levels import Levels
from ai_engine.switchboard.models import CallState, EventKind, LiveCall, StudioEvent

_STATES: Mapping[str, CallState] = {
    Phase.ARRIVING: "ringing",
    Phase.STARTING: "talking",
    Phase.TALKING: "talking",
}
"""In every other phase a call is ending."""

_STAGES = ("end_of_turn", "transcript", "first_token", "first_audio", "first_frame")

Standing = Callable[[str], tuple[str, str] | None]


@dataclass(slots=True)
class _Call:
    live: LiveCall
    """Without what ``Standing`` tells."""
    waterfall: Waterfall = field(default_factory=Waterfall)
    levels: Levels = field(default_factory=Levels)
    words: dict[ReplyId, list[str]] = field(default_factory=dict)
    """Of the replies that are being made: they come in pieces."""
    told: LiveCall | None = None
    """As it was told last."""
    is_due: bool = False
    """It will be looked at when this step is done."""


class LiveCalls:
    """Implements ``Observer``: on the call loop, where all of it is done at once, and sound costs nothing as long as
    nobody looks on."""

    def __init__(self, standing: Standing, room_of: Callable[[str], str] = lambda channel_id: "") -> None:
        """``standing`` tells phase and floor of a call, by its id; None where it is not there any more. ``room_of``
        tells the room in which a channel is; empty where it is in none."""
        self._standing = standing
        self._room_of = room_of
        self._calls: dict[str, _Call] = {}
        self._feed: Feed[StudioEvent] = Feed()

    def events(self) -> Reader[StudioEvent]:
        """From now on; to be closed. On the loop of those who look on, which is one for all of them."""
        return self._feed.read()

    @property
    def watched(self) -> bool:
        """Whether anybody looks on; from any thread."""
        return self._feed.watched

    def publish(self, kind: EventKind, call_id: str = "", data: Mapping[str, Any] | None = None) -> None:
        """Something that happened elsewhere; from any thread."""
        if self._feed.watched:
            self._feed.tell(StudioEvent(at=datetime.now(UTC), kind=kind, call_id=call_id, data=dict(data or {})))

    def close(self) -> None:
        """Let those who look on go. On their loop."""
        self._feed.close()

    def now(self) -> list[LiveCall]:
        """Those in progress, the oldest first."""
        return [self._as_it_stands(call_id, call) for call_id, call in list(self._calls.items())]

    # -- Observer --------------------------------------------------------------------------------------------

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        call = self._calls[call_id] = _Call(_live_call(call_id, facts))
        call.told = self._as_it_stands(call_id, call)
        self.publish("call_started", call_id, call.told.as_json())

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if (call := self._calls.get(call_id)) is None:
            return
        call.waterfall.happened(event, now)
        match event:
            case MediaAttached() if call.live.answered_at is None:
                call.live = call.live.model_copy(update={"answered_at": datetime.now(UTC)})
            case AgentStarted(provider):
                call.live = call.live.model_copy(update={"provider": provider})
            case CallerSaid(text, final) if text:
                self.publish("said" if final else "saying", call_id, {"who": "caller", "text": text})
            case ReplyText(reply, text):
                words = call.words.setdefault(reply, [])
                words.append(text)
                self.publish("saying", call_id, {"who": "agent", "text": " ".join(words)})
            case ReplyEnded(reply):
                self._said(call_id, call.words.pop(reply, None))
            case ReplyCut(reply, heard_ms):
                self._said(call_id, call.words.pop(reply, None), cut=True, heardMs=heard_ms)
            case AgentSpoke():
                self._answered(call_id, call, now)
        if self._feed.watched and not call.is_due:
            # The rules have not yet decided what this event means.
            call.is_due = True
            asyncio.get_running_loop().call_soon(self._look, call_id)

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        if not self._feed.watched or (call := self._calls.get(call_id)) is None:
            return
        if (levels := call.levels.add(caller, agent, rate * FRAME_MS // 1000 * SAMPLE_BYTES)) is not None:
            self.publish("levels", call_id, {"caller": levels[0], "agent": levels[1]})

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """It was told as it was said."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        if (call := self._calls.pop(call_id, None)) is not None:
            for words in call.words.values():  # of whoever was lost in the middle of it
                self._said(call_id, words, cut=True)
            live = self._as_it_stands(call_id, call).model_copy(update={"state": "ending"})
            self.publish("call_ended", call_id, {**live.as_json(), "reason": str(reason)})

    # --------------------------------------------------------------------------------------------------------

    def _said(self, call_id: str, words: list[str] | None, **more: Any) -> None:
        if words:
            self.publish("said", call_id, {"who": "agent", "text": " ".join(words), **more})

    def _answered(self, call_id: str, call: _Call, now: float) -> None:
        """The agent is heard: if that answers a turn of the caller, the turn is over."""
        turn = call.waterfall.turns[-1] if call.waterfall.turns else None
        if turn is None or turn.first_frame != now or (ms := turn.response_ms) is None:
            return
        call.live = call.live.model_copy(update={"turns": call.live.turns + 1, "last_turn_ms": ms})
        self.publish("turn", call_id, {"ms": ms, "waterfall": _stages(turn)})

    def _look(self, call_id: str) -> None:
        if (call := self._calls.get(call_id)) is None:
            return
        call.is_due = False
        live = self._as_it_stands(call_id, call)
        if live != call.told:
            call.told = live
            self.publish("call_changed", call_id, live.as_json())

    def _as_it_stands(self, call_id: str, call: _Call) -> LiveCall:
        live = call.live
        if not live.room and (room := self._room_of(live.channel)):
            live = call.live = live.model_copy(update={"room": room, "direction": "room"})
        if (standing := self._standing(call_id)) is None:
            return live
        phase, floor = standing
        return live.model_copy(update={"state": _STATES.get(phase, "ending"), "floor": str(floor)})


def _live_call(call_id: str, facts: Mapping[str, str]) -> LiveCall:
    job, room = facts.get("job", ""), facts.get("room", "")
    # Somebody who calls back gets the agent who had called them: with that job, but not as an attempt of it.
    is_ours = bool(job) and call_id.startswith(f"{job}-")
    return LiveCall(
        call_id=call_id,
        direction="room" if room else "outbound" if is_ours else "inbound",
        agent=facts.get("agent", ""),
        number=facts.get("caller", ""),
        did=facts.get("dialled", ""),
        room=room,
        state="ringing",
        provider=facts.get("provider", ""),
        since=datetime.now(UTC),
        channel=facts.get("channel", ""),
        job=job,
    )


def _stages(turn: TurnTimes) -> dict[str, float]:
    plain = turn.plain()
    found = {stage: plain[f"{stage}_ms"] for stage in _STAGES}
    return {stage: ms for stage, ms in found.items() if isinstance(ms, float)}
