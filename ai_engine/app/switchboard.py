"""What whoever looks after numbers, agents and calls can see of this engine, and have it do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pydantic import ValidationError

from ai_engine.app.call_loop import CallLoop
from ai_engine.app.capabilities import NO_ASTERISK
from ai_engine.app.jobs_under_way import JobsUnderWay
from ai_engine.app.places import Places
from ai_engine.call.events import CallEvent, HangupOrdered
from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.jobs.ports import CallDesk, RequestRefused
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.observe.live import LiveCalls
from ai_engine.observe.log_ring import LogRing
from ai_engine.switchboard.models import (
    AgentInfo,
    Applied,
    EngineInfo,
    LiveCall,
    LogLine,
    Room,
    RoomRequest,
    StudioCall,
    StudioEvent,
    Transfer,
    TrunkState,
)
from ai_engine.switchboard.ports import Refused

_RECONCILE_SECONDS = 60.0


class Session(Protocol):
    """A call that is held, on the call loop."""

    call_id: str

    def happened(self, event: CallEvent) -> None: ...

    def transfer(self, context: str = "", extension: str = "") -> None:
        """There, or to the human. Raises Refused."""
        ...

    def advise(self, text: str) -> None:
        """Tell the agent what the caller does not hear. Raises Refused."""
        ...


class Trunks(Protocol):
    """Our numbers' trunks in Asterisk, on the call loop. Both may raise AsteriskError and ConfigError."""

    async def states(self) -> Sequence[TrunkState]: ...

    async def reconcile(self) -> Applied: ...


class Lobby(Protocol):
    """Agents that run without a telephone, on the call loop. All may raise Refused and AsteriskError."""

    async def rooms(self) -> Sequence[Room]: ...

    async def start(self, request: RoomRequest) -> Room: ...

    async def stop(self, room: str) -> Room: ...


