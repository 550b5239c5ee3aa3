"""Tells those who look on of calls that wait, are dialled, or ring: nobody holds them yet, and they tell nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from ai_engine.app.jobs_under_way import JobsUnderWay
from ai_engine.jobs.ports import CallDesk
from ai_engine.jobs.status import Status
from ai_engine.observe.live import LiveCalls
from ai_engine.switchboard.models import LiveCall

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5
_HELD = (Status.IN_PROGRESS, Status.COMPLETED)
"""Whoever was answered has had a session, which told of its end."""


class JobNews:
    """On the office's event loop. Looks only as long as anybody looks on."""

    def __init__(
        self,
        under_way: JobsUnderWay,
        held: Callable[[], Awaitable[Sequence[LiveCall]]],
        live: LiveCalls,
        desk: CallDesk,
        seconds: float = _LOOK_SECONDS,
    ) -> None:
        """``held`` are the calls in progress; it is looked every few ``seconds``."""
        self._under_way = under_way
        self._held = held
        self._live = live
        self._desk = desk
        self._seconds = seconds
        self._known: Mapping[str, LiveCall] | None = None
        """By call id, as they were told; None while nobody looks on."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                self._known = await self._look() if self._live.watched else None
            except Exception:  # noqa: BLE001 - the edge: as long as the engine runs
                log.exception("those who look on are not told of calls that wait")

    async def _look(self) -> Mapping[str, LiveCall]:
        waiting = {call.call_id: call for call in await self._under_way.calls()}
        held = {call.call_id for call in await self._held()}
        found = {call_id: call for call_id, call in waiting.items() if call_id not in held}
        if self._known is None:
            return found  # whoever begins to look has asked for those
        for call_id, call in found.items():
            if (before := self._known.get(call_id)) != call:
                self._live.publish("call_started" if before is None else "call_changed", call_id, call.as_json())
        for call_id in self._known.keys() - found.keys() - held:
            await self._tell_end(self._known[call_id])
        return found

    async def _tell_end(self, call: LiveCall) -> None:
        record = await self._desk.status(call.job)
        if record is not None and record.status not in _HELD:
            ended = {**call.model_copy(update={"state": "ending"}).as_json(), "reason": record.status.value}
            self._live.publish("call_ended", call.call_id, ended)
