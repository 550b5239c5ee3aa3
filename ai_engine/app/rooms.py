"""Rooms: agents that run without a call, for whoever joins them from a telephone of the PBX."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Protocol
from uuid import uuid4

import structlog

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.room import AriRoom
from ai_engine.ari.stasis import AriApp
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.switchboard.models import Room, RoomRequest
from ai_engine.switchboard.ports import Refused

log = structlog.get_logger(__name__)

ROOM_CONTEXT = "offhook-room"
"""Where the dialplan sends whoever dials a room: ``Stasis(app,room=${EXTEN})``."""
_NO_ROOM = "gone"
"""Its extension for those who dialled a room that is not there."""

_FIRST_EXTENSION = 700
_DEAD_MAN_SECONDS = 15
"""Asterisk hangs up on those who are in a room when the engine has not been heard of for so long."""


@dataclass(slots=True)
class _Room:
    id: str
    name: str
    agent: str
    extension: str
    started_at: datetime
    url: str = ""
    guests: dict[str, AriCallControl] = field(default_factory=dict)
    """By the ids of their channels."""
    stay: AriRoom | None = None
    """What there is of it in Asterisk, while somebody is in it."""
    door: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One at a time comes in or leaves."""

    def shown(self, elsewhere: int = 0) -> Room:
        """``elsewhere``: how many are in it with a browser."""
        return Room(
            id=self.id,
            name=self.name,
            agent=self.agent,
            started_at=self.started_at,
            joined=len(self.guests) + elsewhere,
            extension=self.extension,
            url=self.url,
        )


class Pages(Protocol):
    """Where a browser joins; all of it may be called on any thread, and returns at once."""

    def open(self, id: str, name: str, agent: str) -> str:
        """The address of the room's page; empty where none is served."""
        ...

    def close(self, id: str) -> None:
        """Everybody is sent away."""
        ...

    def guests(self, id: str) -> int:
        """How many are in the room."""
        ...


