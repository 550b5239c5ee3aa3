"""Calls that were asked for and have not been answered yet, as whoever looks on sees them."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.jobs.ports import CallDesk
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.status import Status
from ai_engine.switchboard.models import CallState, LiveCall

log = structlog.get_logger(__name__)

_MOST = 200
"""A campaign may have thousands that wait."""


class JobsUnderWay:
    """On the office's event loop."""

    def __init__(
        self,
        desk: CallDesk,
        unsettled: Callable[[], Sequence[str]],
        agent: str,
        is_ours: Callable[[str], bool] = lambda id: True,
    ) -> None:
        """``unsettled`` are the ids of those that are not over, and may block; ``agent`` is that of a request that
        names none. ``is_ours`` tells whether it is this engine that dials, where several share a database."""
        self._desk = desk
        self._unsettled = unsettled
        self._agent = agent
        self._is_ours = is_ours

    async def calls(self) -> list[LiveCall]:
        """None where the database does not answer: what is held already is seen all the same."""
        try:
            ids = (await asyncio.to_thread(self._unsettled))[:_MOST]
            records = [await self._desk.status(id) for id in ids]
            return [await self._seen(record) for record in records if record is not None and self._is_seen(record)]
        except SQLAlchemyError as error:
            log.warning("nobody knows which calls wait: the database does not answer", reason=type(error).__name__)
            return []

    def _is_seen(self, record: CallRecord) -> bool:
        if record.status in (Status.DIALING, Status.IN_PROGRESS):
            return self._is_ours(record.id)
        return not record.settled

    async def _seen(self, record: CallRecord) -> LiveCall:
        request = record.request
        return LiveCall(
            call_id=f"{record.id}-{_attempt(record)}",
            direction="outbound",
            agent=request.agent or self._agent,
            number=request.to,
            did=request.trunk or "",
            state=await self._state(record),
            since=record.created_at,
            job=record.id,
        )

    async def _state(self, record: CallRecord) -> CallState:
        match record.status:
            case Status.DIALING:
                entries = await self._desk.timeline(record.id)
                rings = any(entry.kind == "ringing" and entry.attempt == record.attempt for entry in entries)
                return "ringing" if rings else "dialing"
            case Status.IN_PROGRESS:
                return "talking"
            case _:  # or it is dialled again later
                return "queued"


def _attempt(record: CallRecord) -> int:
    """The one that is under way, or comes next."""
    return max(record.attempt, 1) + (record.status.over and record.attempt > 0)
