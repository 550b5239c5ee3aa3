"""Takes calls in and carries them through: the door of this room."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from dbos import DBOS, SetWorkflowID, error

from ai_engine.dispatch import workflows
from ai_engine.dispatch.carrier import Carrier, queue_name
from ai_engine.dispatch.fleet import Fleet
from ai_engine.dispatch.store import Store
from ai_engine.jobs import limits
from ai_engine.jobs.ports import Assignment, Attempt, Calendar, RequestRefused, Telephony, Urls
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Progress

log = structlog.get_logger(__name__)

_VERSION = "1"
"""Of the workflows: raise it when their steps change. Calls that an older engine began are carried through by one."""

STREAM = "stream"
"""The kind of note with which a network tells the id of a call's media stream."""

_FIRST_NEWS_SECONDS = 1.0
"""Whoever asks for a call is answered when it is dialled, or after so long."""
_LOOK_SECONDS = 0.05
_BOOKING_SECONDS = 6.0
"""So long somebody on the telephone waits for the calendar."""
_DAY_SECONDS = 24 * 3600.0
_MINUTE_SECONDS = 60.0
_QUEUE_POLL_SECONDS = 0.2
_NEWS_POLL_SECONDS = 0.1
"""SQLite does not tell of news; a PostgreSQL does."""


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
        agents: Sequence[str],
        clock: Callable[[], float] = time.time,  # noqa: TID251 - the clock on the wall, for people
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``agents`` are the names a request may say; the rest is as ``Carrier`` has it."""
        self._settings = settings
        self._telephony = telephony
        self._store = store
        self._fleet = fleet
        self._agents = agents
        self._clock = clock
        self._carrier = Carrier(settings, telephony, store, calendar, notify, urls, assign, clock, chance)
        self._housekeeper: asyncio.Task[None] | None = None
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
        await asyncio.to_thread(self._fleet.enter)
        workflows.use(self._carrier)
        _configure(dbos_url, self._fleet.name)
        DBOS.launch()
        for name, most, a_minute in self._lines():
            await DBOS.register_queue_async(
                name,
                global_concurrency=most,
                limiter=None if a_minute is None else {"limit": a_minute, "period": _MINUTE_SECONDS},
                polling_interval_sec=_QUEUE_POLL_SECONDS,
                on_conflict="always_update",
            )
        for call_id in await asyncio.to_thread(self._store.unsettled):
            await self._begin(call_id)
        self._housekeeper = asyncio.create_task(self._keep_house())
        self._opened.set()

    async def close(self) -> None:
        """What is under way is carried on by the next engine. May be called more than once."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
            self._housekeeper = None
            await workflows.leave_off()
            await _destroy()
            await asyncio.to_thread(self._fleet.leave)

    # -- those who ask for calls -----------------------------------------------------------------------------

    async def call_agent(self, request: CallRequest) -> CallRecord:
        """Raises RequestRefused."""
        try:
            await asyncio.to_thread(self._check, request)
        except RequestRefused as refusal:
            self.counters["refused"] += 1
            log.warning("a call is refused", to=request.to, reason=str(refusal))
            raise
        await self._opened.wait()  # whoever asks while the engine starts waits a moment
        call_id = str(uuid4())
        record = await asyncio.to_thread(self._store.add_call, call_id, request, self._telephony.id)
        if record.id != call_id:
            return record
        self.counters["asked"] += 1
        log.info("a call is asked for", call=call_id, to=request.to, provider=self._telephony.id)
        await self._begin(call_id)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until_dialed(call_id), _FIRST_NEWS_SECONDS)
        return await self.status(call_id) or record

    async def status(self, call_id: str) -> CallRecord | None:
        return await asyncio.to_thread(self._store.call, call_id)

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        return await asyncio.to_thread(self._store.calls, limit, status)

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        return await asyncio.to_thread(self._store.timeline, call_id)

    async def cancel(self, call_id: str) -> CallRecord | None:
        await self._opened.wait()
        record = await self.status(call_id)
        if record is None or record.settled:
            return record
        self.counters["canceled"] += 1
        await asyncio.to_thread(self._store.cancel, call_id)
        await DBOS.send_async(call_id, True, topic=workflows.CANCEL)
        if record.attempt:
            await self._end_attempt(record)
        await self._drop_queued(workflows.attempt_id(call_id, record.attempt + 1))
        return await self.status(call_id)

    async def report_call(self, call_id: str, report: Report) -> None:
        """Raises KeyError where there is no such call."""
        await asyncio.to_thread(lambda: self._store.change(call_id, report=report))
        await asyncio.to_thread(self._store.note, call_id, "reported", f"{report.outcome}: {report.summary}")

    # -- telephone networks, and agents in calls -------------------------------------------------------------

    def find(self, call_id: str) -> Attempt | None:
        """The attempt that this engine holds. From any thread."""
        return self._carrier.live.get(call_id)

    def report(self, call_id: str, number: int, news: Progress) -> None:
        """As ``RouteContext.report`` has it: from any thread but an event loop's."""
        self.counters["news"] += 1
        if not self._store.progress(call_id, number, news):
            self.counters["late_news"] += 1
            return
        log.info("news of a call", call=call_id, attempt=number, status=news.status, reason=news.reason or None)
        with suppress(error.DBOSNonExistentWorkflowError, error.DBOSException):
            DBOS.send(workflows.attempt_id(call_id, number), news.status.value, topic=workflows.NEWS)

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
        with SetWorkflowID(workflows.booking_id(key)):
            handle = await DBOS.start_workflow_async(workflows.booking_workflow, key)
        try:
            return await asyncio.wait_for(asyncio.shield(handle.get_result()), _BOOKING_SECONDS)
        except TimeoutError:
            return {
                "ok": False,
                "pending": True,
                "error": "the calendar does not answer; the booking will be completed",
            }

    # ----------------------------------------------------------------------------------------------------------

    def _check(self, request: CallRequest) -> None:
        manners, name = self._settings.manners, request.agent
        path = manners.do_not_call_file
        limits.check_number(manners, request.to, _numbers_in(path) if path else ())
        if name is not None and name not in self._agents:
            raise RequestRefused(f"there is no agent {name!r} (known: {', '.join(self._agents)})")
        trunks = self._settings.asterisk.trunks
        if request.trunk is not None and request.trunk not in trunks:
            known = ", ".join(trunks) or "none"
            raise RequestRefused(f"there is no trunk {request.trunk!r} (known: {known})")
        if manners.windows and not any(window.days for window in manners.windows):
            raise RequestRefused("nobody may ever be called: call_agent.manners.windows have no days")

    def _lines(self) -> list[tuple[str, int, int | None]]:
        """Queue, lines, and dials a minute of each way out."""
        provider = self._telephony.id
        if provider == "asterisk":
            trunks = self._settings.asterisk.trunks
            return [(queue_name(provider, name), trunk.calls, trunk.calls_per_minute) for name, trunk in trunks.items()]
        twilio, mock = self._settings.twilio, self._settings.mock
        if provider == "twilio":
            return [(queue_name(provider, ""), twilio.calls, twilio.calls_per_minute)]
        return [(queue_name(provider, ""), mock.calls, None)]

    async def _begin(self, call_id: str) -> None:
        if await DBOS.get_workflow_status_async(call_id) is None:
            with SetWorkflowID(call_id):
                await DBOS.start_workflow_async(workflows.call_workflow, call_id)

    async def _until_dialed(self, call_id: str) -> None:
        while (record := await self.status(call_id)) is not None:
            if record.settled or record.next_attempt_at or record.user_hint or record.provider_call_id:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _end_attempt(self, record: CallRecord) -> None:
        attempt = self.find(record.id)
        if attempt is not None:
            await self._telephony.end_call(attempt, record.provider_call_id or "")
        with suppress(error.DBOSNonExistentWorkflowError):
            await DBOS.send_async(workflows.attempt_id(record.id, record.attempt), "canceled", topic=workflows.NEWS)

    async def _drop_queued(self, workflow_id: str) -> None:
        """One that waits for a line need wait no more."""
        known = await DBOS.get_workflow_status_async(workflow_id)
        if known is not None and known.status == "ENQUEUED":
            await DBOS.cancel_workflow_async(workflow_id)

    async def _keep_house(self) -> None:
        swept = 0.0
        while True:
            await asyncio.sleep(self._fleet.beat_seconds)
            try:
                lost = await asyncio.to_thread(self._fleet.beat)
                if lost:
                    self.counters["rescued"] += len(lost)
                    log.warning("engines are gone, their calls are carried on here", engines=lost)
                    await asyncio.to_thread(DBOS._recover_pending_workflows, lost)
                if self._clock() - swept > _DAY_SECONDS:
                    swept = self._clock()
                    before = swept - self._settings.store.keep_days * _DAY_SECONDS
                    await asyncio.to_thread(self._store.forget_settled, before)
            except Exception:  # noqa: BLE001 - the edge: a database that is away for a while must not end this
                log.exception("the calls could not be looked after")


def _configure(dbos_url: str, engine_name: str) -> None:
    DBOS(
        config={
            "name": "offhook",
            "system_database_url": dbos_url,
            "application_version": _VERSION,
            "executor_id": engine_name,
            "log_level": "ERROR",  # it warns of every workflow that is left off for the next engine
            "notification_listener_polling_interval_sec": _NEWS_POLL_SECONDS,
        }
    )


async def _destroy() -> None:
    # DBOS has made its own threads those of this loop, and ends them: it cannot be ended in one of them.
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as other:
        await loop.run_in_executor(other, DBOS.destroy)
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="office"))


def _numbers_in(path: Path) -> list[str]:
    """Raises RequestRefused: a list that cannot be read must not let anybody be called."""
    try:
        return limits.read_numbers(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as trouble:
        raise RequestRefused(f"the do-not-call list cannot be read: {trouble}") from trouble