class Rooms:
    """Every method is called on the call loop."""

    def __init__(
        self,
        ari: AriApp,
        agents: Callable[[], Collection[str]],
        changed: Callable[[Room], None] = lambda room: None,
    ) -> None:
        """``agents``: the names of those there are; ``changed`` is told whenever somebody has joined or left."""
        self.pages: Pages | None = None
        """Once they are served."""
        self._ari = ari
        self._agents = agents
        self._changed = changed
        self._rooms: dict[str, _Room] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- rooms ---------------------------------------------------------------------------------------------

    async def rooms(self) -> Sequence[Room]:
        """The oldest first."""
        return [self._shown(room) for room in self._rooms.values()]

    async def start(self, request: RoomRequest) -> Room:
        """Have a room in which ``request.agent`` talks with whoever joins. Raises Refused."""
        if request.agent not in self._agents():
            raise Refused("not-found", f"there is no agent {request.agent!r}")
        name = request.channel or request.agent
        if self._named(name) is not None:
            raise Refused("refused", f"there is a room {name!r} already: stop it first, or name another")
        taken = {room.extension for room in self._rooms.values()}
        extension = next(str(number) for number in count(_FIRST_EXTENSION) if str(number) not in taken)
        room = _Room(str(uuid4()), name, request.agent, extension, datetime.now(UTC))
        self._rooms[room.id] = room
        if self.pages is not None:
            room.url = self.pages.open(room.id, name, request.agent)
        log.info("room started", room=name, agent=request.agent, extension=extension)
        return room.shown()

    async def stop(self, room: str) -> Room:
        """By id, name, or the name of its agent where that has one room. Raises Refused (``not-found``)."""
        found = self._rooms.get(room) or self._named(room) or self._only_one_of(room)
        del self._rooms[found.id]
        shown = self._shown(found)
        if self.pages is not None:
            self.pages.close(found.id)
        await self._dismiss(found)
        log.info("room stopped", room=found.name, agent=found.agent)
        return shown

    def room_of(self, channel_id: str) -> str:
        """The name of the room in which the agent's session with this caller's channel is; empty: in none."""
        rooms = self._rooms.values()
        return next((room.name for room in rooms if room.stay and room.stay.caller_id == channel_id), "")

    async def close(self) -> None:
        """Stop them all. To be called while Asterisk can still be asked."""
        for id in list(self._rooms):
            with suppress(Refused):
                await self.stop(id)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    # -- people --------------------------------------------------------------------------------------------

    def takes(self, control: AriCallControl) -> bool:
        """Whether a channel that arrived is that of somebody who dialled a room; it is seen to then, at once."""
        if "room" not in control.variables:
            return False
        task = asyncio.create_task(self._receive(control), name=f"guest {control.channel_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _receive(self, control: AriCallControl) -> None:
        room = self._named(control.variables["room"])
        try:
            if room is None:
                log.info("somebody dialled a room that is not there", room=control.variables["room"])
                await control.transfer(ROOM_CONTEXT, _NO_ROOM)
            else:
                await self._be_guest(room, control)
        except CallGone:
            pass
        except (AsteriskError, TimeoutError) as error:
            log.error("somebody could not join a room", room=control.variables["room"], reason=str(error))
            with suppress(AsteriskError, CallGone):
                await control.hang_up()
        finally:
            if room is not None:
                await self._leave(room, control)
            with suppress(AsteriskError, CallGone):
                await control.close()

    async def _be_guest(self, room: _Room, control: AriCallControl) -> None:
        """From the door until they hang up."""
        await control.answer()
        await self._enter(room, control)
        alive = asyncio.create_task(self._keep_alive(control))
        try:
            async for _ in control.events():  # keys reach the agent through the bridge
                pass
        finally:
            alive.cancel()
            with suppress(asyncio.CancelledError, AsteriskError, CallGone):
                await alive

    async def _enter(self, room: _Room, control: AriCallControl) -> None:
        async with room.door:
            if room.id not in self._rooms:
                raise CallGone("the room was stopped meanwhile")
            room.guests[control.channel_id] = control
            if room.stay is not None:
                await room.stay.add(control.channel_id)
            else:
                room.stay = self._ari.room(room.name, lambda: self._agent_left(room))
                await room.stay.open()
                await room.stay.add(control.channel_id)
                await room.stay.seat(room.agent, control.caller_number, wideband=await control.wideband())
        log.info("somebody joined", room=room.name, joined=len(room.guests))
        self._changed(self._shown(room))

    async def _leave(self, room: _Room, control: AriCallControl) -> None:
        async with room.door:
            if room.guests.pop(control.channel_id, None) is None:
                return
            if not room.guests:
                await self._clear(room)
        log.info("somebody left", room=room.name, joined=len(room.guests))
        self._changed(self._shown(room))

    async def _clear(self, room: _Room) -> None:
        """Nobody is in it any more."""
        stay, room.stay = room.stay, None
        if stay is not None:
            await stay.close()

    def _agent_left(self, room: _Room) -> None:
        """The agent has said goodbye, or is lost: nobody is left there to talk with."""
        task = asyncio.create_task(self._dismiss(room))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dismiss(self, room: _Room) -> None:
        """Everybody is hung up on; who joins from now on finds a new bridge, and a new session of the agent's."""
        async with room.door:
            for guest in list(room.guests.values()):
                with suppress(AsteriskError, CallGone):
                    await guest.hang_up()
            await self._clear(room)

    @staticmethod
    async def _keep_alive(control: AriCallControl) -> None:
        while True:
            await control.keep_alive(_DEAD_MAN_SECONDS)
            await asyncio.sleep(_DEAD_MAN_SECONDS / 3)

    # ------------------------------------------------------------------------------------------------------

    def _shown(self, room: _Room) -> Room:
        return room.shown(0 if self.pages is None else self.pages.guests(room.id))

    def _named(self, name: str) -> _Room | None:
        """By its name, or what is dialled to join it."""
        return next((room for room in self._rooms.values() if name in (room.name, room.extension)), None)

    def _only_one_of(self, agent: str) -> _Room:
        rooms = [room for room in self._rooms.values() if room.agent == agent]
        if len(rooms) == 1:
            return rooms[0]
        names = ", ".join(room.name for room in rooms)
        why = f"{agent!r} has several rooms: {names}" if rooms else f"there is no room {agent!r}"
        raise Refused("not-found", why)
