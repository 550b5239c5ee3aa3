"""What is known of all calls, kept so that it survives a crash at any point."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ai_engine.dispatch.database import Database, attempts, bookings, calls, timeline
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.status import Progress, Status, may_follow

_TOKEN_BYTES = 24

_WORDS = {
    Status.IN_PROGRESS: "answered",
    Status.COMPLETED: "ended",
    Status.NO_ANSWER: "no answer",
}
"""How the timeline tells of a status."""


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
    dialed_at: float | None
    answered_at: float | None
    ended_at: float | None

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


class Store:
    """Every method is one transaction, and blocks for as long as that takes: to be called off any event loop."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """``clock`` is epoch seconds."""
        self._database = database
        self._clock = clock

    # -- calls ---------------------------------------------------------------------------------------------

    def add_call(self, call_id: str, request: CallRequest, provider: str) -> CallRecord:
        """The record, or that of an earlier request with the same ``idempotency_key``."""
        now = self._clock()
        record = CallRecord(
            id=call_id, request=request, provider=provider, created_at=_moment(now), updated_at=_moment(now)
        )
        row = {
            "id": call_id,
            "idempotency_key": request.idempotency_key,
            "number": request.to,
            "status": record.status,
            "created_at": now,
            "record": _written(record),
        }
        try:
            with self._database.transaction() as connection:
                connection.execute(insert(calls).values(row))
                self._note(connection, call_id, "queued", request.to, 0)
        except IntegrityError:
            earlier = self._by_key(request.idempotency_key)
            if earlier is None:
                raise
            return earlier
        return record

    def call(self, call_id: str) -> CallRecord | None:
        with self._database.transaction() as connection:
            return self._read(connection, call_id)

    def calls(self, limit: int, status: str | None) -> list[CallRecord]:
        """The newest first."""
        query = select(calls.c.record).order_by(calls.c.created_at.desc(), calls.c.id).limit(limit)
        if status is not None:
            query = query.where(calls.c.status == status)
        with self._database.transaction() as connection:
            return [CallRecord.model_validate_json(row.record) for row in connection.execute(query)]

    def change(self, call_id: str, **changes: Any) -> CallRecord:
        """With these fields changed. Raises KeyError."""
        with self._database.transaction() as connection:
            return self._change(connection, call_id, changes)

    def settle(self, call_id: str, **changes: Any) -> tuple[CallRecord, bool]:
        """Nothing more will happen to the call; and whether that is new."""
        with self._database.transaction() as connection:
            record = self._require(connection, call_id)
            if record.settled:
                return record, False
            now = self._clock()
            changes = {"completed_at": _moment(now), "next_attempt_at": None, **changes}
            record = self._change(connection, call_id, changes)
            connection.execute(update(calls).where(calls.c.id == call_id).values(settled_at=now))
            self._note(connection, call_id, "settled", record.outcome or record.status, record.attempt)
            return record, True

    def cancel(self, call_id: str) -> None:
        """The call is not wanted any more, nor is an attempt that is under way."""
        with self._database.transaction() as connection:
            record = self._require(connection, call_id)
            if record.settled or not may_follow(record.status, Status.CANCELED):
                return
            ended = {"state": Status.CANCELED, "ended_at": self._clock(), "reason": "canceled"}
            current = and_(*_is(call_id, record.attempt), attempts.c.ended_at.is_(None))
            connection.execute(update(attempts).where(current).values(ended))
            self._change(connection, call_id, {"status": Status.CANCELED, "next_attempt_at": None})
            self._note(connection, call_id, "canceled", "", record.attempt)

    def unsettled(self) -> list[str]:
        with self._database.transaction() as connection:
            return list(connection.execute(select(calls.c.id).where(calls.c.settled_at.is_(None))).scalars())

    def latest_to(self, number: str, since: float) -> CallRecord | None:
        """The newest call to ``number`` that was dialled since then."""
        dialed = and_(attempts.c.call_id == calls.c.id, attempts.c.dialed_at >= since)
        query = (
            select(calls.c.record)
            .join(attempts, dialed)
            .where(calls.c.number == number)
            .order_by(attempts.c.dialed_at.desc())
            .limit(1)
        )
        with self._database.transaction() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else CallRecord.model_validate_json(found)

    def forget_settled(self, before: float) -> int:
        """How many calls that were settled before then are gone now."""
        old = select(calls.c.id).where(calls.c.settled_at < before)
        with self._database.transaction() as connection:
            for table in (attempts, bookings, timeline):
                connection.execute(delete(table).where(table.c.call_id.in_(old)))
            return connection.execute(delete(calls).where(calls.c.settled_at < before)).rowcount

    # -- attempts ------------------------------------------------------------------------------------------

    def reserve(self, call_id: str, number: int, most: int, seconds: float) -> float:
        """Take one of ``most`` dials within ``seconds`` for this attempt, and return 0; or how long to wait for one."""
        with self._database.transaction() as connection:
            self._database.exclude_others(connection, "dials")
            if self._attempt(connection, call_id, number) is not None:
                return 0.0
            now = self._clock()
            query = select(attempts.c.queued_at).where(attempts.c.queued_at > now - seconds)
            taken = list(connection.execute(query.order_by(attempts.c.queued_at)).scalars())
            if len(taken) >= most:
                return max(0.1, float(taken[-most]) + seconds - now)
            row = {"call_id": call_id, "number": number, "token": secrets.token_urlsafe(_TOKEN_BYTES)}
            connection.execute(insert(attempts).values({**row, "state": "reserved", "queued_at": now}))
            return 0.0

    def begin_attempt(self, call_id: str, number: int) -> KnownAttempt | None:
        """The attempt that was reserved, now dialling; None when the call was canceled meanwhile."""
        with self._database.transaction() as connection:
            known, record = self._attempt(connection, call_id, number), self._require(connection, call_id)
            if known is None or known.state != "reserved":
                return known
            if record.settled or not may_follow(record.status, Status.DIALING):
                return None
            reserved = {"state": "waiting"}
            connection.execute(update(attempts).where(*_is(call_id, number)).values(reserved))
            fresh = {"status": Status.DIALING, "attempt": number, "last_error": None, "answered_by": None}
            self._change(
                connection, call_id, {**fresh, "provider_call_id": None, "stream_sid": None, "next_attempt_at": None}
            )
            self._note(connection, call_id, "dialing", record.request.to, number)
            return self._attempt(connection, call_id, number)

    def attempt(self, call_id: str, number: int) -> KnownAttempt | None:
        with self._database.transaction() as connection:
            return self._attempt(connection, call_id, number)

    def prepared(self, call_id: str, number: int, provider_call_id: str) -> None:
        with self._database.transaction() as connection:
            self._name_attempt(connection, call_id, number, provider_call_id)

    def claim_start(self, call_id: str, number: int) -> bool:
        """Whoever gets True dials; False: somebody has begun to, and it may have been dialled."""
        with self._database.transaction() as connection:
            waiting = and_(*_is(call_id, number), attempts.c.state == "waiting")
            values = {"state": "starting", "dialed_at": self._clock()}
            return connection.execute(update(attempts).where(waiting).values(values)).rowcount == 1

    def started(self, call_id: str, number: int, provider_call_id: str, user_hint: str | None) -> None:
        with self._database.transaction() as connection:
            self._name_attempt(connection, call_id, number, provider_call_id)
            starting = and_(*_is(call_id, number), attempts.c.state == "starting")
            connection.execute(update(attempts).where(starting).values(state="started"))
            if user_hint:
                self._change(connection, call_id, {"user_hint": user_hint})

    def progress(self, call_id: str, number: int, news: Progress) -> bool:
        """Take in what the network says; False where it is late, of another call, or nothing new."""
        with self._database.transaction() as connection:
            known, record = self._attempt(connection, call_id, number), self._read(connection, call_id)
            if known is None or record is None or known.over or record.attempt != number or record.settled:
                return False
            if news.provider_call_id and known.provider_call_id not in ("", news.provider_call_id):
                return False
            if not self._is_next(connection, known, news):
                return False
            return self._take_in(connection, record, known, news)

    # -- bookings ------------------------------------------------------------------------------------------

    def ask_booking(self, key: str, call_id: str, body: Mapping[str, Any]) -> KnownBooking:
        """Remember that an appointment was confirmed; the one remembered already where ``key`` is known."""
        with self._database.transaction() as connection:
            known = self._booking(connection, key)
            if known is None:
                row = {"key": key, "call_id": call_id, "body": json.dumps(body), "state": "asked"}
                connection.execute(insert(bookings).values({**row, "asked_at": self._clock()}))
                self._note(connection, call_id, "confirmed", str(body.get("start", "")), 0)
                known = KnownBooking(key, call_id, body, "asked", {})
            return known

    def answer_booking(self, key: str, state: str, result: Mapping[str, Any], note: str, **changes: Any) -> bool:
        """``made`` or ``refused``; ``changes`` are of the call's record, if there is one. False where that is known."""
        with self._database.transaction() as connection:
            asked = and_(bookings.c.key == key, bookings.c.state == "asked")
            values = {"state": state, "result": json.dumps(result), "answered_at": self._clock()}
            if connection.execute(update(bookings).where(asked).values(values)).rowcount == 0:
                return False
            booking = self._booking(connection, key)
            assert booking is not None
            self._note(connection, booking.call_id, "booked" if state == "made" else "not booked", note, 0)
            if changes and self._read(connection, booking.call_id) is not None:
                self._change(connection, booking.call_id, changes)
            return True

    def booking(self, key: str) -> KnownBooking | None:
        with self._database.transaction() as connection:
            return self._booking(connection, key)

    def bookings_of(self, call_id: str) -> list[KnownBooking]:
        """The oldest first."""
        query = select(bookings).where(bookings.c.call_id == call_id).order_by(bookings.c.asked_at)
        with self._database.transaction() as connection:
            return [_known_booking(row) for row in connection.execute(query)]

    # -- timeline ------------------------------------------------------------------------------------------

    def note(self, call_id: str, kind: str, text: str = "", attempt: int = 0) -> None:
        with self._database.transaction() as connection:
            self._note(connection, call_id, kind, text, attempt)

    def timeline(self, call_id: str) -> list[TimelineEntry]:
        query = select(timeline).where(timeline.c.call_id == call_id).order_by(timeline.c.id)
        with self._database.transaction() as connection:
            return [
                TimelineEntry(at=_moment(row.at), kind=row.kind, text=row.text, attempt=row.attempt)
                for row in connection.execute(query)
            ]

    # -- inside a transaction --------------------------------------------------------------------------------

    def _is_next(self, connection: Connection, known: KnownAttempt, news: Progress) -> bool:
        if news.sequence is None:
            return True
        here = _is(known.call_id, known.number)
        later = and_(*here, func.coalesce(attempts.c.sequence, -1) < news.sequence)
        return connection.execute(update(attempts).where(later).values(sequence=news.sequence)).rowcount == 1

    def _take_in(self, connection: Connection, record: CallRecord, known: KnownAttempt, news: Progress) -> bool:
        call_id, number, now = known.call_id, known.number, self._clock()
        if news.provider_call_id:
            self._name_attempt(connection, call_id, number, news.provider_call_id)
        if news.answered_by and news.answered_by != record.answered_by:
            self._change(connection, call_id, {"answered_by": news.answered_by})
            self._note(connection, call_id, f"answered by {news.answered_by}", "", number)
        if not may_follow(record.status, news.status):
            return False
        values: dict[str, Any] = {}
        if news.status is Status.IN_PROGRESS:
            values = {"answered_at": now}
        elif news.status.over:
            values = {
                "state": news.status,
                "ended_at": now,
                "reason": news.reason,
                "retryable": int(news.retryable),
            }
        if values:
            connection.execute(update(attempts).where(*_is(call_id, number)).values(values))
        failed = news.status.over and news.status is not Status.COMPLETED
        changes: dict[str, Any] = {"status": news.status}
        if failed:
            changes["last_error"] = news.reason or None
        self._change(connection, call_id, changes)
        self._note(connection, call_id, _WORDS.get(news.status, news.status), news.reason, number)
        return True

    def _name_attempt(self, connection: Connection, call_id: str, number: int, provider_call_id: str) -> None:
        if not provider_call_id:
            return
        named = {"provider_call_id": provider_call_id}
        connection.execute(update(attempts).where(*_is(call_id, number)).values(named))
        self._change(connection, call_id, named)

    def _attempt(self, connection: Connection, call_id: str, number: int) -> KnownAttempt | None:
        row = connection.execute(select(attempts).where(*_is(call_id, number))).first()
        return None if row is None else _known_attempt(row)

    def _booking(self, connection: Connection, key: str) -> KnownBooking | None:
        row = connection.execute(select(bookings).where(bookings.c.key == key)).first()
        return None if row is None else _known_booking(row)

    def _by_key(self, key: str | None) -> CallRecord | None:
        if key is None:
            return None
        with self._database.transaction() as connection:
            found = connection.execute(select(calls.c.record).where(calls.c.idempotency_key == key)).scalar()
        return None if found is None else CallRecord.model_validate_json(found)

    def _read(self, connection: Connection, call_id: str) -> CallRecord | None:
        # For update: two writers of one record must not each undo what the other wrote.
        query = select(calls.c.record).where(calls.c.id == call_id).with_for_update()
        found = connection.execute(query).scalar()
        return None if found is None else CallRecord.model_validate_json(found)

    def _require(self, connection: Connection, call_id: str) -> CallRecord:
        if (record := self._read(connection, call_id)) is None:
            raise KeyError(call_id)
        return record

    def _change(self, connection: Connection, call_id: str, changes: Mapping[str, Any]) -> CallRecord:
        now = _moment(self._clock())
        record = self._require(connection, call_id).model_copy(update={**changes, "updated_at": now})
        values = {"record": _written(record), "status": record.status}
        connection.execute(update(calls).where(calls.c.id == call_id).values(values))
        return record

    def _note(self, connection: Connection, call_id: str, kind: str, text: str, attempt: int) -> None:
        row = {"call_id": call_id, "at": self._clock(), "kind": kind, "text": text, "attempt": attempt}
        connection.execute(insert(timeline).values(row))


def _is(call_id: str, number: int) -> Sequence[Any]:
    return attempts.c.call_id == call_id, attempts.c.number == number


def _known_attempt(row: Row[Any]) -> KnownAttempt:
    names = KnownAttempt.__dataclass_fields__
    values = {name: getattr(row, name) for name in names}
    return KnownAttempt(**{**values, "retryable": bool(row.retryable)})


def _known_booking(row: Row[Any]) -> KnownBooking:
    body, result = json.loads(row.body), json.loads(row.result)
    return KnownBooking(row.key, row.call_id, body, row.state, result, row.answered_at)


def _written(record: CallRecord) -> str:
    return record.model_dump_json(by_alias=True, exclude_none=True)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
