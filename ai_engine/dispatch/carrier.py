"""The steps of a call: what is really done when a workflow says so."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from ai_engine.dispatch.store import KnownAttempt, KnownBooking, Store
from ai_engine.jobs import windows
from ai_engine.jobs.ports import (
    Assignment,
    Attempt,
    AttemptLost,
    Calendar,
    CalendarUnreachable,
    CannotCall,
    Telephony,
    Urls,
)
from ai_engine.jobs.record import CallRecord, Outcome, ScheduledEvent
from ai_engine.jobs.retry import delay_seconds
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Progress, Status

log = structlog.get_logger(__name__)

_HOUR_SECONDS = 3600.0
_GOODBYE_SECONDS = 30.0
"""A conversation that was told to end, or has led to an appointment, may take so much longer; then it is cut."""
_FOREVER = 10.0 * 365 * 24 * 3600


class Carrier:
    """Implements ``Steps``; on the office's event loop. Whatever blocks is done in threads."""

    def __init__(
        self,
        settings: CallAgentSettings,
        telephony: Telephony,
        store: Store,
        calendar: Calendar,
        notify: Callable[[CallRecord], Awaitable[bool | None]],
        urls: Callable[[], Awaitable[Urls]],
        assign: Callable[[CallRecord, str], Assignment],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        """``notify`` says whether somebody was told; None: nobody wants to be. ``urls`` may open a tunnel first, and
        raises CannotCall where it can not. ``assign`` takes the record, and what must be put right in this attempt.
        ``clock`` is epoch seconds, ``chance`` a random number of 0..1."""
        self._settings = settings
        self._telephony = telephony
        self._store = store
        self._calendar = calendar
        self._notify = notify
        self._urls = urls
        self._assign = assign
        self._clock = clock
        self._chance = chance
        self.live: dict[str, Attempt] = {}
        """Attempts that this engine holds, by call id."""

    # -- before a dial ---------------------------------------------------------------------------------------

    async def queue_of(self, call_id: str) -> str:
        return queue_name(self._telephony.id, self.trunk_of(await self._record(call_id)))

    def trunk_of(self, record: CallRecord | None) -> str:
        """The way out a call takes; empty where there is but one."""
        trunks = self._settings.asterisk.trunks if self._telephony.id == "asterisk" else {}
        wanted = record.request.trunk if record is not None else None
        return wanted if wanted is not None and wanted in trunks else next(iter(trunks), "")

    async def wait_seconds(self, call_id: str, number: int) -> float | None:
        record = await self._record(call_id)
        if record is None or record.settled or record.status is Status.CANCELED or record.scheduled_event is not None:
            return None
        now = datetime.fromtimestamp(self._clock(), UTC)
        facts = self._assign(record, "").facts
        opens = windows.next_open(self._settings.manners.windows, facts["timezone"], now)
        if opens is None:
            await self._fail(call_id, "nobody may ever be called: call_agent.manners.windows never open")
            return None
        if opens > now:
            return await self._put_off(record, (opens - now).total_seconds(), "until people may be called")
        most = self._settings.manners.calls_per_hour
        wait = await asyncio.to_thread(self._store.reserve, call_id, number, most, _HOUR_SECONDS)
        return await self._put_off(record, wait, f"there were {most} calls within an hour") if wait > 0 else 0.0

    async def begin(self, call_id: str, number: int) -> bool:
        known = await asyncio.to_thread(self._store.begin_attempt, call_id, number)
        record = await self._record(call_id)
        if known is None or known.over or record is None:
            return False
        await self._hold(record, known)
        return True

    async def prepare(self, call_id: str, number: int) -> bool:
        attempt, known = await self._held(call_id, number)
        if known.over:
            return False
        try:
            provider_call_id = await self._telephony.prepare_call(attempt)
        except CannotCall as error:
            await self._cannot(attempt, error)
            return False
        await asyncio.to_thread(self._store.prepared, call_id, number, provider_call_id)
        return True

    async def start(self, call_id: str, number: int) -> bool:
        attempt, known = await self._held(call_id, number)
        if known.over:
            return False
        first = await asyncio.to_thread(self._store.claim_start, call_id, number)
        try:
            started = await self._telephony.start_call(attempt, await self._urls(), again=not first)
        except CannotCall as error:
            await self._cannot(attempt, error)
            return False
        provider_call_id = started.provider_call_id or known.provider_call_id
        await asyncio.to_thread(self._store.started, call_id, number, provider_call_id, started.user_hint)
        return True

    # -- while it rings, and while people talk ------------------------------------------------------------------

    async def watch(self, call_id: str, number: int) -> None:
        attempt, known = await self._held(call_id, number)
        if not known.over:
            await self._telephony.watch_call(attempt, known.provider_call_id)

    async def seconds_left(self, call_id: str, number: int) -> float | None:
        known = await asyncio.to_thread(self._store.attempt, call_id, number)
        if known is None or known.over:
            self.live.pop(call_id, None)
            return None
        manners = self._settings.manners
        if known.answered_at is not None:
            made = [booking.answered_at for booking in await self._bookings(call_id) if booking.state == "made"]
            ends = [known.answered_at + manners.max_seconds, *(at for at in made if at is not None)]
            return min(ends) + _GOODBYE_SECONDS - self._clock()
        if manners.stale_seconds == 0 or known.dialed_at is None:
            return _FOREVER
        return known.dialed_at + max(manners.stale_seconds, manners.ring_seconds) - self._clock()

    async def overdue(self, call_id: str, number: int) -> None:
        attempt, known = await self._held(call_id, number)
        talked = known.answered_at is not None
        reason = "it had lasted too long" if talked else "it was neither answered nor over (manners.stale_seconds)"
        news = Progress(Status.COMPLETED if talked else Status.FAILED, reason=reason)
        # First of all, or the network's own word for a call that we hang up would stand there.
        await asyncio.to_thread(self._store.progress, call_id, number, news)
        await self._telephony.end_call(attempt, known.provider_call_id)

    # -- afterwards ----------------------------------------------------------------------------------------------

    async def undecided(self, call_id: str) -> bool:
        return any(booking.state == "asked" for booking in await self._bookings(call_id))

    async def redial_seconds(self, call_id: str, number: int) -> float | None:
        record = await self._record(call_id)
        known = await asyncio.to_thread(self._store.attempt, call_id, number)
        if record is None or known is None or record.settled or record.scheduled_event is not None:
            return None
        delay = delay_seconds(
            self._settings.retry, record.status, number, retryable=known.retryable, chance=self._chance()
        )
        if delay is not None:
            return await self._put_off(record, delay, f"{record.status}: dialled again", kind="retry")
        retry = self._settings.retry
        if number >= retry.max_attempts or not await self._broken_promise(call_id):
            return None
        return await self._put_off(record, retry.initial_delay_ms / 1000, "to put it right", kind="retry")

    async def broke(self, call_id: str, number: int, reason: str) -> None:
        news = Progress(Status.FAILED, reason=f"a defect of the engine: {reason}", retryable=False)
        if not await asyncio.to_thread(self._store.progress, call_id, number, news):
            await self._fail(call_id, news.reason)

    async def settle(self, call_id: str) -> bool:
        record = await self._record(call_id)
        if record is None:
            return False
        changes: dict[str, Any] = {"outcome": _outcome(record)}
        if record.status is Status.QUEUED:
            changes["status"] = Status.CANCELED
        if record.scheduled_event is None and (broken := await self._broken_promise(call_id)):
            changes["last_error"] = broken
        settled, _ = await asyncio.to_thread(lambda: self._store.settle(call_id, **changes))
        self.live.pop(call_id, None)
        came_to_something = settled.outcome in ("scheduled", "reported")
        return came_to_something or (self._settings.notify.on_failure and settled.status is not Status.CANCELED)

    async def notify(self, call_id: str) -> bool:
        record = await self._record(call_id)
        if record is None:
            return True
        told = await self._notify(record)
        if told:
            await asyncio.to_thread(self._store.note, call_id, "notified")
        return told is not False

    # -- appointments --------------------------------------------------------------------------------------------

    async def create_event(self, key: str) -> dict[str, Any] | None:
        booking = await asyncio.to_thread(self._store.booking, key)
        if booking is None or booking.state != "asked":
            return dict(booking.result) if booking is not None else {"ok": False, "error": "there is no such booking"}
        try:
            return dict(await self._calendar.ask("create-event", booking.body))
        except CalendarUnreachable as error:
            log.warning("the calendar does not take an appointment, trying again", key=key, reason=str(error))
            return None

    async def booked(self, key: str, answer: dict[str, Any]) -> tuple[str, int]:
        booking = await asyncio.to_thread(self._store.booking, key)
        if booking is None:
            return "", 0
        event = _event_of(answer, booking.body)
        note = json.dumps(answer, default=str) if event is None else f"{event.start.isoformat()} {event.event_id}"
        changes: dict[str, Any] = {} if event is None else {"scheduled_event": event, "outcome": "scheduled"}
        state = "refused" if event is None else "made"
        if event is None:
            log.error("an appointment that was confirmed is not in the calendar", key=key, answer=answer)
        await asyncio.to_thread(lambda: self._store.answer_booking(key, state, answer, note, **changes))
        record = await self._record(booking.call_id)
        return ("", 0) if record is None else (record.id, record.attempt)

    async def owes_news(self, call_id: str) -> bool:
        record = await self._record(call_id)
        return record is not None and record.settled and record.scheduled_event is not None

    # ----------------------------------------------------------------------------------------------------------

    async def _record(self, call_id: str) -> CallRecord | None:
        return await asyncio.to_thread(self._store.call, call_id)

    async def _bookings(self, call_id: str) -> list[KnownBooking]:
        return await asyncio.to_thread(self._store.bookings_of, call_id)

    async def _broken_promise(self, call_id: str) -> str:
        """What was confirmed on the telephone and then refused by the calendar; empty where all was kept."""
        bookings = await self._bookings(call_id)
        if not bookings or bookings[-1].state != "refused":
            return ""
        return _broken_promise(bookings[-1])

    async def _hold(self, record: CallRecord, known: KnownAttempt) -> Attempt:
        attempt = Attempt(
            call_id=record.id,
            number=known.number,
            to=record.request.to,
            token=known.token,
            assignment=self._assign(record, await self._broken_promise(record.id)),
            trunk=self.trunk_of(record),
            ring_seconds=self._settings.manners.ring_seconds,
        )
        self.live[record.id] = attempt
        return attempt

    async def _held(self, call_id: str, number: int) -> tuple[Attempt, KnownAttempt]:
        known = await asyncio.to_thread(self._store.attempt, call_id, number)
        record = await self._record(call_id)
        if known is None or record is None:
            raise KeyError(f"there is no attempt {number} of call {call_id}")
        attempt = self.live.get(call_id)
        if attempt is None or attempt.number != number:
            attempt = await self._hold(record, known)
        return attempt, known

    async def _cannot(self, attempt: Attempt, error: CannotCall) -> None:
        reason = str(error)
        if isinstance(error, AttemptLost):
            reason = f"the engine was restarted meanwhile: {reason}"
        news = Progress(Status.FAILED, reason=reason, retryable=error.retryable)
        await asyncio.to_thread(self._store.progress, attempt.call_id, attempt.number, news)
        self.live.pop(attempt.call_id, None)

    async def _fail(self, call_id: str, reason: str) -> None:
        await asyncio.to_thread(lambda: self._store.change(call_id, status=Status.FAILED, last_error=reason))

    async def _put_off(self, record: CallRecord, seconds: float, why: str, kind: str = "waiting") -> float:
        at = datetime.fromtimestamp(self._clock() + seconds, UTC)
        if record.next_attempt_at is None or abs((record.next_attempt_at - at).total_seconds()) > 1:
            await asyncio.to_thread(lambda: self._store.change(record.id, next_attempt_at=at))
            await asyncio.to_thread(self._store.note, record.id, kind, f"{why}, at {at:%H:%M:%S} UTC", record.attempt)
        return seconds


def queue_name(provider: str, trunk: str) -> str:
    """Of the queue in which attempts wait for one of its lines."""
    return f"offhook.{provider}.{trunk}" if trunk else f"offhook.{provider}"


def _outcome(record: CallRecord) -> Outcome | None:
    if record.scheduled_event is not None:
        return "scheduled"
    if record.report is not None:
        return "reported"
    if record.status is not Status.COMPLETED:
        return None
    return "message_left" if record.answered_by == "machine" else "not_scheduled"


def _event_of(answer: Mapping[str, Any], body: Mapping[str, Any]) -> ScheduledEvent | None:
    """Scheduled is only what the calendar names in full."""
    names = {"eventId": "event_id", "start": "start", "end": "end", "timezone": "timezone"}
    if answer.get("ok") is not True or not all(answer.get(name) for name in names):
        return None
    given = {ours: answer[theirs] for theirs, ours in names.items()}
    calendar_id = answer.get("calendarId") or body.get("calendarId", "primary")
    return ScheduledEvent(**given, calendar_id=calendar_id, summary=body.get("title"))


def _broken_promise(booking: KnownBooking) -> str:
    why = booking.result.get("error") or "the time is taken"
    return f"{booking.body.get('start')} was confirmed on the telephone, but the calendar refused it: {why}"
