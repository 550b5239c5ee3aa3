"""A human who listens in on a call: their telephone, the channel that hears both sides, and the bridge between."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import LISTENER_PREFIX, SPY_PREFIX
from ai_engine.ari.presence import GONE
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import (
    ChannelDestroyed,
    ChannelEvent,
    ChannelStateChange,
    Dial,
    StasisEnd,
    StasisStart,
)

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
"""A channel that heard both sides and is gone, with the call going on, is replaced after so long."""


@dataclass(slots=True)
class _Spy:
    """A channel that hears both sides of another one."""

    channel_id: str
    on: str
    """Id of the other."""
    here: bool = False
    joined: bool = False
    gone: bool = False


class AriListener:
    """One of them. ``run`` once; cancel it to have them stop."""

    def __init__(self, ari: Ari, subscriptions: Subscriptions, call: AriCallControl) -> None:
        self.id = str(uuid4())
        self.channel_id = f"{LISTENER_PREFIX}{self.id}"
        self.reached = asyncio.Event()
        """Their telephone rings, or is answered."""
        self._ari = ari
        self._subscriptions = subscriptions
        self._call = call
        self._bridge_id = self.channel_id
        self._news = asyncio.Event()
        self._here = False
        self._gone = False
        self._cause = 0
        self._spies = 0
        self._spy: _Spy | None = None
        self._log = log.bind(listener=self.id, channel=call.channel_id)

    async def run(self, context: str, extension: str, seconds: float) -> None:
        """Call them, for at most ``seconds``, and let them hear the call until they hang up or it leaves us.

        Whatever happens, nothing is left of it in Asterisk. Raises AsteriskError when they cannot be called, or do not
        answer.
        """
        self._subscriptions.add(self.channel_id, self._phone_event)
        self._subscriptions.bridges.add(self._bridge_id)
        self._call.when_moved.add(self._news.set)
        try:
            await self._ring(f"{extension}@{context}", seconds)
            if not self._call.heard_at:
                return
            await self._ari.create_bridge(self._bridge_id)
            await self._ari.add_channel(self._bridge_id, self.channel_id)
            self._log.info("somebody listens in", extension=extension)
            await self._listen()
        finally:
            self._call.when_moved.discard(self._news.set)
            await self._release()
            self._log.info("nobody listens in here any more", extension=extension)

    async def _ring(self, whom: str, seconds: float) -> None:
        await self._ari.call_extension(
            self.channel_id,
            f"other-half-of-{self.channel_id}",
            f"{whom}/n",  # optimized away, the telephone's own channel would take the place of the one we know
            caller_id=self._call.caller_number,
            seconds=round(seconds),
            originator=self._call.channel_id,
        )
        while not (self._here or self._gone) and self._call.heard_at:
            await self._wait()
        if self._gone:
            raise AsteriskError(f"{whom} could not be called, or does not answer (cause {self._cause})")

    async def _listen(self) -> None:
        while self._call.heard_at and not self._gone:
            if self._spy is not None and (self._spy.gone or self._spy.on != self._call.heard_at):
                await self._drop_spy()
            if self._spy is None:
                self._spy = await self._spy_on(self._call.heard_at)
            elif self._spy.here and not self._spy.joined:
                self._spy.joined = True
                await self._ari.add_channel(self._bridge_id, self._spy.channel_id)
            await self._wait(None if self._spy else _LOOK_AGAIN_SECONDS)

    async def _wait(self, seconds: float | None = None) -> None:
        """Until there are news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    # -- the channel that hears both sides -----------------------------------------------------------------

    async def _spy_on(self, channel_id: str) -> _Spy | None:
        """None: that channel has just gone."""
        self._spies += 1
        spy = _Spy(f"{SPY_PREFIX}{self.id}-{self._spies}", channel_id)
        self._spy = spy  # events come before the answer
        self._subscriptions.add(spy.channel_id, self._spy_event)
        try:
            await self._ari.snoop(channel_id, spy.channel_id, spy="both")
        except AsteriskError as error:
            self._subscriptions.drop(spy.channel_id)
            if error.status not in GONE:
                raise
            return None
        return spy

    async def _drop_spy(self) -> None:
        spy, self._spy = self._spy, None
        if spy is not None:
            self._subscriptions.drop(spy.channel_id)
            if not spy.gone:
                await self._tidy(self._ari.hang_up(spy.channel_id))

    # -- news ----------------------------------------------------------------------------------------------

    def _phone_event(self, event: ChannelEvent) -> None:
        match event:
            case Dial(_, "RINGING") | ChannelStateChange(_, "Ringing"):
                self.reached.set()
            case StasisStart():
                self._here = True
                self.reached.set()
            case StasisEnd() if self._here:
                self._gone = True
            case ChannelDestroyed(_, cause):
                self._gone, self._cause = True, cause
        self._news.set()

    def _spy_event(self, event: ChannelEvent) -> None:
        if self._spy is None or event.channel_id != self._spy.channel_id:
            return
        match event:
            case StasisStart():
                self._spy.here = True
            case StasisEnd() | ChannelDestroyed():
                self._spy.gone = True
        self._news.set()

    # -- the end -------------------------------------------------------------------------------------------

    async def _release(self) -> None:
        await self._drop_spy()
        self._subscriptions.drop(self.channel_id)
        await self._tidy(self._ari.hang_up(self.channel_id))
        await self._tidy(self._ari.destroy_bridge(self._bridge_id))
        self._subscriptions.bridges.discard(self._bridge_id)

    async def _tidy(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except AsteriskError as error:
            if error.status not in GONE:
                self._log.warning("something of a listener was not released", reason=str(error))
