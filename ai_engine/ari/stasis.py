"""Our Stasis application: the event socket kept open, its events dealt out, and what an outage left set right."""

import asyncio
import json
import random
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import structlog

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.dialer import Dialer
from ai_engine.ari.leftovers import sweep, tell_what_ended, tidy
from ai_engine.ari.listening import AriListener
from ai_engine.ari.media_leg import OUR_CHANNELS
from ai_engine.ari.pbx import AriPbx
from ai_engine.ari.room import AriRoom
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.ari.transport import AriSettings
from ai_engine.errors import AsteriskError
from ai_engine.jobs.dialing import OUTBOUND_PREFIX
from ai_engine.protocol.abilities import Abilities, abilities
from ai_engine.protocol.ari import (
    ApplicationReplaced,
    AriEvent,
    Channel,
    ChannelEvent,
    StasisStart,
    parse_arguments,
    parse_event,
)

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 5.0
_STEADY_SECONDS = 5.0
"""A connection that lasted so long was a good one: the next retry comes quickly again."""

_REFUSED = (401, 403)
_GRACE_SECONDS = 0.25
"""A channel that enters while we ask who is there is announced within this time, and so is no orphan."""


class ApplicationTaken(AsteriskError):
    """Another engine connected under our application's name; there is no point in fighting over it."""


def retry_seconds(failures: int, status: int = 0) -> float:
    """How long to wait after the ``failures``-th failure in a row (from 0); a refused password can wait longest."""
    if status in _REFUSED:
        return _LAST_RETRY_SECONDS
    longest = min(_LAST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16))
    return longest * random.uniform(0.5, 1.0)


