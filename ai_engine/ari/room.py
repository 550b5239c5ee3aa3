"""A room in Asterisk: the bridge its people are in, and the seat through which an agent talks with them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import ROOM_BRIDGE_PREFIX, SEAT_PREFIX
from ai_engine.ari.presence import GONE
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import ChannelDestroyed, ChannelEvent, StasisEnd, StasisStart

log = structlog.get_logger(__name__)

SEAT_CONTEXT, SEAT_EXTENSION = "offhook-seat", "s"
"""The place in the dialplan that brings a channel to the agent its variables name."""

_CALLER_PREFIX = "offhook-room-"
_SEAT_SECONDS = 5.0
"""How long the agent's end may take to answer."""


class AriRoom:
    """For one stay of people in a room. ``open`` first, ``close`` at last."""

    def __init__(self, ari: Ari, subscriptions: Subscriptions, name: str, left: Callable[[], None]) -> None:
        """``left`` is called once when the agent's call has ended, and not by ``close``."""
        id = uuid4()
        self.bridge_id = f"{ROOM_BRIDGE_PREFIX}{name}"
        self.caller_id = f"{_CALLER_PREFIX}{id}"
        """Id of the channel that is the caller to the agent's session."""
        self._seat_id = f"{SEAT_PREFIX}{id}"
        self._ari = ari
        self._subscriptions = subscriptions
        self._name = name
        self._left = left
        self._seat_here = False
        self._seat_settled = asyncio.Event()

    async def open(self) -> None:
        """Make the bridge. Raises AsteriskError."""
        self._subscriptions.bridges.add(self.bridge_id)
        await self._ari.create_bridge(self.bridge_id)

    async def add(self, channel_id: str) -> None:
        """Let somebody in. Raises AsteriskError."""
        await self._ari.add_channel(self.bridge_id, channel_id)

    async def seat(self, agent: str, number: str, *, wideband: bool) -> None:
        """Bring the agent in, to whom ``number`` calls. Raises AsteriskError.

        It comes through two halves of a channel: one is in the bridge, the other is a caller like any other.
        """
        self._subscriptions.add(self._seat_id, self._seat_event)
        await self._ari.call_extension(
            self._seat_id,
            self.caller_id,
            # Optimized away, the two halves would take the session's bridge and the room's for one.
            f"{SEAT_EXTENSION}@{SEAT_CONTEXT}/n",
            caller_id=number,
            seconds=round(_SEAT_SECONDS),
            formats="slin16" if wideband else "slin",
            variables={"OFFHOOK_AGENT": agent, "OFFHOOK_ROOM": self._name, "OFFHOOK_APP": self._ari.app},
        )
        async with asyncio.timeout(_SEAT_SECONDS + 1):
            await self._seat_settled.wait()
        if not self._seat_here:
            raise AsteriskError(
                f"the agent cannot come in: the dialplan has no {SEAT_EXTENSION} in context {SEAT_CONTEXT} "
                "(docs/snippets), or the agent's call was refused"
            )
        await self.add(self._seat_id)

    async def close(self) -> None:
        """The agent's call and the bridge end; people are let go by whoever holds them. Never raises."""
        if self._seat_id in self._subscriptions:
            self._subscriptions.drop(self._seat_id)
            await self._tidy(self._ari.hang_up(self._seat_id))
        await self._tidy(self._ari.destroy_bridge(self.bridge_id))
        self._subscriptions.bridges.discard(self.bridge_id)

    async def _tidy(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except AsteriskError as error:
            if error.status not in GONE:
                log.warning("something of a room was not released", room=self._name, reason=str(error))

    def _seat_event(self, event: ChannelEvent) -> None:
        match event:
            case StasisStart():
                self._seat_here = True
                self._seat_settled.set()
            case StasisEnd() | ChannelDestroyed():
                was_here, self._seat_here = self._seat_here, False
                self._seat_settled.set()
                if was_here:
                    self._left()
