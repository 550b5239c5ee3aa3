"""One media channel and what joins it to its caller, from the request for it until nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.presence import GONE, Presence
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import ChannelDestroyed, ChannelEvent, StasisEnd, StasisStart
from ai_engine.session.ports import Leg, Topology

log = structlog.get_logger(__name__)

MEDIA_PREFIX = "offhook-media-"
"""Ids of the media legs we create, followed by the UUID of the leg."""

SNOOP_PREFIX = "offhook-snoop-"
"""Ids of the channels that hear a caller for a leg, followed by its UUID."""

BRIDGE_PREFIX = "offhook-bridge-"
"""Ids of the bridges we create, followed by the UUID of the media leg in them."""

CONSULT_PREFIX = "offhook-consult-"
"""Ids of the channels of humans who are asked whether they take a call, followed by a UUID."""

LISTENER_PREFIX = "offhook-listener-"
"""Ids of the channels of humans who listen in, and of the bridge each of them is in, followed by a UUID."""

SPY_PREFIX = "offhook-spy-"
"""Ids of the channels that hear both sides for a listener, followed by its UUID and a number."""

SEAT_PREFIX = "offhook-seat-"
"""Ids of the channels through which an agent sits in a room, followed by a UUID."""

ROOM_BRIDGE_PREFIX = "studio-"
"""Ids of the bridges of rooms, followed by the room's name."""

OUR_CHANNELS = (MEDIA_PREFIX, SNOOP_PREFIX, CONSULT_PREFIX, LISTENER_PREFIX, SPY_PREFIX, SEAT_PREFIX)
"""What the id of a channel begins with that is no caller."""

_NOBODY: frozenset[int] = frozenset()
"""For requests that do not name the caller: no refusal of theirs says that the caller left."""


class _Guest:
    """A channel of ours on its way into our application, in it, or out of it."""

    def __init__(self) -> None:
        self.here = False
        self.settled = asyncio.Event()

    def arrived(self) -> None:
        self.here = True
        self.settled.set()

    def left(self) -> None:
        self.here = False
        self.settled.set()


class MediaLeg:
    """Made for one leg. ``create``, then ``join``, once each; ``drop`` at any time, more than once if need be."""

    def __init__(
        self, ari: Ari, subscriptions: Subscriptions, caller: Presence, leg: Leg, lost: Callable[[str], None]
    ) -> None:
        """``lost`` is told once, with a reason, when the leg ends by itself after it was joined."""
        self._ari = ari
        self._subscriptions = subscriptions
        self._caller = caller
        self._leg = leg
        self._lost = lost
        self.channel_id = f"{MEDIA_PREFIX}{leg.uuid}"
        self._snoop_id = f"{SNOOP_PREFIX}{leg.uuid}"
        self._bridge_id = f"{BRIDGE_PREFIX}{leg.uuid}"
        self._guests: dict[str, _Guest] = {}
        self._joined = False
        self._undo: list[Callable[[], Awaitable[None]]] = []
        """What releases the things that were asked for, whether or not they came to be."""

    async def create(self) -> Mapping[str, str]:
        """Ask for the media channel; returns the channel variables Asterisk answers with."""
        async with self._caller.required(_NOBODY):
            self._expect(self.channel_id)
            return await self._ari.external_media(self.channel_id, self._leg)

    async def join(self, topology: Topology) -> None:
        """Wait until the leg is here, and join it to the caller. Raises AsteriskError when it ends meanwhile."""
        async with self._caller.required(_NOBODY):
            await self._arrival(self.channel_id)
            self._undo.append(partial(self._ari.destroy_bridge, self._bridge_id))
            await self._ari.create_bridge(self._bridge_id)
        if topology is Topology.BRIDGED:
            await self._add_caller()
        else:
            await self._add_snoop(whispering=topology is Topology.WHISPERED)
        async with self._caller.required(_NOBODY):
            await self._ari.add_channel(self._bridge_id, self.channel_id)
            if not all(guest.here for guest in self._guests.values()):
                raise AsteriskError(f"the media leg for {self._leg.external_host} ended while it was joined")
        self._joined = True

    def abandon(self) -> None:
        """The caller left: nobody need wait for a channel any more."""
        for guest in self._guests.values():
            guest.settled.set()

    async def drop(self) -> None:
        """Release everything; never raises."""
        self._joined = False
        self.abandon()
        for channel_id in self._guests:
            self._subscriptions.drop(channel_id)
        await asyncio.gather(*map(self._release, tuple(self._undo)))

    # -- joining -------------------------------------------------------------------------------------------

    async def _add_caller(self) -> None:
        # One request each, so that a refusal tells which of the two has left; an add answers 400 then.
        async with self._caller.required(GONE | {400}):
            await self._ari.add_channel(self._bridge_id, self._caller.channel_id)

    async def _add_snoop(self, *, whispering: bool) -> None:
        async with self._caller.required():
            self._expect(self._snoop_id)
            await self._ari.snoop(self._caller.channel_id, self._snoop_id, whispering=whispering)
            if whispering:
                # A whisper is mixed into what the caller is sent; without this nothing is sent.
                self._undo.append(self._stop_silence)
                await self._ari.start_silence(self._caller.channel_id)
        async with self._caller.required(_NOBODY):
            await self._arrival(self._snoop_id)
            await self._ari.add_channel(self._bridge_id, self._snoop_id)

    async def _stop_silence(self) -> None:
        if not self._caller.left:
            await self._ari.stop_silence(self._caller.channel_id)

    async def _release(self, undo: Callable[[], Awaitable[None]]) -> None:
        try:
            await undo()
        except AsteriskError as error:
            level = "debug" if error.status in GONE else "warning"
            getattr(log, level)("part of a media leg was not released", reason=str(error))
        if undo in self._undo:
            self._undo.remove(undo)

    # -- the channels --------------------------------------------------------------------------------------

    def _expect(self, channel_id: str) -> None:
        """Listen before asking: the first event may come before the answer to the request."""
        self._guests[channel_id] = _Guest()
        self._undo.append(partial(self._ari.hang_up, channel_id))
        self._subscriptions.add(channel_id, self._channel_event)

    async def _arrival(self, channel_id: str) -> None:
        guest = self._guests[channel_id]
        await guest.settled.wait()
        if not guest.here:
            raise AsteriskError(f"the media leg for {self._leg.external_host} ended before it arrived")

    def _channel_event(self, event: ChannelEvent) -> None:
        guest = self._guests[event.channel_id]
        match event:
            case StasisStart():
                guest.arrived()
            case StasisEnd() | ChannelDestroyed():
                guest.left()
                if self._joined:
                    self._joined = False
                    what = "media leg" if event.channel_id == self.channel_id else "channel that hears the caller"
                    self._lost(f"the {what} left Asterisk")
