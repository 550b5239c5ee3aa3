"""Calls that the engine places, and appointments it makes: everything of it, made and opened together."""

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.app.desk_parts import CalendarPart, make_telephony, own_zone
from ai_engine.app.doorstep import Doorstep
from ai_engine.app.numbers import Numbers
from ai_engine.ari.dialer import Dialer
from ai_engine.config import EngineConfig
from ai_engine.dispatch.database import Database, postgres_url
from ai_engine.dispatch.desk import Dispatch
from ai_engine.dispatch.fleet import Fleet
from ai_engine.dispatch.notify import Notifier, NotifyFailed
from ai_engine.dispatch.store import Store
from ai_engine.errors import AsteriskError, ConfigError, NotForUs
from ai_engine.host.sqlite import sqlite_url
from ai_engine.jobs.briefing import assignment
from ai_engine.jobs.ports import Assignment, Attempt, CalendarUnreachable, RouteContext
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import Report
from ai_engine.jobs.settings import CallAgentSettings, Trunk
from ai_engine.jobs.status import Progress
from ai_engine.observe.live_transcript import LiveTranscript
from ai_engine.observe.office import Office
from ai_engine.session.call_session import CallSession
from ai_engine.telephony.mock import TranscriptBoard
from ai_engine.telephony.rooms import RoomPages
from ai_engine.transports.media_stream_door import MediaStreamDoor
from ai_engine.trunks.number import SipNumber
from ai_engine.web.server import WebServer
from ai_engine.web.studio_api import Studio

if TYPE_CHECKING:
    from ai_engine.app.studio_part import StudioPart

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_EVERYWHERE = ("", "0.0.0.0", "::")

_HOUR_SECONDS = 3600.0
_LAST_NEWS_SECONDS = 3.0
"""So long after the last conversation its end must be known, or the next engine takes it for lost, and calls again."""
_UNKNOWN = "unknown"
"""Where the dialplan tells a caller that nobody has the number they have dialled."""
_NUMBERS_SECONDS = 2.0
"""How often the store of numbers is looked at."""
_CALLBACK_SECONDS = 1.0
"""Somebody who calls us does not wait longer for us to look up whether we know them."""


