"""What a row of the store says, as values, and the few things that are done to rows everywhere."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ai_engine.dispatch.database import attempts, bookings, calls, timeline
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.status import Status


@dataclass(frozen=True, slots=True)
class KnownAttempt:
    """What is known of one attempt; times are epoch seconds."""

    call_id: str
    number: int
    token: str
    state: str
    provider_call_id: str
    reason: str
    retryable: bool
    begun_at: float | None
    dialed_at: float | None
    answered_at: float | None
    ended_at: float | None
    redial_at: float | None

    @property
    def over(self) -> bool:
        return self.ended_at is not None


@dataclass(frozen=True, slots=True)
class KnownBooking:
    """An appointment that was confirmed on the telephone."""

    key: str
    call_id: str
    body: Mapping[str, Any]
    state: str
    result: Mapping[str, Any]
    answered_at: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a call has come."""

    record: CallRecord
    latest: KnownAttempt | None
    """The attempt that was begun last."""

    @property
    def wanted(self) -> bool:
        """Whether the number is to be dialled at all, now or later."""
        record, latest = self.record, self.latest
        if record.settled or record.status is Status.CANCELED or came_to_something(record):
            return False
        return latest is None or not latest.over or latest.redial_at is not None

    @property
    def waits(self) -> bool:
        """Whether it is to be dialled, and has not been: for the first time, or again."""
        return self.wanted and (self.latest is None or self.latest.over)


def came_to_something(record: CallRecord) -> bool:
    """There is nothing left to call for."""
    return record.scheduled_event is not None or record.report is not None


def is_attempt(call_id: str, number: int) -> Sequence[Any]:
    return attempts.c.call_id == call_id, attempts.c.number == number


def read_attempt(connection: Connection, call_id: str, number: int) -> KnownAttempt | None:
    row = connection.execute(select(attempts).where(*is_attempt(call_id, number))).first()
    if row is None:
        return None
    values = {name: getattr(row, name) for name in KnownAttempt.__dataclass_fields__}
    return KnownAttempt(**{**values, "retryable": bool(row.retryable)})


def change_attempt(connection: Connection, call_id: str, number: int, **values: Any) -> None:
    connection.execute(update(attempts).where(*is_attempt(call_id, number)).values(values))


def read_booking(connection: Connection, key: str) -> KnownBooking | None:
    row = connection.execute(select(bookings).where(bookings.c.key == key)).first()
    return None if row is None else _known_booking(row)


def read_bookings(connection: Connection, call_id: str) -> list[KnownBooking]:
    """The oldest first."""
    query = select(bookings).where(bookings.c.call_id == call_id).order_by(bookings.c.asked_at)
    return [_known_booking(row) for row in connection.execute(query)]


def _known_booking(row: Row[Any]) -> KnownBooking:
    return KnownBooking(row.key, row.call_id, json.loads(row.body), row.state, json.loads(row.result), row.answered_at)


def read_record(connection: Connection, call_id: str) -> CallRecord | None:
    # For update: two writers of one record must not each undo what the other wrote.
    query = select(calls.c.record).where(calls.c.id == call_id).with_for_update()
    found = connection.execute(query).scalar()
    return None if found is None else CallRecord.model_validate_json(found)


def require_record(connection: Connection, call_id: str) -> CallRecord:
    """Raises KeyError."""
    if (record := read_record(connection, call_id)) is None:
        raise KeyError(call_id)
    return record


def change_record(connection: Connection, call_id: str, now: float, changes: Mapping[str, Any]) -> CallRecord:
    """Raises KeyError."""
    record = require_record(connection, call_id).model_copy(update={**changes, "updated_at": moment(now)})
    values = {"record": written(record), "status": record.status}
    connection.execute(update(calls).where(calls.c.id == call_id).values(values))
    return record


def add_note(connection: Connection, call_id: str, now: float, kind: str, text: str, attempt: int) -> None:
    row = {"call_id": call_id, "at": now, "kind": kind, "text": text, "attempt": attempt}
    connection.execute(insert(timeline).values(row))


def written(record: CallRecord) -> str:
    return record.model_dump_json(by_alias=True, exclude_none=True)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
