"""Command of one caller's channel: answer, join with a media leg, keep alive, hand on, hang up."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from uuid import UUID

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.protocol.ari import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    StasisEnd,
    StasisStart,
)

log = structlog.get_logger(__name__)

MEDIA_PREFIX = "offhook-media-"
"""Ids of the media legs we create, followed by the UUID of their connection."""

BRIDGE_PREFIX = "offhook-bridge-"
"""Ids of the bridges we create, followed by the UUID of the media leg in them."""

_INBOX_SIZE = 64
_NEWS_SECONDS = 0.25
"""The event that a caller left follows a refusal caused by it within this time."""

_GONE = frozenset({404, 409, 422})
"""How Asterisk says that a channel does not exist, or is not in our application."""


class AriCallControl:
    """One caller in our application, from StasisStart until it leaves. Implements ``CallControl``."""

    def __init__(
        self,
        ari: Ari,
        subscriptions: Subscriptions,
        channel: Channel,
        variables: Mapping[str, str],
        *,
        orphan: bool = False,
    ) -> None:
        self.channel_id = channel.id
        self.caller_number = channel.caller_number
        self.dialled = channel.dialled
        self.variables = variables
        self.orphan = orphan
        """The caller was found waiting in the application: an earlier engine, or connection, left them there."""
        self._ari = ari
        self._subscriptions = subscriptions
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue(_INBOX_SIZE)
        self._left = asyncio.Event()
        self._transferring = False
        self._hangup_cause: int | None = None
        self._leg_id = ""
        self._leg_here = False
        self._leg_settled = asyncio.Event()
        self._bridge_id = ""
        self._log = log.bind(channel=channel.id)
        subscriptions.add(channel.id, self._caller_event)

    # -- what the session asks -----------------------------------------------------------------------------

    async def answer(self) -> None:
        async with self._caller_here():
            await self._ari.answer(self.channel_id)

    async def attach_media(self, uuid: UUID, address: str, format: AudioFormat) -> None:
        """Create the media leg, wait until it is in our application, and bridge it with the caller. Once per call.

        How long that may take is the caller's to say, by cancelling; ``close()`` then deletes the leg.

        ``address`` is the ``host:port`` Asterisk connects to.
        """
        async with self._caller_here(refusals=frozenset()):
            await self._create_leg(uuid, address, format)
            self._bridge_id = f"{BRIDGE_PREFIX}{uuid}"
            await self._ari.create_bridge(self._bridge_id)
        # One request each: so a refusal tells which of the two has left.
        async with self._caller_here(refusals=_GONE | {400}):
            await self._ari.add_channel(self._bridge_id, self.channel_id)
        async with self._caller_here(refusals=frozenset()):
            await self._ari.add_channel(self._bridge_id, self._leg_id)

    async def set_variables(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            async with self._caller_here():
                await self._ari.set_variable(self.channel_id, name, value)

    async def keep_alive(self, seconds: int) -> None:
        await self.set_variables({"TIMEOUT(absolute)": str(seconds)})

    async def transfer(self, context: str, extension: str) -> None:
        """Send the caller to ``context,extension,1``; ``events()`` then ends without an event."""
        self._transferring = True
        try:
            async with self._caller_here():
                await self._ari.continue_in_dialplan(self.channel_id, context, extension)
        except AsteriskError:
            self._transferring = False
            raise

    async def hang_up(self) -> None:
        async with self._caller_here():
            await self._ari.hang_up(self.channel_id)

    async def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived`` and ``MediaLost``, then at last one of ``CallerHungUp`` or ``TakenBack``."""
        while (event := await self._inbox.get()) is not None:
            yield event

    async def close(self) -> None:
        """Delete the media leg and the bridge, and listen no more; the caller's channel is left as it is."""
        self._leave(None)
        leg_id, self._leg_id = self._leg_id, ""
        bridge_id, self._bridge_id = self._bridge_id, ""
        self._subscriptions.drop(leg_id)
        try:
            if leg_id:
                with _missing_is_fine():
                    await self._ari.hang_up(leg_id)
        finally:
            if bridge_id:
                with _missing_is_fine():
                    await self._ari.destroy_bridge(bridge_id)

    # -- the media leg -------------------------------------------------------------------------------------

    async def _create_leg(self, uuid: UUID, address: str, format: AudioFormat) -> None:
        self._leg_id = f"{MEDIA_PREFIX}{uuid}"
        # Its first event may come before the answer to the request.
        self._subscriptions.add(self._leg_id, self._leg_event)
        await self._ari.external_media(self._leg_id, address, _codec(format), str(uuid))
        await self._leg_settled.wait()
        if not self._leg_here:
            raise AsteriskError(f"the media leg to {address} ended before it arrived")

    def _leg_event(self, event: ChannelEvent) -> None:
        match event:
            case StasisStart():
                self._leg_here = True
                self._leg_settled.set()
            case StasisEnd() | ChannelDestroyed():
                if self._leg_here and not self._left.is_set():
                    self._tell(MediaLost("the media leg left Asterisk"))
                self._leg_here = False
                self._leg_settled.set()

    # -- the caller ----------------------------------------------------------------------------------------

    def _caller_event(self, event: ChannelEvent) -> None:
        match event:
            case ChannelDtmfReceived(_, digit):
                self._tell(DigitReceived(digit))
            case ChannelHangupRequest(_, cause):
                self._hangup_cause = cause
            case StasisEnd() if self._hangup_cause is not None:
                self._leave(CallerHungUp(self._hangup_cause))
            case StasisEnd():
                self._leave(None if self._transferring else TakenBack())
            case ChannelDestroyed(_, cause):
                self._leave(CallerHungUp(cause))

    def _tell(self, event: CallEvent | None) -> None:
        if self._inbox.full():
            self._log.warning("call does not read its events, the oldest is lost", lost=self._inbox.get_nowait())
        self._inbox.put_nowait(event)

    def _leave(self, last: CallEvent | None) -> None:
        """The caller is no longer ours: whoever waits for the leg, or for events, learns it now."""
        if self._left.is_set():
            return
        self._left.set()
        self._subscriptions.drop(self.channel_id)
        self._leg_settled.set()
        if last is not None:
            self._tell(last)
        self._tell(None)

    @asynccontextmanager
    async def _caller_here(self, refusals: frozenset[int] = _GONE) -> AsyncIterator[None]:
        """Turn what is merely the consequence of a caller's leaving into CallGone.

        ``refusals`` are the HTTP statuses which say that the caller's own channel is not there.
        """
        if self._left.is_set():
            raise CallGone(f"channel {self.channel_id} left")
        try:
            yield
        except AsteriskError as error:
            if error.status in refusals or await self._is_leaving(error):
                raise CallGone(f"channel {self.channel_id} left") from error
            raise

    async def _is_leaving(self, error: AsteriskError) -> bool:
        """Asterisk refuses with a plain 400 what it cannot do to a channel on its way out; the news of that follows."""
        if 400 <= error.status < 500:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEWS_SECONDS):
                    await self._left.wait()
        return self._left.is_set()


def _codec(format: AudioFormat) -> str:
    return "slin" if format.rate == 8000 else f"slin{format.rate // 1000}"


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    try:
        yield
    except AsteriskError as error:
        if error.status != 404:
            raise
