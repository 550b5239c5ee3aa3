"""The steps of a call: what is really done when a workflow says so."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from ai_engine.dispatch.bell import Bell
from ai_engine.dispatch.lines import Lines
from ai_engine.dispatch.outcomes import broken_promise, event_of
from ai_engine.dispatch.permission import Permission
from ai_engine.dispatch.rows import KnownAttempt, KnownBooking, came_to_something
from ai_engine.dispatch.store import PUT_OFF, Store
from ai_engine.jobs import windows
from ai_engine.jobs.ports import (
    Assignment,
    Attempt,
    AttemptLost,
    Calendar,
    CalendarUnreachable,
    CannotCall,
    RequestRefused,
    Telephony,
    Urls,
)
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.retry import delay_seconds, retry_of
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Progress, Status

log = structlog.get_logger(__name__)

_HOUR_SECONDS = 3600.0
_GOODBYE_SECONDS = 30.0
"""A conversation that was told to end, or has led to an appointment, may take so much longer; then it is cut."""
_RING_PATIENCE = 1.5
"""The network itself is to end what rings too long: it knows more of it."""
_LOOK_SECONDS = 60.0
"""Who waits for news looks at the store so often even without any."""
_NEVER = "nobody may ever be called: call_agent.manners.windows never open"


class Carrier:
    """Implements ``Steps``; on the office's event loop. Whatever blocks is done in threads."""

    def __init__(
        self,
        settings: CallAgentSettings,
        telephony: Telephony,
        store: Store,
        bell: Bell,
        permission: Permission,
        lines: Lines,
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
        self._bell = bell
        self._permission = permission
        self._lines = lines
        self._calendar = calendar
        self._notify = notify
        self._urls = urls
        self._assign = assign
        self._clock = clock
        self._chance = chance
        self._waits_for: dict[str, str] = {}
        """The trunk for a line of which a call waits; which is the first of them may change meanwhile."""
        self.live: dict[str, Attempt] = {}
        """Attempts that this engine holds, by call id."""

    # -- before a dial ---------------------------------------------------------------------------------------

    async def until_allowed(self, call_id: str) -> int | None:
        with self._bell.ear(call_id) as ear:
            while (standing := await asyncio.to_thread(self._store.standing, call_id)) is not None:
                if not standing.wanted:
                    return None
                record, latest = standing.record, standing.latest
                if latest is not None and not latest.over:
                    return latest.number  # an earlier engine dialled
                if await self._is_refused(record):
                    return None
                now = self._clock()
                due = max(now, (latest and latest.redial_at) or 0.0)
                opens = self._opens(record, due)
                if opens is None:
                    await asyncio.to_thread(self._store.refuse, call_id, _NEVER)
                    return None
                if opens > due:
                    await self._put_off(record, opens, "until people may be called")
                if opens > now:
                    await ear.wait(min(opens - now, _LOOK_SECONDS))
                elif await self._undecided(call_id):  # somebody called back, and the calendar does not answer
                    await ear.wait(_LOOK_SECONDS)
                else:
                    await asyncio.to_thread(self._store.queue_attempt, call_id, record.attempt + 1)
                    return record.attempt + 1
        return None

    async def queue_of(self, call_id: str) -> str:
        trunk = self._lines.trunk_of(await self._record(call_id))
        self._waits_for[call_id] = trunk
        return await self._lines.queue_of(trunk)

    async def begin(self, call_id: str, number: int) -> bool:
        with self._bell.ear(call_id) as ear:
            while (record := await self._record(call_id)) is not None:
                # Hours may have passed until it got the line.
                if record.attempt < number and not await self._may_dial_now(record, number):
                    return False
                most = self._settings.manners.calls_per_hour
                wait = await asyncio.to_thread(self._store.begin_attempt, call_id, number, most, _HOUR_SECONDS)
                if wait is None:
                    return False
                if wait == 0.0:
                    await self._held(call_id, number)
                    return True
                # It keeps the line meanwhile: nobody else may dial either.
                await self._put_off(record, self._clock() + wait, f"there were {most} calls within an hour")
                await ear.wait(min(wait, _LOOK_SECONDS))
        return False

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
        self._bell.ring(call_id)
        return True

    async def start(self, call_id: str, number: int) -> None:
        attempt, known = await self._held(call_id, number)
        if known.over:
            return
        try:
            urls = await self._urls()
            first = await asyncio.to_thread(self._store.claim_start, call_id, number)
            if not first and (await self._held(call_id, number))[1].over:
                return
            started = await self._telephony.start_call(attempt, urls, again=not first)
        except CannotCall as error:
            await self._cannot(attempt, error)
            return
        provider_call_id = started.provider_call_id or known.provider_call_id
        await asyncio.to_thread(self._store.started, call_id, number, provider_call_id, started.user_hint)
        self._bell.ring(call_id)

    # -- while it rings, and while people talk ------------------------------------------------------------------

    async def see_through(self, call_id: str, number: int) -> None:
        attempt, known = await self._held(call_id, number)
        with self._bell.ear(call_id) as ear:
            if not known.over:
                await self._telephony.watch_call(attempt, known.provider_call_id)
            while not (known := (await self._held(call_id, number))[1]).over:
                left = await self._seconds_left(attempt, known)
                if left > 0:
                    await ear.wait(min(left, _LOOK_SECONDS))
                else:
                    await self._overdue(attempt, known)
        if known.state == Status.CANCELED:
            await self._telephony.end_call(attempt, known.provider_call_id)

    def let_go(self, call_id: str, number: int) -> None:
        held = self.live.get(call_id)
        if held is not None and held.number == number:
            del self.live[call_id]
        self._bell.ring(call_id)

    # -- afterwards ----------------------------------------------------------------------------------------------

    async def until_done(self, call_id: str, number: int) -> bool:
        with self._bell.ear(call_id) as ear:
            while (standing := await asyncio.to_thread(self._store.standing, call_id, number)) is not None:
                record, known = standing.record, standing.latest
                if record.settled:
                    return False
                if known is None or known.state == PUT_OFF:
                    return True
                if known.over and call_id not in self.live and not await self._undecided(call_id):
                    return await self._redial(record, known)
                await ear.wait(_LOOK_SECONDS)
        return False

    async def broke(self, call_id: str, number: int, reason: str) -> None:
        record = await self._record(call_id)
        news = Progress(Status.FAILED, reason=reason, retryable=False)
        if record is not None and record.attempt < number:
            await asyncio.to_thread(self._store.refuse, call_id, reason)
        else:
            await asyncio.to_thread(self._store.progress, call_id, number, news)

    async def give_up(self, call_id: str, reason: str) -> None:
        record = await self._record(call_id)
        if record is None or record.settled:
            return
        log.error("a call is given up", call=call_id, reason=reason)
        await asyncio.to_thread(self._store.refuse, call_id, reason)
        await self.settle(call_id)
        self._bell.ring(call_id)

    async def settle(self, call_id: str) -> bool:
        self._waits_for.pop(call_id, None)
        settled = await asyncio.to_thread(self._store.settle, call_id)
        if settled is None:
            return False
        came_to_nothing = settled.status is not Status.CANCELED and settled.outcome != "talked"
        return came_to_something(settled) or (self._settings.notify.on_failure and came_to_nothing)

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
            answer = dict(await self._calendar.ask("create-event", booking.body))
        except CalendarUnreachable as error:
            log.warning("the calendar does not take an appointment, trying again", key=key, reason=str(error))
            return None
        if answer.get("ok") is True and event_of(answer, booking.body) is None:
            return {**answer, "ok": False, "error": "the calendar does not say what it has entered"}
        return answer

    async def booked(self, key: str, answer: dict[str, Any]) -> str:
        booking = await asyncio.to_thread(self._store.booking, key)
        if booking is None:
            return ""
        event = event_of(answer, booking.body)
        note = json.dumps(answer, default=str) if event is None else f"{event.start.isoformat()} {event.event_id}"
        changes: dict[str, Any] = {} if event is None else {"scheduled_event": event, "outcome": "scheduled"}
        state = "refused" if event is None else "made"
        if event is None:
            log.error("an appointment that was confirmed is not in the calendar", key=key, answer=answer)
        record = await asyncio.to_thread(lambda: self._store.answer_booking(key, state, answer, note, **changes))
        self._bell.ring(booking.call_id)
        late = record is not None and record.settled and event is not None
        return booking.call_id if late else ""

    # ----------------------------------------------------------------------------------------------------------

    async def _record(self, call_id: str) -> CallRecord | None:
        return await asyncio.to_thread(self._store.call, call_id)

    async def _bookings(self, call_id: str) -> list[KnownBooking]:
        return await asyncio.to_thread(self._store.bookings_of, call_id)

    async def _undecided(self, call_id: str) -> bool:
        """Whether the calendar still owes an answer."""
        return any(booking.state == "asked" for booking in await self._bookings(call_id))

    async def _broken_promise(self, call_id: str) -> str:
        return broken_promise(await self._bookings(call_id))

    # -- whether, and when, to dial --------------------------------------------------------------------------

    def _opens(self, record: CallRecord, at: float) -> float | None:
        """From then on people may be called; None: never."""
        place, moment = self._assign(record, "").facts["timezone"], datetime.fromtimestamp(at, UTC)
        opens = windows.next_open(self._settings.manners.windows, place, moment)
        return None if opens is None else at + (opens - moment).total_seconds()

    async def _is_refused(self, record: CallRecord) -> bool:
        try:
            await asyncio.to_thread(self._permission.check, record.request)
        except RequestRefused as refusal:
            log.warning("a call is not placed", call=record.id, reason=str(refusal))
            await asyncio.to_thread(self._store.refuse, record.id, str(refusal))
            return True
        return False

    async def _may_dial_now(self, record: CallRecord, number: int) -> bool:
        if await self._is_refused(record):
            return False
        now, trunk = self._clock(), self._lines.trunk_of(record)
        if self._opens(record, now) == now and self._waits_for.get(record.id, trunk) == trunk:
            return True
        await asyncio.to_thread(self._store.put_off, record.id, number)
        return False

    async def _put_off(self, record: CallRecord, until: float, why: str) -> None:
        """Let people know that it takes longer."""
        at = datetime.fromtimestamp(until, UTC)
        if record.next_attempt_at is None or abs((record.next_attempt_at - at).total_seconds()) > 1:
            await asyncio.to_thread(lambda: self._store.change(record.id, next_attempt_at=at))
            text = f"{why}, at {at:%H:%M:%S} UTC"
            await asyncio.to_thread(self._store.note, record.id, "waiting", text, record.attempt)
            self._bell.ring(record.id)

    async def _redial(self, record: CallRecord, known: KnownAttempt) -> bool:
        retry, number = retry_of(self._settings.retry, record.request), known.number
        chance = self._chance()
        delay = delay_seconds(retry, record.status, number, retryable=known.retryable, chance=chance)
        why = f"{record.status}: dialled again"
        if delay is None and number < retry.max_attempts and await self._broken_promise(record.id):
            delay, why = retry.initial_delay_ms / 1000, "to put it right"
        if delay is None:
            return False
        again = await asyncio.to_thread(self._store.redial, record.id, number, self._clock() + delay, why)
        self._bell.ring(record.id)
        return again

    # -- an attempt that this engine holds -------------------------------------------------------------------

    async def _held(self, call_id: str, number: int) -> tuple[Attempt, KnownAttempt]:
        known = await asyncio.to_thread(self._store.attempt, call_id, number)
        attempt = self.live.get(call_id)
        if known is not None and attempt is not None and attempt.number == number:
            return attempt, known
        record = await self._record(call_id)
        if known is None or record is None:
            raise KeyError(f"there is no attempt {number} of call {call_id}")
        attempt = Attempt(
            call_id=call_id,
            number=number,
            to=record.request.to,
            token=known.token,
            assignment=self._assign(record, await self._broken_promise(call_id)),
            trunk=self._lines.trunk_of(record),
            ring_seconds=record.request.ring_seconds or self._settings.manners.ring_seconds,
        )
        self.live[call_id] = attempt
        return attempt, known

    async def _seconds_left(self, attempt: Attempt, known: KnownAttempt) -> float:
        """Until it is overdue."""
        stale, now = self._settings.manners.stale_seconds, self._clock()
        if (since := known.answered_at) is not None:
            bookings = await self._bookings(known.call_id)
            made = [at for booking in bookings if booking.state == "made" and (at := booking.answered_at or 0) > since]
            return min([since + attempt.assignment.max_seconds, *made]) + _GOODBYE_SECONDS - now
        if stale == 0 or known.dialed_at is None:
            return _LOOK_SECONDS
        return known.dialed_at + max(stale, attempt.ring_seconds * _RING_PATIENCE) - now

    async def _overdue(self, attempt: Attempt, known: KnownAttempt) -> None:
        talked = known.answered_at is not None
        reason = "it had lasted too long" if talked else "it was neither answered nor over (manners.stale_seconds)"
        news = Progress(Status.COMPLETED if talked else Status.FAILED, reason=reason)
        # First of all, or the network's own word for a call that we hang up would stand there.
        await asyncio.to_thread(self._store.progress, attempt.call_id, attempt.number, news)
        await self._telephony.end_call(attempt, known.provider_call_id)

    async def _cannot(self, attempt: Attempt, error: CannotCall) -> None:
        reason = str(error)
        if isinstance(error, AttemptLost):
            reason = f"the engine was restarted meanwhile: {reason}"
        news = Progress(Status.FAILED, reason=reason, retryable=error.retryable)
        await asyncio.to_thread(self._store.progress, attempt.call_id, attempt.number, news)
