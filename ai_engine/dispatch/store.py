"""What is known of all calls, kept so that it survives a crash at any point."""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from ai_engine.dispatch.database import Database, attempts, bookings, calls, timeline
from ai_engine.dispatch.outcomes import broken_promise, outcome_of
from ai_engine.dispatch.rows import (
    KnownAttempt,
    KnownBooking,
    Standing,
    add_note,
    came_to_something,
    change_attempt,
    change_record,
    is_attempt,
    moment,
    read_attempt,
    read_booking,
    read_bookings,
    read_record,
    require_record,
    written,
)
from ai_engine.jobs.limits import same_number
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.status import Progress, Status, may_follow

_TOKEN_BYTES = 24
_SOONEST_SECONDS = 0.1

_WORDS = {
    Status.IN_PROGRESS: "answered",
    Status.COMPLETED: "ended",
    Status.NO_ANSWER: "no answer",
}
"""How the timeline tells of a status."""

PUT_OFF = "put off"
"""The state of an attempt that had a line at an hour at which nobody may be called."""


class Store:
    """Every method is one transaction, and blocks for as long as that takes: to be called off any event loop.

    Who changes an attempt and its call takes hold of the call first: in one order, so that nobody waits in a circle.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """``clock`` is epoch seconds."""
        self._database = database
        self._clock = clock

    # -- calls ---------------------------------------------------------------------------------------------

    def add_call(self, call_id: str, request: CallRequest, provider: str) -> CallRecord:
        """The record, or that of an earlier request with the same ``idempotency_key``."""
        now = self._clock()
        record = CallRecord(
            id=call_id, request=request, provider=provider, created_at=moment(now), updated_at=moment(now)
        )
        row = {
            "id": call_id,
            "idempotency_key": request.idempotency_key,
            "number": request.to,
            "status": record.status,
            "created_at": now,
            "record": written(record),
        }
        try:
            with self._database.transaction() as connection:
                connection.execute(insert(calls).values(row))
                add_note(connection, call_id, now, "queued", request.to, 0)
        except IntegrityError:
            earlier = self._by_key(request.idempotency_key)
            if earlier is None:
                raise
            return earlier
        return record

    def call(self, call_id: str) -> CallRecord | None:
        with self._database.transaction() as connection:
            return read_record(connection, call_id)

    def standing(self, call_id: str, number: int | None = None) -> Standing | None:
        """Both of one moment: the record, and the attempt ``number``, or the one that was begun last."""
        with self._database.transaction() as connection:
            record = read_record(connection, call_id)
            if record is None:
                return None
            return Standing(record, read_attempt(connection, call_id, record.attempt if number is None else number))

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
            return change_record(connection, call_id, self._clock(), changes)

    def settle(self, call_id: str) -> CallRecord | None:
        """Nothing more will happen to the call, and what has happened is what it came to; None: there is none."""
        with self._database.transaction() as connection:
            record = read_record(connection, call_id)
            if record is None or record.settled:
                return record
            now = self._clock()
            self._end_attempts(connection, call_id, now)
            changes: dict[str, Any] = {"outcome": outcome_of(record)}
            if not record.status.over:
                changes["status"] = Status.CANCELED
            if record.scheduled_event is None and (broken := broken_promise(read_bookings(connection, call_id))):
                changes["last_error"] = broken
            ended = {"completed_at": moment(now), "next_attempt_at": None}
            record = change_record(connection, call_id, now, {**changes, **ended})
            connection.execute(update(calls).where(calls.c.id == call_id).values(settled_at=now))
            add_note(connection, call_id, now, "settled", record.outcome or record.status, record.attempt)
            return record

    def cancel(self, call_id: str) -> bool:
        """Nobody wants the call any more, nor an attempt that is under way. False where that is nothing new."""
        with self._database.transaction() as connection:
            record, now = require_record(connection, call_id), self._clock()
            if record.settled or record.status is Status.CANCELED:
                return False
            self._end_attempts(connection, call_id, now, "canceled")
            status = Status.CANCELED if may_follow(record.status, Status.CANCELED) else record.status
            change_record(connection, call_id, now, {"status": status, "next_attempt_at": None})
            add_note(connection, call_id, now, "canceled", "", record.attempt)
            return True

    def refuse(self, call_id: str, reason: str) -> None:
        """The call is not placed, or not once more: the rules of the house forbid it, or we are broken."""
        with self._database.transaction() as connection:
            record, now = require_record(connection, call_id), self._clock()
            if record.settled or record.status is Status.CANCELED:
                return
            self._end_attempts(connection, call_id, now, reason)
            status = Status.FAILED if may_follow(record.status, Status.FAILED) else record.status
            changes = {"status": status, "last_error": reason, "next_attempt_at": None}
            change_record(connection, call_id, now, changes)
            add_note(connection, call_id, now, "refused", reason, record.attempt)

    def report(self, call_id: str, report: Report) -> None:
        """What the agent says came of it, maybe to somebody who called back. Raises KeyError."""
        with self._database.transaction() as connection:
            record, now = require_record(connection, call_id), self._clock()
            told_late = record.settled and record.scheduled_event is None
            changes = {"report": report, "outcome": "reported" if told_late else record.outcome}
            change_record(connection, call_id, now, changes)
            add_note(connection, call_id, now, "reported", f"{report.outcome}: {report.summary}", 0)

    def unsettled(self) -> list[str]:
        with self._database.transaction() as connection:
            return list(connection.execute(select(calls.c.id).where(calls.c.settled_at.is_(None))).scalars())

    def latest_to(self, number: str, since: float) -> CallRecord | None:
        """The newest call to ``number``, however that is written, that was dialled since then and not canceled."""
        dialed = and_(attempts.c.call_id == calls.c.id, attempts.c.dialed_at >= since)
        query = select(calls.c.id, calls.c.number).join(attempts, dialed).where(calls.c.status != Status.CANCELED)
        with self._database.transaction() as connection:
            found = connection.execute(query.order_by(attempts.c.dialed_at.desc()))
            call_id = next((row.id for row in found if same_number(row.number, number)), None)
            return None if call_id is None else read_record(connection, call_id)

    def forget(self, before: float) -> int:
        """How many calls that were settled before then are gone now, with all that is known of them."""
        old = select(calls.c.id).where(calls.c.settled_at < before)
        known = select(calls.c.id)
        # Appointments of people who called us belong to no call of this table.
        stray = {bookings: bookings.c.asked_at, timeline: timeline.c.at}
        with self._database.transaction() as connection:
            for table in (attempts, bookings, timeline):
                connection.execute(delete(table).where(table.c.call_id.in_(old)))
            gone = connection.execute(delete(calls).where(calls.c.settled_at < before)).rowcount
            for table, at in stray.items():
                connection.execute(delete(table).where(at < before, table.c.call_id.not_in(known)))
            return gone

    # -- attempts ------------------------------------------------------------------------------------------

    def queue_attempt(self, call_id: str, number: int) -> None:
        """It waits for a line from now on, unless it has one already."""
        with self._database.transaction() as connection:
            if read_attempt(connection, call_id, number) is None:
                row = {"call_id": call_id, "number": number, "token": secrets.token_urlsafe(_TOKEN_BYTES)}
                connection.execute(insert(attempts).values({**row, "state": "queued"}))
            self._move(connection, call_id, number, PUT_OFF, "queued")

    def put_off(self, call_id: str, number: int) -> None:
        """It has got a line, and may not be dialled at this hour, or over it: the line is for others."""
        with self._database.transaction() as connection:
            self._move(connection, call_id, number, "queued", PUT_OFF)

    def begin_attempt(self, call_id: str, number: int, most: int, seconds: float) -> float | None:
        """Take one of ``most`` dials within ``seconds`` for the attempt that waits for it: 0 when it is dialling now,
        or was before; how long to wait where there is none; None when the attempt is over, or nobody wants it."""
        with self._database.transaction() as connection:
            self._database.exclude_others(connection, "dials")
            record = require_record(connection, call_id)
            known, now = read_attempt(connection, call_id, number), self._clock()
            if known is None or known.over or known.state == PUT_OFF:
                return None
            if known.state != "queued":
                return 0.0
            if record.settled or came_to_something(record) or not may_follow(record.status, Status.DIALING):
                self._end_attempts(connection, call_id, now)
                return None
            if (wait := self._until_dial(connection, now, most, seconds)) > 0:
                return wait
            change_attempt(connection, call_id, number, state="waiting", begun_at=now)
            fresh = {"status": Status.DIALING, "attempt": number, "last_error": None, "answered_by": None}
            unknown = {"provider_call_id": None, "stream_sid": None, "next_attempt_at": None}
            change_record(connection, call_id, now, {**fresh, **unknown})
            add_note(connection, call_id, now, "dialing", record.request.to, number)
            return 0.0

    def attempt(self, call_id: str, number: int) -> KnownAttempt | None:
        with self._database.transaction() as connection:
            return read_attempt(connection, call_id, number)

    def prepared(self, call_id: str, number: int, provider_call_id: str) -> None:
        with self._database.transaction() as connection:
            require_record(connection, call_id)
            self._name_attempt(connection, call_id, number, provider_call_id)

    def claim_start(self, call_id: str, number: int) -> bool:
        """Whoever gets True dials; False: somebody has begun to, and it may have been dialled, or it is over."""
        with self._database.transaction() as connection:
            return self._move(connection, call_id, number, "waiting", "starting", dialed_at=self._clock())

    def started(self, call_id: str, number: int, provider_call_id: str, user_hint: str | None) -> None:
        with self._database.transaction() as connection:
            require_record(connection, call_id)
            self._name_attempt(connection, call_id, number, provider_call_id)
            self._move(connection, call_id, number, "starting", "started")
            if user_hint:
                change_record(connection, call_id, self._clock(), {"user_hint": user_hint})

    def progress(self, call_id: str, number: int, news: Progress) -> bool:
        """Take in what the network says; False where it is late, of another call, or nothing new."""
        with self._database.transaction() as connection:
            record = read_record(connection, call_id)
            known = read_attempt(connection, call_id, number)
            if known is None or record is None or known.over or record.attempt != number or record.settled:
                return False
            if news.provider_call_id and known.provider_call_id not in ("", news.provider_call_id):
                return False
            if not self._is_next(connection, known, news):
                return False
            return self._take_in(connection, record, known, news)

    def redial(self, call_id: str, number: int, at: float, why: str) -> bool:
        """The number is dialled again then, ``number`` having been the latest time; False: nobody wants that."""
        with self._database.transaction() as connection:
            record = require_record(connection, call_id)
            known, now = read_attempt(connection, call_id, number), self._clock()
            if known is None or not known.retryable or record.settled or came_to_something(record):
                return False
            if known.redial_at is None:
                change_attempt(connection, call_id, number, redial_at=at)
                change_record(connection, call_id, now, {"next_attempt_at": moment(at)})
                add_note(connection, call_id, now, "retry", f"{why}, at {moment(at):%H:%M:%S} UTC", number)
            return True

    # -- bookings ------------------------------------------------------------------------------------------

    def ask_booking(self, key: str, call_id: str, body: Mapping[str, Any]) -> KnownBooking:
        """Remember that an appointment was confirmed; the one remembered already where ``key`` is known."""
        if (known := self.booking(key)) is not None:
            return known
        row = {"key": key, "call_id": call_id, "body": json.dumps(body), "state": "asked"}
        now = self._clock()
        try:
            with self._database.transaction() as connection:
                connection.execute(insert(bookings).values({**row, "asked_at": now}))
                add_note(connection, call_id, now, "confirmed", str(body.get("start", "")), 0)
        except IntegrityError:
            if (known := self.booking(key)) is None:
                raise
            return known
        return KnownBooking(key, call_id, body, "asked", {})

    def answer_booking(
        self, key: str, state: str, result: Mapping[str, Any], note: str, **changes: Any
    ) -> CallRecord | None:
        """``made`` or ``refused``; ``changes`` are of the call's record, which is returned, if there is one."""
        with self._database.transaction() as connection:
            booking = read_booking(connection, key)
            if booking is None:
                return None
            record, now = read_record(connection, booking.call_id), self._clock()
            asked = and_(bookings.c.key == key, bookings.c.state == "asked")
            values = {"state": state, "result": json.dumps(result), "answered_at": now}
            if connection.execute(update(bookings).where(asked).values(values)).rowcount == 0:
                return record
            add_note(connection, booking.call_id, now, "booked" if state == "made" else "not booked", note, 0)
            return record if record is None else change_record(connection, booking.call_id, now, changes)

    def booking(self, key: str) -> KnownBooking | None:
        with self._database.transaction() as connection:
            return read_booking(connection, key)

    def bookings_of(self, call_id: str) -> list[KnownBooking]:
        """The oldest first."""
        with self._database.transaction() as connection:
            return read_bookings(connection, call_id)

    def owed_bookings(self) -> list[str]:
        """Keys of those that the calendar has not answered."""
        with self._database.transaction() as connection:
            return list(connection.execute(select(bookings.c.key).where(bookings.c.state == "asked")).scalars())

    # -- timeline ------------------------------------------------------------------------------------------

    def note(self, call_id: str, kind: str, text: str = "", attempt: int = 0) -> None:
        with self._database.transaction() as connection:
            add_note(connection, call_id, self._clock(), kind, text, attempt)

    def timeline(self, call_id: str) -> list[TimelineEntry]:
        query = select(timeline).where(timeline.c.call_id == call_id).order_by(timeline.c.id)
        with self._database.transaction() as connection:
            return [
                TimelineEntry(at=moment(row.at), kind=row.kind, text=row.text, attempt=row.attempt)
                for row in connection.execute(query)
            ]

    def noted_since(self, note: int | None) -> tuple[int, set[str]]:
        """The number of the latest note, and the ids of calls of which there are notes after ``note``; None is now."""
        with self._database.transaction() as connection:
            if note is None:
                return connection.execute(select(func.max(timeline.c.id))).scalar() or 0, set()
            rows = connection.execute(select(timeline.c.id, timeline.c.call_id).where(timeline.c.id > note)).all()
        return max((row.id for row in rows), default=note), {row.call_id for row in rows}

    # -- inside a transaction --------------------------------------------------------------------------------

    def _until_dial(self, connection: Connection, now: float, most: int, seconds: float) -> float:
        """Until there were fewer than ``most`` dials within ``seconds``."""
        query = select(attempts.c.begun_at).where(attempts.c.begun_at > now - seconds).order_by(attempts.c.begun_at)
        taken = list(connection.execute(query).scalars())
        return max(_SOONEST_SECONDS, float(taken[-most]) + seconds - now) if len(taken) >= most else 0.0

    def _end_attempts(self, connection: Connection, call_id: str, now: float, reason: str = "") -> None:
        """None of them is wanted, nor any further one."""
        here = attempts.c.call_id == call_id
        connection.execute(update(attempts).where(here).values(redial_at=None, retryable=0))
        ended = {"state": Status.CANCELED, "ended_at": now, "reason": reason}
        connection.execute(update(attempts).where(here, attempts.c.ended_at.is_(None)).values(ended))

    def _move(self, connection: Connection, call_id: str, number: int, old: str, new: str, **values: Any) -> bool:
        """Whether the attempt was in the state ``old``."""
        there = update(attempts).where(*is_attempt(call_id, number), attempts.c.state == old)
        return connection.execute(there.values(state=new, **values)).rowcount == 1

    def _is_next(self, connection: Connection, known: KnownAttempt, news: Progress) -> bool:
        if news.sequence is None:
            return True
        later = or_(attempts.c.sequence.is_(None), attempts.c.sequence < news.sequence)
        here = update(attempts).where(*is_attempt(known.call_id, known.number), later)
        return connection.execute(here.values(sequence=news.sequence)).rowcount == 1

    def _take_in(self, connection: Connection, record: CallRecord, known: KnownAttempt, news: Progress) -> bool:
        call_id, number, now = known.call_id, known.number, self._clock()
        if news.provider_call_id:
            self._name_attempt(connection, call_id, number, news.provider_call_id)
        if news.answered_by and news.answered_by != record.answered_by:
            change_record(connection, call_id, now, {"answered_by": news.answered_by})
            add_note(connection, call_id, now, f"answered by {news.answered_by}", "", number)
        if not may_follow(record.status, news.status):
            return False
        if news.status is Status.IN_PROGRESS:
            change_attempt(connection, call_id, number, answered_at=now)
        elif news.status.over:
            end = {"state": news.status, "ended_at": now, "reason": news.reason, "retryable": int(news.retryable)}
            change_attempt(connection, call_id, number, **end)
        changes: dict[str, Any] = {"status": news.status}
        if news.status.over and news.status is not Status.COMPLETED:
            changes["last_error"] = news.reason or None
        change_record(connection, call_id, now, changes)
        add_note(connection, call_id, now, _WORDS.get(news.status, news.status), news.reason, number)
        return True

    def _name_attempt(self, connection: Connection, call_id: str, number: int, provider_call_id: str) -> None:
        if not provider_call_id:
            return
        change_attempt(connection, call_id, number, provider_call_id=provider_call_id)
        change_record(connection, call_id, self._clock(), {"provider_call_id": provider_call_id})

    def _by_key(self, key: str | None) -> CallRecord | None:
        if key is None:
            return None
        with self._database.transaction() as connection:
            found = connection.execute(select(calls.c.record).where(calls.c.idempotency_key == key)).scalar()
        return None if found is None else CallRecord.model_validate_json(found)
