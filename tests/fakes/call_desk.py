"""A ``CallDesk`` in memory, of a house that calls nobody: what happens to a call is what the test says.

desk = MemoryDesk()
record = await desk.call_agent(CallRequest(to="+14155550123", prompt="Say hello."))
desk.happen(record.id, Status.DIALING, "dialing")          # and so on, along the table of statuses
desk.settle(record.id, Status.COMPLETED, outcome="reported")
desk.asked                                                 # every request, in order
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ai_engine.jobs.limits import check_number
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status, may_follow


class MemoryDesk:
    """Implements ``CallDesk``."""

    def __init__(self, manners: Manners | None = None, user_hint: str | None = None) -> None:
        """``user_hint`` is that of every call, as the mock provider has one."""
        self.asked: list[CallRequest] = []
        self.reports: list[tuple[str, Report]] = []
        self._manners = manners or Manners()
        self._user_hint = user_hint
        self._records: dict[str, CallRecord] = {}
        self._timelines: dict[str, list[TimelineEntry]] = {}
        self._by_key: dict[str, str] = {}

    async def call_agent(self, request: CallRequest) -> CallRecord:
        self.asked.append(request)
        check_number(self._manners, request.to)
        if request.idempotency_key in self._by_key:
            return self._records[self._by_key[request.idempotency_key]]
        now = datetime.now(UTC)
        record = CallRecord(
            id=str(uuid4()), request=request, provider="mock", user_hint=self._user_hint, created_at=now, updated_at=now
        )
        self._records[record.id] = record
        self._timelines[record.id] = []
        if request.idempotency_key:
            self._by_key[request.idempotency_key] = record.id
        self._note(record.id, "queued")
        return record

    async def status(self, call_id: str) -> CallRecord | None:
        return self._records.get(call_id)

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        newest_first = reversed(self._records.values())
        return [record for record in newest_first if status in (None, record.status)][:limit]

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        return list(self._timelines.get(call_id, ()))

    async def cancel(self, call_id: str) -> CallRecord | None:
        record = self._records.get(call_id)
        if record is not None and not record.settled:
            self.settle(call_id, Status.CANCELED)
        return self._records.get(call_id)

    async def report_call(self, call_id: str, report: Report) -> None:
        self.reports.append((call_id, report))
        self._change(call_id, report=report)

    # -- what a test says ----------------------------------------------------------------------------------------

    def happen(self, call_id: str, status: Status, kind: str, text: str = "") -> None:
        """News that the table of statuses allows."""
        record = self._records[call_id]
        assert may_follow(record.status, status), f"{status} cannot follow {record.status}"
        self._change(call_id, status=status, attempt=record.attempt + (status is Status.DIALING))
        self._note(call_id, kind, text)

    def settle(self, call_id: str, status: Status, **changes: Any) -> None:
        """The last of it; ``changes`` are fields of the record."""
        self.happen(call_id, status, status.value)
        self._change(call_id, completed_at=datetime.now(UTC), **changes)

    def _change(self, call_id: str, **changes: Any) -> None:
        now = datetime.now(UTC)
        self._records[call_id] = self._records[call_id].model_copy(update={"updated_at": now, **changes})

    def _note(self, call_id: str, kind: str, text: str = "") -> None:
        attempt = self._records[call_id].attempt
        self._timelines[call_id].append(TimelineEntry(at=datetime.now(UTC), kind=kind, text=text, attempt=attempt))