class Ears(Protocol):
    """Humans who listen in, on the call loop. All may raise Refused and AsteriskError."""

    async def listen(self, channel_id: str, extension: str, context: str) -> str: ...

    async def stop(self, listener: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a switchboard is made of; what is None cannot be had."""

    call_loop: asyncio.AbstractEventLoop
    info: Callable[[], EngineInfo]
    """From another thread; may block."""
    sessions: Callable[[], Sequence[Session]]
    """On the call loop."""
    live: LiveCalls
    log: LogRing
    desk: CallDesk
    under_way: JobsUnderWay
    agents: Callable[[], Awaitable[Sequence[AgentInfo]]]
    """With numbers and capabilities; on the office's loop."""
    numbers: Callable[[], Sequence[str]]
    """Ours, from any thread."""
    renew: Callable[[], Awaitable[None]]
    """Numbers and agents are read anew; on the office's loop. May raise ConfigError."""
    trunks: Trunks | None = None
    lobby: Lobby | None = None
    ears: Ears | None = None
    places: Places | None = None
    context: str = "default"
    """In the dialplan, of an extension that is given without one."""


class EngineSwitchboard:
    """Implements ``Switchboard``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._calls = CallLoop(parts.call_loop)

    def close(self) -> None:
        """Let those who look on go. On the office's loop."""
        self._parts.live.close()
        self._parts.log.close()

    async def engine(self) -> EngineInfo:
        info = await asyncio.to_thread(self._parts.info)
        with suppress(Refused):
            return info.model_copy(update={"rooms": len(await self.rooms())})
        return info

    # -- calls -----------------------------------------------------------------------------------------------

    async def calls(self) -> Sequence[LiveCall]:
        held = await self._calls.ask(self._parts.live.now)
        jobs = {call.job for call in held if call.job}
        waiting = [call for call in await self._parts.under_way.calls() if call.job not in jobs]
        return sorted([*held, *waiting], key=lambda call: call.since)

    async def call(self, request: StudioCall) -> CallRecord:
        await self._check_capable(request.agent, "phone_call")
        try:
            return await self._parts.desk.call_agent(self._asked(request))
        except RequestRefused as refusal:
            raise Refused("refused", str(refusal)) from refusal

    async def hang_up(self, call_id: str) -> LiveCall:
        """A call that we placed is canceled, so that nobody dials again."""
        call = await self._find(call_id)
        if call.direction == "outbound":
            with suppress(Refused):  # nobody has answered yet, or it is over already
                await self._do_to(call, _end)
            # The session takes its time to hang up, so that this comes first, and the end is no surprise.
            await self._parts.desk.cancel(call.job)
        else:
            await self._do_to(call, _end)
        return call

    async def transfer(self, call_id: str, where: Transfer) -> LiveCall:
        call = await self._find_held(call_id)
        # Without an extension it is the human, whose context nobody needs to know.
        context = where.context or self._parts.context if where.extension else ""
        if where.extension and self._parts.places is not None:
            await self._calls.do(self._parts.places.require(call.channel, context, where.extension))
        await self._do_to(call, lambda session: session.transfer(context, where.extension or ""))
        return call

    async def listen(self, call_id: str, extension: str) -> str:
        ears = self._parts.ears or _cannot("listened to")
        call = await self._find_held(call_id)
        number, _, context = extension.partition("@")
        with _told_of_asterisk():
            return await self._calls.do(ears.listen(call.channel, number, context or self._parts.context))

    async def stop_listening(self, listener: str) -> None:
        ears = self._parts.ears or _cannot("listened to")
        with _told_of_asterisk():
            await self._calls.do(ears.stop(listener))

    async def whisper(self, call_id: str, text: str) -> None:
        call = await self._find_held(call_id)
        await self._do_to(call, lambda session: session.advise(text))

    # -- rooms -----------------------------------------------------------------------------------------------

    async def rooms(self) -> Sequence[Room]:
        if self._parts.lobby is None:
            return ()
        with _told_of_asterisk():
            return await self._calls.do(self._lobby().rooms())

    async def start_room(self, request: RoomRequest) -> Room:
        await self._check_capable(request.agent, "web_session")
        with _told_of_asterisk():
            room = await self._calls.do(self._lobby().start(request))
        self._parts.live.publish("room_changed", data=room.as_json())
        return room

    async def stop_room(self, room: str) -> Room:
        with _told_of_asterisk():
            stopped = await self._calls.do(self._lobby().stop(room))
        self._parts.live.publish("room_changed", data=stopped.as_json())
        return stopped

    def _lobby(self) -> Lobby:
        if self._parts.lobby is None:
            raise Refused("not-capable", "this engine has no rooms")
        return self._parts.lobby

    # -- agents and numbers ----------------------------------------------------------------------------------

    async def agents(self) -> Sequence[AgentInfo]:
        return await self._parts.agents()

    async def trunks(self) -> Sequence[TrunkState]:
        if self._parts.trunks is None:
            return ()
        with _told_of_asterisk():
            return await self._calls.do(self._parts.trunks.states())

    async def reconcile(self) -> Applied:
        with _told_of_asterisk():
            await self._parts.renew()
            if self._parts.trunks is None:
                raise Refused("not-capable", "this engine has no numbers of its own (section studio)")
            applied = await self._calls.do(self._parts.trunks.reconcile(), _RECONCILE_SECONDS)
        for trunk in applied.trunks:
            self._parts.live.publish("trunk_changed", data=trunk.as_json())
        return applied

    # -- what happens ----------------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[StudioEvent]:
        return self._parts.live.events()

    def logs(self, call_id: str = "", *, follow: bool = False) -> AsyncIterator[LogLine]:
        return self._parts.log.read(call_id, follow=follow)

    # --------------------------------------------------------------------------------------------------------

    async def _find(self, call_id: str) -> LiveCall:
        """By its id, or that of its job."""
        found = [call for call in await self.calls() if call_id in (call.call_id, call.job)]
        if not found:
            raise Refused("not-found", f"there is no call {call_id!r} now; `studio list` shows those there are")
        return found[0]

    async def _find_held(self, call_id: str) -> LiveCall:
        call = await self._find(call_id)
        if call.answered_at is None and call.direction == "outbound":
            raise Refused("not-capable", f"call {call_id} has not been answered yet: it is {call.state}")
        return call

    async def _do_to(self, call: LiveCall, deed: Callable[[Session], None]) -> None:
        """On the call loop."""

        def do() -> None:
            session = next((one for one in self._parts.sessions() if one.call_id == call.call_id), None)
            if session is None:
                raise Refused("not-found", f"call {call.call_id} has ended by itself")
            deed(session)

        await self._calls.ask(do)

    async def _check_capable(self, agent: str, capability: str) -> None:
        agents = {info.name: info for info in await self._parts.agents()}
        if (info := agents.get(agent)) is None:
            names = ", ".join(sorted(agents)) or "none at all"
            raise Refused("not-found", f"there is no agent {agent!r}; there are {names}")
        for one in info.capabilities:
            if one.name == capability and not one.present:
                kind = "asterisk" if one.reason == NO_ASTERISK else "not-capable"
                raise Refused(kind, f"agent {agent}: {one.reason}")
        if info.error and not info.capabilities:
            raise Refused("not-capable", f"agent {agent} cannot be used: {info.error}")

    def _asked(self, request: StudioCall) -> CallRequest:
        numbers = self._parts.numbers()
        if request.from_number is not None and request.from_number not in numbers:
            known = ", ".join(numbers) or "none yet: `studio number import`"
            raise Refused("not-found", f"{request.from_number} is no number of ours; there are {known}")
        asked = {
            "to": request.to,
            "ownWords": True,
            "agent": request.agent,
            "trunk": request.from_number or next(iter(numbers), None),
            "maxAttempts": 1,
            "ringSeconds": request.ring_seconds,
            "maxSeconds": request.max_seconds,
            "variables": request.variables or None,
        }
        try:
            return CallRequest.model_validate(asked)
        except ValidationError as error:
            reasons = (one["msg"].removeprefix("Value error, ") for one in error.errors())
            raise Refused("refused", "; ".join(reasons)) from error


def _end(session: Session) -> None:
    session.happened(HangupOrdered())


class _told_of_asterisk:
    """What Asterisk, or our files, do not let us do is a refusal."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case AsteriskError():
                raise Refused("asterisk", str(error)) from error
            case ConfigError():
                raise Refused("refused", str(error)) from error


def _cannot(done: str) -> NoReturn:
    raise Refused("not-capable", f"calls of this engine cannot be {done}")