class AriApp:
    """Holds our place in Asterisk and offers every caller to ``on_call``, which must return at once.

    ``on_call`` owns the call it is given: it lets the call end by itself, then closes it.
    """

    def __init__(
        self,
        settings: AriSettings,
        on_call: Callable[[AriCallControl], None],
        on_connected: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``on_connected`` is awaited after every connection, beside the events: it delays no call."""
        self.connected = False
        """Whether events arrive."""
        self.ready = asyncio.Event()
        """They did, at least once."""
        self.version = ""
        """Of the Asterisk last connected to."""
        self.abilities = Abilities()
        """Of the same; known before the first call is offered."""
        self.reconnects = 0
        self.bad_frames = 0
        """Messages on the event socket that were not events."""
        self.orphans = 0
        """Callers found waiting after a connection."""
        self._settings = settings
        self._on_call = on_call
        self._subscriptions = Subscriptions()
        self.dialer = Dialer(self._subscriptions, self._hand_over)
        """Calls people, and offers those who answer to ``on_call``, too."""
        self.pbx = AriPbx(lambda: self._ari)
        """What Asterisk knows of SIP trunks."""
        self._on_connected = on_connected
        self._calls: weakref.WeakValueDictionary[str, AriCallControl] = weakref.WeakValueDictionary()
        self._ari: Ari | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._closed = asyncio.Event()
        self._errands: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Stay connected until ``close()``. Asterisk need not be up yet. Raises ApplicationTaken.

        Calls can still be commanded after it has raised or was cancelled, until ``close()``.
        """
        if self._closed.is_set():
            return
        self._ari = await Ari.open(self._settings)
        failures = 0
        while not self._closed.is_set():
            began = asyncio.get_running_loop().time()
            error = await self._stay_connected(self._ari)
            if self._closed.is_set():
                return
            if asyncio.get_running_loop().time() - began > _STEADY_SECONDS:
                failures = 0
            delay = retry_seconds(failures, error.status)
            failures += 1
            log.warning("ARI connection lost", reason=str(error), retry_seconds=round(delay, 2))
            await self._sleep(delay)

    async def close(self) -> None:
        """End ``run()`` and every request; callers still held stay in Asterisk, to be found as orphans."""
        self._closed.set()
        await self.dialer.close()
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._ari is not None:
            await self._ari.close()

    def listener(self, channel_id: str) -> AriListener:
        """A new one, for the call of this caller's channel. Raises AsteriskError; status 404: we hold none."""
        call = self._calls.get(channel_id)
        if call is None or not call.heard_at:
            raise AsteriskError(f"no call of ours has channel {channel_id}", 404)
        return AriListener(self._requests(), self._subscriptions, call)

    def room(self, name: str, left: Callable[[], None]) -> AriRoom:
        """A new one; ``left`` is told when its agent has left. Raises AsteriskError."""
        return AriRoom(self._requests(), self._subscriptions, name, left)

    async def has_extension(self, channel_id: str, context: str, extension: str) -> bool:
        """Whether the dialplan has ``context,extension,1``; needs ``func_dialplan.so``. Raises AsteriskError."""
        return await self._requests().has_extension(channel_id, context, extension)

    def _requests(self) -> Ari:
        if self._ari is None or not self.connected:
            raise AsteriskError("Asterisk is not connected")
        return self._ari

    # -- the event socket ----------------------------------------------------------------------------------

    async def _stay_connected(self, ari: Ari) -> AsteriskError:
        """One connection from its beginning to its end, and why it ended."""
        try:
            version = await ari.version()
            able = abilities(version, await ari.running_modules())
            held = self._subscriptions.ids()
            playing = self._subscriptions.playbacks()
            self._socket = await ari.event_socket()
            try:
                self._connected(version, able)
                self.dialer.connected(ari)
                self._run_errand(self._set_right(ari, self._socket, held, playing))
                self._run_errand(self._tell_connected())
                return await self._read(ari, self._socket)
            finally:
                self.connected = False
                self.dialer.disconnected()
                await self._socket.close()
        except ApplicationTaken:
            raise
        except AsteriskError as error:
            return error

    def _connected(self, version: str, able: Abilities) -> None:
        if self.version:
            self.reconnects += 1
        self.connected = True
        self.ready.set()
        self.version = version
        self.abilities = able
        log.info("ARI connected", url=self._settings.url, version=version, app=self._settings.app)
        if not able.transports():
            log.error("Asterisk has no way for sound: callers will be handed to a human", lacks=able.lacks)
        elif able.lacks:
            log.warning("Asterisk lacks some ways for sound", has=able.transports(), lacks=able.lacks)

    async def _read(self, ari: Ari, socket: aiohttp.ClientWebSocketResponse) -> AsteriskError:
        while True:
            message = await socket.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    self._receive(ari, message.data)
                case aiohttp.WSMsgType.ERROR:
                    return AsteriskError(f"event socket: {message.data}")
                case _:
                    return AsteriskError(f"event socket closed with code {socket.close_code}")

    def _receive(self, ari: Ari, frame: str | bytes) -> None:
        try:
            event = parse_event(json.loads(frame))
        except ValueError as error:
            self.bad_frames += 1
            log.warning("ARI frame is no event, skipped", reason=str(error), bytes=len(frame))
            return
        if event is not None:
            self._dispatch(ari, event)

    # -- events --------------------------------------------------------------------------------------------

    def _dispatch(self, ari: Ari, event: AriEvent) -> None:
        match event:
            case ApplicationReplaced():
                log.critical(
                    "another engine took our ARI application; give each engine its own name",
                    app=self._settings.app,
                )
                raise ApplicationTaken(f"another engine connected as {self._settings.app!r}")
            case ChannelEvent() if self._subscriptions.deliver(event):
                pass
            case StasisStart(channel_id) if channel_id.startswith(OUR_CHANNELS):
                self._run_errand(tidy(ari.hang_up(channel_id)))
            case StasisStart(channel_id) if channel_id.startswith(OUTBOUND_PREFIX):
                self.dialer.unclaimed(channel_id)
            case StasisStart(_, channel, args):
                self._offer(ari, channel, args)

    def _offer(self, ari: Ari, channel: Channel, args: tuple[str, ...], *, orphan: bool = False) -> None:
        self._hand_over(AriCallControl(ari, self._subscriptions, channel, parse_arguments(args), orphan=orphan))

    def _hand_over(self, call: AriCallControl) -> None:
        self._calls[call.channel_id] = call
        try:
            self._on_call(call)
        except Exception:  # noqa: BLE001  the edge: what fails for one caller must not cost the others theirs
            log.exception("a call could not be taken up", channel=call.channel_id)
            self._run_errand(tidy(call.close()))

    # -- after an outage -----------------------------------------------------------------------------------

    async def _set_right(
        self, ari: Ari, socket: aiohttp.ClientWebSocketResponse, held: frozenset[str], playing: dict[str, str]
    ) -> None:
        """Asterisk repeats no event: compare what it has with what we ``held`` and heard before this connection."""
        try:
            listed = await ari.application_channels()
            await tell_what_ended(ari, self._subscriptions, held - listed, playing)
            await sweep(ari, self._settings.app, self._subscriptions, listed)
            outbound = frozenset(channel_id for channel_id in listed if channel_id.startswith(OUTBOUND_PREFIX))
            await self.dialer.set_right(outbound)
            await self._find_orphans(ari, listed - outbound)
        except AsteriskError as error:
            log.warning("ARI state could not be compared, connecting anew", reason=str(error))
            await socket.close()

    async def _find_orphans(self, ari: Ari, listed: frozenset[str]) -> None:
        """Offer the callers who wait in the application and whom nobody holds."""
        callers = {channel_id for channel_id in listed if not channel_id.startswith(OUR_CHANNELS)}
        if callers <= self._subscriptions.ids():
            return
        await self._sleep(_GRACE_SECONDS)
        for channel in await ari.channels():
            if channel.id in callers and channel.id not in self._subscriptions:
                self.orphans += 1
                log.warning("orphaned caller found", channel=channel.id, caller=channel.caller_number)
                self._offer(ari, channel, channel.stasis_args, orphan=True)

    async def _tell_connected(self) -> None:
        if self._on_connected is None:
            return
        try:
            await self._on_connected()
        except Exception:  # noqa: BLE001  the edge: calls go on without what was to be done
            log.exception("not everything was done after the connection to Asterisk")

    # -- small work beside the reader ----------------------------------------------------------------------

    def _run_errand(self, work: Coroutine[Any, Any, None]) -> None:
        errand = asyncio.create_task(work)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def _sleep(self, seconds: float) -> None:
        """Until the time is over or we are closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            pass