class Outbound:
    """All methods are for the call loop. What they do happens in a thread of its own, which is why none of them, nor
    anybody who asks for calls, can hold a frame back."""

    def __init__(
        self,
        config: EngineConfig,
        settings: CallAgentSettings,
        version: str,
        numbers: Numbers | None = None,
        agents: Callable[[], Collection[str]] | None = None,
        studio: "StudioPart | None" = None,
    ) -> None:
        """``numbers`` are ours, each a trunk beside those of the settings; ``agents`` the names of those there are now,
        asked from any thread, in place of the configuration's. ``studio`` is served beside the calls, where there is
        one."""
        self._board = TranscriptBoard()
        self.transcript = LiveTranscript(self._board.said)
        """An ``Observer``."""
        self._config = config
        self._version = version
        self._numbers = numbers
        self._studio = studio
        self._agents = agents or (lambda: tuple(config.agents))
        self.settings = settings
        self.zone = own_zone()
        """Of this machine, by its IANA name."""
        self._sessions: Callable[[], list[CallSession]] = list
        self._office: Office | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_open = False
        self._opened: AsyncExitStack | None = None
        self._turn = asyncio.Lock()
        """Whoever closes waits for whoever opens."""

    # -- opened and closed once ------------------------------------------------------------------------------

    async def open(self, dialer: Dialer, door: MediaStreamDoor, sessions: Callable[[], list[CallSession]]) -> None:
        """``dialer`` and ``door`` are where calls come from; ``sessions`` are those in progress.

        Raises ConfigError when something of it cannot be had: nothing is left open then.
        """
        self._loop = asyncio.get_running_loop()
        self._sessions = sessions
        self._office = Office("call desk")
        await self._there(self._open(dialer, door))
        self._is_open = True

    async def close(self) -> None:
        """What is under way is carried on by the next engine. May be called though it was never opened, or only in
        part."""
        if self._office is None:
            return
        self._is_open = False
        await self._there(self._close())
        office, self._office = self._office, None
        with suppress(TimeoutError):  # a thread of it waits for a database that does not answer
            await asyncio.to_thread(office.close)

    async def _open(self, dialer: Dialer, door: MediaStreamDoor) -> None:
        async with self._turn, AsyncExitStack() as opened:
            try:
                await self._open_all(dialer, door, opened)
            except SQLAlchemyError as error:
                raise ConfigError(f"call_agent.store: {getattr(error, 'orig', error)}") from error
            except OSError as error:
                raise ConfigError(f"call_agent: {error}") from error
            self._opened = opened.pop_all()

    async def _close(self) -> None:
        async with self._turn:
            if self._opened is not None:
                await self._desk.let_end(_LAST_NEWS_SECONDS)
                await self._opened.aclose()

    async def _open_all(self, dialer: Dialer, door: MediaStreamDoor, opened: AsyncExitStack) -> None:
        """What is open is closed by ``opened``, whatever happens, in the order of what needs what."""
        settings = self.settings
        self._door = door
        shared = postgres_url(settings.store.database_url.get_secret_value())
        database = await asyncio.to_thread(Database, shared or sqlite_url(settings.store.path))
        opened.push_async_callback(asyncio.to_thread, database.close)
        self._store = Store(database, time.time)  # noqa: TID251 - the clock on the wall, for people
        self._calendar = await asyncio.to_thread(CalendarPart, settings, self.zone, time.time)  # noqa: TID251 - as above
        opened.push_async_callback(self._calendar.close)
        self._notifier = Notifier(settings.notify)
        self._doorstep = Doorstep(settings, lambda: self._web.port)
        self._network = make_telephony(settings, dialer, door, self._board, lambda: self._desk, self._loop, self.trunks)
        name = settings.store.engine_name or socket.gethostname()
        lock = None if shared else settings.store.path.with_suffix(".lock")
        self._desk = Dispatch(
            settings,
            self._network,
            self._store,
            Fleet(database, name, lock),
            self._calendar,
            self._notify,
            self._doorstep.urls,
            self._assignment,
            self._agents,
            self.trunks,
        )
        context = RouteContext(lambda: self._doorstep.known, self._desk.find, self._report, self._desk.note)
        rooms = RoomPages(settings.server, door)
        if self._studio is not None:
            self._studio.serve_rooms(rooms)
        self._web = WebServer(
            settings.server,
            settings.tokens,
            self._desk,
            [self._network, rooms] if self._studio is not None else [self._network],
            context,
            self.snapshot,
            version=self._version,
            studio=self._studio_door(),
        )
        for part in (self._doorstep.close, self._desk.close, self._stop_watching, self._web.stop, self._network.close):
            opened.push_async_callback(part)
        if self._studio is not None:
            opened.push_async_callback(self._studio.close_door)
        if self._numbers is not None:  # before anything that waits is carried on
            await asyncio.to_thread(self._numbers.refresh)
        await self._calendar.open()
        try:
            await self._web.start()
        except OSError as error:
            at = f"{settings.server.host}:{settings.server.port}"
            raise ConfigError(f"call_agent.server.port: {at}: {error}. Is another engine running?") from error
        await self._desk.open(shared or sqlite_url(settings.store.path.with_suffix(".dbos.sqlite")))
        log.info("calls can be asked for", url=self._doorstep.known.local, provider=self._network.id)
        self._watching = asyncio.create_task(self._watch_numbers())
        await self._doorstep.open()

    def _studio_door(self) -> Studio | None:
        if self._studio is None:
            return None
        desk = self._desk
        return self._studio.open_door(
            desk, self._store.unsettled, lambda job: desk.find(job) is not None, self.renew_numbers, self._loop
        )

    @property
    def url(self) -> str:
        """Of the HTTP server, for this machine; once it is open."""
        host = self.settings.server.host
        if host in _EVERYWHERE:
            return self._doorstep.known.local
        return f"http://{f'[{host}]' if ':' in host else host}:{self._web.port}"

    @property
    def provider(self) -> str:
        """The telephone network that calls are placed over; once it is open."""
        return self._network.id

    # -- numbers, and the trunks they come over -------------------------------------------------------------

    def trunks(self) -> Mapping[str, Trunk]:
        """The ways out of this moment, those of the settings first; from any thread, at once."""
        return {**self.settings.asterisk.trunks, **(self._numbers.trunks() if self._numbers else {})}

    def called(self, arguments: Mapping[str, str]) -> SipNumber | None:
        """The number of ours that somebody calls, by the arguments of ``Stasis()``; None: they come another way. At
        once. Raises NotForUs where nobody answers it."""
        studio = self._config.studio
        if studio is None or self._numbers is None or "number" not in arguments:
            return None
        did, number = arguments.get("did", ""), arguments["number"]
        found = self._numbers.find(did, number)
        if found is not None and found.inbound_agent is not None:
            return found
        why = "is none of our numbers" if found is None else "has no inbound agent"
        raise NotForUs(f"{did or number or 'what was dialled'} {why}", studio.context, _UNKNOWN)

    async def renew_numbers(self) -> None:
        """The store of numbers may have changed: what is asked for from now on knows of it. On the office's loop."""
        if self._numbers is not None and await asyncio.to_thread(self._numbers.refresh):
            await self._desk.renew_trunks()

    async def _watch_numbers(self) -> None:
        """Whoever changed the store may not have been able to tell us."""
        while self._numbers is not None:
            try:
                await self.renew_numbers()
            except Exception:  # noqa: BLE001 - the edge: as long as the engine runs
                log.exception("the numbers could not be looked at")
            await asyncio.sleep(_NUMBERS_SECONDS)

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    # ----------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `/health`; from any thread, may block."""
        if not self._is_open:
            return {"up": False}
        return {
            "up": True,
            "provider": self._network.id,
            "calls": dict(self._desk.counters),
            "network": dict(getattr(self._network, "counters", {})),
            "streams": dict(getattr(getattr(self._network, "streams", None), "counters", {})),
            "media": dict(self._door.counters),
            "turned_away": self._web.turned_away,
            "calendar": self._calendar.health(),
            "public_url": self._doorstep.known.public or None,
        }

    # -- what tools ask in a call (Bookings, Reports) --------------------------------------------------------

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As ``Calendar.ask``."""
        return await self._there(self._calendar.ask(operation, body))

    async def book(self, call_id: str, job_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As ``Dispatch.book``; an appointment of a call that somebody asked for belongs to that."""
        return await self._there(self._desk.book(job_id or call_id, body))

    async def report(self, job_id: str, report: Report) -> None:
        """As ``CallDesk.report_call``."""
        await self._there(self._desk.report_call(job_id, report))

    async def callback(self, number: str) -> Assignment | None:
        """What we had called ``number`` about, where somebody who calls back is to get the agent who called them.

        Raises AsteriskError for those who are not to be answered.
        """
        policy = self.settings.manners.callbacks
        if policy == "ordinary" or not number or not self._is_open:
            return None
        try:
            record = await asyncio.wait_for(self._there(self._recently_called(number)), _CALLBACK_SECONDS)
        except (TimeoutError, SQLAlchemyError, CalendarUnreachable) as error:
            # A caller is not to suffer from that.
            log.warning("nobody knows whether this is a callback", caller=number, reason=type(error).__name__)
            return None
        if record is None:
            return None
        if policy == "reject":
            raise AsteriskError(f"{number} calls back (call_agent.manners.callbacks is reject)")
        errand = self._assignment(record, "")
        if errand.agent not in self._agents():
            log.warning("somebody calls back an agent that is no more", caller=number, agent=errand.agent)
            return None
        return replace(errand, greeting="", instructions=f"They call you back.\n{errand.instructions}", machine=False)

    # ----------------------------------------------------------------------------------------------------------

    async def _there(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._office is None:
            work.close()
            raise CalendarUnreachable("the engine is not ready for that yet")
        return await asyncio.wrap_future(self._office.submit(work))

    async def _recently_called(self, number: str) -> CallRecord | None:
        since = time.time() - self.settings.manners.callback_hours * _HOUR_SECONDS  # noqa: TID251 - as above
        return await asyncio.to_thread(self._store.latest_to, number, since)

    def _assignment(self, record: CallRecord, put_right: str) -> Assignment:
        return assignment(self.settings, record, self._config.default_agent, self.zone, datetime.now(UTC), put_right)

    async def _notify(self, record: CallRecord) -> bool | None:
        try:
            return await self._notifier.notify(record) or None
        except NotifyFailed:
            return False

    def _report(self, call_id: str, number: int, news: Progress) -> None:
        self._desk.report(call_id, number, news)
        attempt = self._desk.find(call_id)
        if attempt is None or attempt.number != number:
            return
        if news.answered_by == "machine" and not attempt.assignment.machine:
            self._loop.call_soon_threadsafe(self._machine_answered, attempt)

    def _machine_answered(self, attempt: Attempt) -> None:
        """A machine has shown itself while the agent talks to it already."""
        session = next((session for session in self._sessions() if session.call_id == attempt.key), None)
        if session is None:
            return
        if attempt.assignment.message:
            session.leave_message(attempt.assignment.message)
        elif self._office is not None:
            self._office.submit(self._network.end_call(attempt, ""))
