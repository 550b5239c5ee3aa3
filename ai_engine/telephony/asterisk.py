"""Calls placed by our own Asterisk."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from ai_engine.errors import AsteriskError
from ai_engine.jobs.dialing import OUTBOUND_PREFIX, DialOrder
from ai_engine.jobs.ports import Attempt, AttemptLost, CannotCall, RouteContext, SignedRequest, Started, Urls
from ai_engine.jobs.settings import AsteriskTelephony as Settings
from ai_engine.jobs.settings import Trunk
from ai_engine.jobs.status import Progress
from ai_engine.telephony.asterisk_causes import ended_of, progress_of
from ai_engine.telephony.asterisk_news import NewsRelay

if TYPE_CHECKING:
    from fastapi import APIRouter

log = structlog.get_logger(__name__)

Trunks = Callable[[], Mapping[str, Trunk]]

_DIALABLE = re.compile(r"[0-9+*#]+")
"""All that may stand in a dial string in place of the number: anything else could call somebody else, too."""

_GONE = 404
_REFUSED = (400, 500)
"""How Asterisk says that there is no such endpoint."""
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0
_LAST_NEWS_SECONDS = 0.5
"""For the end of calls that a human has got a moment ago."""


class DialerPort(Protocol):
    """Asterisk, as far as calling people goes. On the call loop; every coroutine may raise AsteriskError."""

    async def create(
        self, channel_id: str, dial_string: str, number: str, caller_id: str, headers: Mapping[str, str]
    ) -> None:
        """A channel with everything but the dialling; nothing is wrong when it exists."""
        ...

    async def dial(self, channel_id: str, order: DialOrder) -> None:
        """Call, and never twice: one that was dialled before is adopted instead. Status 404: it is gone."""
        ...

    async def adopt(self, channel_id: str, order: DialOrder) -> None:
        """Take up a call that an earlier engine dialled; what is gone has ``Ended``."""
        ...

    async def hang_up(self, channel_id: str) -> None:
        """Nothing is wrong when it is over already."""
        ...


class AsteriskTelephony:
    """Implements ``Telephony``. It is called on the office's event loop, and calls ``dialer`` on that of the calls."""

    id = "asterisk"

    def __init__(
        self,
        settings: Settings,
        dialer: DialerPort,
        call_loop: asyncio.AbstractEventLoop,
        trunks: Trunks | None = None,
    ) -> None:
        """``trunks`` are those of now, by name, in place of the settings' own."""
        self.counters = {"dialed": 0, "ringing": 0, "early_media": 0, "answered": 0, "ended": 0, "store_failures": 0}
        self._settings = settings
        self._trunks: Trunks = trunks or (lambda: settings.trunks)
        self._dialer = dialer
        self._call_loop = call_loop
        self._context: RouteContext | None = None
        self._relays: dict[str, asyncio.Task[None]] = {}
        """What carries the news of an attempt to the store, by its key."""
        self._ours: set[str] = set()
        """Keys of attempts that were started by this engine, until somebody asks for their news."""

    # -- Telephony -------------------------------------------------------------------------------------------

    async def prepare_call(self, attempt: Attempt) -> str:
        trunk = self._trunk(attempt)
        dial_string = _dial_string(trunk, attempt.to)
        channel_id = _channel_id(attempt)
        # No other technology has SIP headers.
        headers = trunk.headers if dial_string.startswith("PJSIP/") else {}
        try:
            await self._on_call_loop(
                self._dialer.create(channel_id, dial_string, attempt.to, trunk.caller_id, headers),
            )
        except AsteriskError as error:
            raise _cannot(error, f"Asterisk cannot call {dial_string}") from error
        return channel_id

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        try:
            await self._dial(attempt, again=again)
        except AsteriskError as error:
            if error.status == _GONE:
                raise AttemptLost("Asterisk does not have it any more") from error
            raise _cannot(error, "Asterisk does not dial") from error
        self.counters["dialed"] += 1
        self._ours.add(attempt.key)
        return Started(_channel_id(attempt))

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        if attempt.key in self._ours:
            # Its news come by themselves, and its end may have come already.
            self._ours.discard(attempt.key)
        elif attempt.key not in self._relays:
            relay = self._relay(attempt)
            self._run(attempt, self._adopt(attempt, relay))

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        try:
            await self._on_call_loop(self._dialer.hang_up(provider_call_id or _channel_id(attempt)))
        except AsteriskError as error:
            log.warning("a call could not be hung up", call=attempt.call_id, reason=str(error))

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str:
        """Nobody asks: Asterisk is told what to do."""
        return ""

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool:
        """There are no webhooks."""
        return False

    def map_status(self, payload: Mapping[str, str]) -> Progress | None:
        """``payload`` as ``ended_of`` has it."""
        ended = ended_of(payload)
        return None if ended is None else progress_of(ended)

    def register_routes(self, router: "APIRouter", context: RouteContext) -> None:
        """There are none; but news go to ``context``."""
        self._context = context

    async def close(self) -> None:
        """Pass no news on any more; calls stay as they are."""
        relays = list(self._relays.values())
        if relays:
            await asyncio.wait(relays, timeout=_LAST_NEWS_SECONDS)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    # --------------------------------------------------------------------------------------------------------

    async def _dial(self, attempt: Attempt, *, again: bool) -> None:
        if attempt.key in self._relays:
            return
        relay = self._relay(attempt)
        relaying = self._run(attempt, relay.run())
        try:
            try:
                await self._on_call_loop(self._dialer.dial(_channel_id(attempt), self._order(attempt, relay)))
            except AsteriskError as error:
                if again or error.status != _GONE:
                    raise
                # It waited too long for this, and was never dialled.
                await self.prepare_call(attempt)
                await self._on_call_loop(self._dialer.dial(_channel_id(attempt), self._order(attempt, relay)))
        except BaseException:
            relaying.cancel()
            self._relays.pop(attempt.key, None)
            raise

    async def _adopt(self, attempt: Attempt, relay: NewsRelay) -> None:
        """Asterisk may be away for now."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                await self._on_call_loop(self._dialer.adopt(_channel_id(attempt), self._order(attempt, relay)))
                break
            except AsteriskError as error:
                log.warning("a call of before the restart is not found yet", call=attempt.call_id, reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_RETRY_SECONDS)
        await relay.run()

    def _order(self, attempt: Attempt, relay: NewsRelay) -> DialOrder:
        settings, trunk = self._settings, self._find(attempt)
        return DialOrder(
            assignment=attempt.assignment,
            number=attempt.to,
            # Where the trunk is gone the call, which was dialled already, goes on.
            caller_id="" if trunk is None else trunk.caller_id,
            ring_seconds=attempt.ring_seconds,
            tell=relay.tell,
            screening_context=settings.answering_machine_context if settings.answering_machine else "",
        )

    def _relay(self, attempt: Attempt) -> NewsRelay:
        if self._context is None:
            raise CannotCall("nobody is there to be told (register_routes was not called)", retryable=False)
        return NewsRelay(attempt, _channel_id(attempt), self._context, self.counters)

    def _run(self, attempt: Attempt, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._relays[attempt.key] = task
        task.add_done_callback(lambda task: self._done(attempt.key, task))
        return task

    def _done(self, key: str, task: asyncio.Task[None]) -> None:
        if self._relays.get(key) is task:
            del self._relays[key]

    def _trunk(self, attempt: Attempt) -> Trunk:
        if (trunk := self._find(attempt)) is None:
            known = ", ".join(self._trunks()) or "none"
            raise CannotCall(f"there is no trunk {attempt.trunk!r} (known: {known})", retryable=False)
        return trunk

    def _find(self, attempt: Attempt) -> Trunk | None:
        trunks = self._trunks()
        return trunks.get(attempt.trunk) if attempt.trunk else next(iter(trunks.values()), None)

    async def _on_call_loop(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._call_loop))


def _channel_id(attempt: Attempt) -> str:
    return f"{OUTBOUND_PREFIX}{attempt.key}"


def _dial_string(trunk: Trunk, number: str) -> str:
    if not _DIALABLE.fullmatch(number):
        raise CannotCall(f"{number!r} cannot be dialled: only digits, +, * and # can", retryable=False)
    return trunk.dial.replace("{number}", number)


def _cannot(error: AsteriskError, what: str) -> CannotCall:
    return CannotCall(f"{what}: {error}", retryable=error.status not in _REFUSED)
