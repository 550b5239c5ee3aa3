"""Takes calls in and carries them through: the door of this room."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import structlog
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.dispatch import workflows
from ai_engine.dispatch.bell import Bell
from ai_engine.dispatch.carrier import Carrier
from ai_engine.dispatch.fleet import Fleet
from ai_engine.dispatch.lines import Lines, Trunks
from ai_engine.dispatch.permission import Permission
from ai_engine.dispatch.rescue import Rescue, forget
from ai_engine.dispatch.store import Store
from ai_engine.jobs.ports import Assignment, Attempt, Calendar, RequestRefused, Telephony, Urls
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Progress, Status

log = structlog.get_logger(__name__)

STREAM = "stream"
"""The kind of note with which a network tells the id of a call's media stream."""

_FIRST_NEWS_SECONDS = 1.0
"""Whoever asks for a call is answered when it is dialled, or after so long."""
_BOOKING_SECONDS = 6.0
"""So long somebody on the telephone waits for the calendar."""
_DAY_SECONDS = 24 * 3600.0
_LISTEN_SECONDS = 1.0
_MOST_UNKEPT = 1000
_THREADS = 32
"""That wait for databases; work beyond waits for one of them."""


class Dispatch:
    """Implements ``CallDesk``. On the office's event loop, unless a method says otherwise."""

    def __init__(
        self,
        settings: CallAgentSettings,
        telephony: Telephony,
        store: Store,
        fleet: Fleet,
        calendar: Calendar,
        notify: Callable[[CallRecord], Awaitable[bool | None]],
        urls: Callable[[], Awaitable[Urls]],
        assign: Callable[[CallRecord, str], Assignment],
        agents: Callable[[], Collection[str]],
        trunks: Trunks | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - the clock on the wall, for people
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``agents`` are the names a request may say now; ``trunks`` those of now, in place of the settings' own. Both
        are asked from any thread, and answer at once. The rest is as ``Carrier`` has it."""
        trunks = trunks or (lambda: settings.asterisk.trunks)
        self._settings = settings
        self._telephony = telephony
        self._store = store
        self._fleet = fleet
        self._permission = Permission(settings, agents, trunks)
        self._lines = Lines(settings, telephony.id, trunks)
        self._clock = clock
        self._bell = Bell()
        self._carrier = Carrier(
            settings,
            telephony,
            store,
            self._bell,
            self._permission,
            self._lines,
            calendar,
            notify,
            urls,
            assign,
            clock,
            chance,
        )
        self._rescue = Rescue(fleet.name, self._carrier)
        self._helpers: list[asyncio.Task[None]] = []
        self._unkept: deque[tuple[str, int, Progress]] = deque(maxlen=_MOST_UNKEPT)
        """News that came while the database was away."""
        self._is_open = False
        self._opened = asyncio.Event()
        self.counters = {
            "asked": 0,
            "refused": 0,
            "canceled": 0,
            "news": 0,
            "late_news": 0,
            "bookings": 0,
            "rescued": 0,
        }

    # -- opened and closed once ------------------------------------------------------------------------------

    async def open(self, dbos_url: str) -> None:
        """Carry on with what was begun before. ``dbos_url`` is the database of the workflows.

        Raises ConfigError where another engine of our name runs.
        """
        self._is_open = True
        await asyncio.to_thread(self._fleet.enter)
        workflows.use(self._carrier)
        # What takes long the first time, and must not hold up the loop.
        await asyncio.to_thread(DBOS.migrate, dbos_url)
        _configure(dbos_url, self._fleet.name)
        DBOS.launch()
        await self.renew_trunks()
        if not self._fleet.shares and not await workflows.any_active():
            await self._lines.forget_old()
        await self._look_after_calls()
        self._helpers = [asyncio.create_task(self._keep_house()), asyncio.create_task(self._listen())]
        self._opened.set()

    async def renew_trunks(self) -> None:
        """Trunks may have come or gone: there are lines for the new ones, and who waits for others is told at once."""
        if await self._lines.renew():
            for call_id in await asyncio.to_thread(self._lost):
                self._bell.ring(call_id)
                await workflows.drop_queued(call_id)

    async def let_end(self, seconds: float) -> None:
        """Wait, so long at most, for the news of conversations that have ended just now. What still rings is the next
        engine's."""
        with suppress(TimeoutError, SQLAlchemyError):
            async with asyncio.timeout(seconds):
                for call_id in tuple(self._carrier.live):
                    with self._bell.ear(call_id) as ear:
                        while (record := await self.status(call_id)) and record.status is Status.IN_PROGRESS:
                            await ear.wait(seconds)

    async def close(self) -> None:
        """What is under way is carried on by the next engine. May be called more than once, and without ``open``."""
        if not self._is_open:
            return
        self._is_open = False
        for helper in self._helpers:
            helper.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        await workflows.leave_off()
        await _destroy()
        await asyncio.to_thread(self._fleet.leave)

    # -- those who ask for calls -----------------------------------------------------------------------------

    async def call_agent(self, request: CallRequest) -> CallRecord:
        """Raises RequestRefused."""
        try:
            await asyncio.to_thread(self._permission.check, request)
        except RequestRefused as refusal:
            self.counters["refused"] += 1
            log.warning("a call is refused", to=request.to, reason=str(refusal))
            raise
        await self._opened.wait()  # whoever asks while the engine starts waits a moment
        call_id = str(uuid4())
        record = await asyncio.to_thread(self._store.add_call, call_id, request, self._telephony.id)
        if record.settled:
            return record
        if record.id == call_id:
            self.counters["asked"] += 1
            log.info("a call is asked for", call=call_id, to=request.to, provider=self._telephony.id)
        await workflows.begin_call(record.id)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until_dialed(record.id), _FIRST_NEWS_SECONDS)
        return await self.status(record.id) or record

    async def status(self, call_id: str) -> CallRecord | None:
        return await asyncio.to_thread(self._store.call, call_id)

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        return await asyncio.to_thread(self._store.calls, limit, status)

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        return await asyncio.to_thread(self._store.timeline, call_id)

    async def cancel(self, call_id: str) -> CallRecord | None:
        await self._opened.wait()
        if await self.status(call_id) is None:
            return None
        if await asyncio.to_thread(self._store.cancel, call_id):
            self.counters["canceled"] += 1
            self._bell.ring(call_id)  # whoever holds it hangs up
            await workflows.drop_queued(call_id)
        return await self.status(call_id)

    async def report_call(self, call_id: str, report: Report) -> None:
        """Raises KeyError where there is no such call."""
        await asyncio.to_thread(self._store.report, call_id, report)
        self._bell.ring(call_id)

    # -- telephone networks, and agents in calls -------------------------------------------------------------

    def find(self, call_id: str) -> Attempt | None:
        """The attempt that this engine holds. From any thread."""
        return self._carrier.live.get(call_id)

    def report(self, call_id: str, number: int, news: Progress) -> None:
        """As ``RouteContext.report`` has it: from any thread but an event loop's."""
        try:
            is_new = self._store.progress(call_id, number, news)
        except SQLAlchemyError:
            self._unkept.append((call_id, number, news))  # the network may not tell it again
            raise
        self.counters["news"] += 1
        if not is_new:
            self.counters["late_news"] += 1
            return
        log.info("news of a call", call=call_id, attempt=number, status=news.status, reason=news.reason or None)
        self._bell.ring(call_id)

    def note(self, call_id: str, kind: str, text: str) -> None:
        """As ``RouteContext.note`` has it: from any thread but an event loop's."""
        attempt = self.find(call_id)
        if kind == STREAM:
            with suppress(KeyError):
                self._store.change(call_id, stream_sid=text)
        self._store.note(call_id, kind, text, attempt.number if attempt else 0)

    async def book(self, call_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Enter an appointment that was confirmed on the telephone; ``body`` is that of ``create-event``.

        It is kept until the calendar has answered, also over a crash. Where that takes too long for a telephone call
        the answer is ``{"ok": false, "pending": true, …}``.
        """
        await self._opened.wait()
        key = str(body["idempotencyKey"])
        self.counters["bookings"] += 1
        await asyncio.to_thread(self._store.ask_booking, key, call_id, body)
        booking = await workflows.begin_booking(key)
        try:
            return await asyncio.wait_for(booking.get_result(), _BOOKING_SECONDS)
        except TimeoutError:
            return {
                "ok": False,
                "pending": True,
                "error": "the calendar does not answer; the booking will be completed",
            }

    # ----------------------------------------------------------------------------------------------------------

    def _lost(self) -> list[str]:
        """Of the calls we carry, those that wait for a trunk that is gone; they are refused. What rings already, or
        talks, is left alone."""
        lost, carried = [], workflows.running()
        for call_id in self._store.unsettled():
            standing = self._store.standing(call_id) if workflows.own_id(call_id) in carried else None
            if standing is None or not standing.waits:
                continue
            try:
                self._permission.check_way_out(standing.record.request)
            except RequestRefused as refusal:
                log.warning("a call has lost its way out", call=call_id, reason=str(refusal))
                self._store.refuse(call_id, str(refusal))
                lost.append(call_id)
        return lost

    async def _until_dialed(self, call_id: str) -> None:
        with self._bell.ear(call_id) as ear:
            while (record := await self.status(call_id)) is not None:
                if record.settled or record.next_attempt_at or record.user_hint or record.provider_call_id:
                    return
                await ear.wait(_FIRST_NEWS_SECONDS)

    # -- all the time ----------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        swept = 0.0
        while True:
            await asyncio.sleep(self._fleet.beat_seconds)
            try:
                await asyncio.to_thread(self._fleet.beat)
                await asyncio.to_thread(self._catch_up)
                await self.renew_trunks()
                await self._look_after_calls()
                if self._clock() - swept > _DAY_SECONDS:
                    before = self._clock() - self._settings.store.keep_days * _DAY_SECONDS
                    await asyncio.to_thread(self._store.forget, before)
                    await asyncio.to_thread(forget, before)
                    swept = self._clock()
            except SQLAlchemyError as away:
                log.warning("the calls cannot be looked after for now", reason=str(away))
            except Exception:  # noqa: BLE001 - the edge: as long as the engine runs
                log.exception("the calls could not be looked after")

    def _catch_up(self) -> None:
        for _ in range(len(self._unkept)):
            self.report(*self._unkept.popleft())

    async def _look_after_calls(self) -> None:
        unsettled = await asyncio.to_thread(self._store.unsettled)
        owed = await asyncio.to_thread(self._store.owed_bookings)
        others = await asyncio.to_thread(self._fleet.others)
        await self._rescue.look(unsettled, owed, others)
        self.counters["rescued"] = self._rescue.rescued

    async def _listen(self) -> None:
        """Ring for what other engines write down."""
        note: int | None = None
        while self._fleet.shares:
            with suppress(SQLAlchemyError):  # those who wait look by themselves, too
                note, call_ids = await asyncio.to_thread(self._store.noted_since, note)
                for call_id in call_ids:
                    self._bell.ring(call_id)
            await asyncio.sleep(_LISTEN_SECONDS)


def _configure(dbos_url: str, engine_name: str) -> None:
    DBOS(
        config={
            "name": "offhook",
            "system_database_url": dbos_url,
            "application_version": workflows.VERSION,
            "executor_id": engine_name,
            "log_level": "ERROR",  # it warns of every workflow that is left off for the next engine
            "max_executor_threads": _THREADS,
            "use_listen_notify": False,
        }
    )


async def _destroy() -> None:
    # DBOS has made its own threads those of this loop, and ends them: it cannot be ended in one of them.
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as other:
        await loop.run_in_executor(other, DBOS.destroy)
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="office"))
