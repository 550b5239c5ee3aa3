"""The switchboard of an engine: asked on one loop about calls that live on another."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from sqlalchemy.exc import OperationalError

from ai_engine.app.capabilities import NO_ASTERISK
from ai_engine.app.jobs_under_way import JobsUnderWay
from ai_engine.app.switchboard import EngineSwitchboard, Parts
from ai_engine.call.actions import EndReason
from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status
from ai_engine.observe.live import LiveCalls
from ai_engine.observe.log_ring import LogRing
from ai_engine.observe.office import Office
from ai_engine.switchboard.models import (
    AgentInfo,
    Applied,
    Capability,
    Room,
    RoomRequest,
    StudioCall,
    StudioEvent,
    Transfer,
    TrunkState,
)
from ai_engine.switchboard.ports import Refused
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call
from tests.fakes.switchboard import ENGINE, ROOM, TRUNK
from tests.waiting import until

T = TypeVar("T")

NUMBERS = ["+15550001", "+15550002"]


def agent(name: str, **capabilities: str) -> AgentInfo:
    """``capabilities`` with the reason why not."""
    given = [
        Capability.model_validate({"name": one, "present": not why, "reason": why}) for one, why in capabilities.items()
    ]
    return AgentInfo(name=name, source="a.yaml", version="1", capabilities=tuple(given))


class Asterisk:
    """Trunks, rooms and ears; asked on the call loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.asked: list[Any] = []
        self.fails: Exception | None = None

    def _ask(self, *what: Any) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.asked.append(what)
        if self.fails is not None:
            raise self.fails

    async def states(self) -> Sequence[TrunkState]:
        self._ask("states")
        return (TRUNK,)

    async def reconcile(self) -> Applied:
        self._ask("reconcile")
        return Applied(backend="ari", trunks=(TRUNK,))

    async def rooms(self) -> Sequence[Room]:
        self._ask("rooms")
        return (ROOM,)

    async def start(self, request: RoomRequest) -> Room:
        self._ask("start", request.agent)
        return ROOM

    async def listen(self, channel_id: str, extension: str, context: str) -> str:
        self._ask("listen", channel_id, extension, context)
        return "ear-1"

    async def stop(self, what: str) -> Room:
        self._ask("stop", what)
        return ROOM


class House:
    """An engine with a call loop of its own; this test's loop is the office."""

    def __init__(self) -> None:
        self.office = Office("calls")
        self.desk = MemoryDesk(Manners(windows=(), allowed_prefixes=("+1",)))
        self.held: list[Call] = []
        self.live = LiveCalls(self._standing)
        self.agents = [agent("reception", phone_call="", web_session="")]
        self.renewed = 0
        self.asterisk = Asterisk(self.office._loop)
        self.unsettled: Callable[[], Sequence[str]] = lambda: list(self.desk._records)
        self.board = self.made()

    def made(self, **changes: Any) -> EngineSwitchboard:
        async def agents() -> Sequence[AgentInfo]:
            return self.agents

        async def renew() -> None:
            self.renewed += 1

        parts: dict[str, Any] = {
            "call_loop": self.office._loop,
            "info": lambda: ENGINE,
            "sessions": lambda: [call.session for call in self.held],
            "live": self.live,
            "log": LogRing(),
            "desk": self.desk,
            "under_way": JobsUnderWay(self.desk, lambda: self.unsettled(), "reception"),
            "agents": agents,
            "numbers": lambda: NUMBERS,
            "renew": renew,
            "trunks": self.asterisk,
            "lobby": self.asterisk,
            "ears": self.asterisk,
            "context": "office",
        }
        return EngineSwitchboard(Parts(**{**parts, **changes}))

    async def on_call_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self.office.submit(work))

    async def caller(self) -> Call:
        """Somebody calls, and talks."""

        async def come() -> Call:
            call = Call(ScriptedAgent(("Hello.", 200)), observers=[self.live])
            self.held.append(call)
            await asyncio.sleep(0)
            self._metronome = asyncio.create_task(self._run(call))
            return call

        call = await self.on_call_loop(come())
        await until(lambda: call.agent.told)
        return call

    async def _run(self, call: Call) -> None:
        while not call.running.done():
            await call.quiet(20)
        self.held.remove(call)

    def _standing(self, call_id: str) -> tuple[str, str] | None:
        return next(
            ((one.session.phase, one.session.floor) for one in self.held if one.session.call_id == call_id), None
        )


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    house = House()
    try:
        yield house
    finally:
        await asyncio.to_thread(house.office.close)


async def test_calls_that_are_held_and_calls_that_wait() -> None:
    async with house() as here:
        await here.caller()
        asked = [await here.board.call(StudioCall(agent="reception", to=f"+1555010{n}")) for n in range(3)]
        here.desk.happen(asked[1].id, Status.DIALING, "dialing")
        here.desk.happen(asked[2].id, Status.DIALING, "dialing")
        here.desk.happen(asked[2].id, Status.BUSY, "busy")
        here.desk.happen(asked[2].id, Status.DIALING, "ringing")
        calls = await here.board.calls()
        assert [(call.state, call.direction, call.call_id) for call in calls] == [
            ("talking", "inbound", "call-1"),
            ("queued", "outbound", f"{asked[0].id}-1"),
            ("dialing", "outbound", f"{asked[1].id}-1"),
            ("ringing", "outbound", f"{asked[2].id}-2"),
        ]
        assert (calls[0].agent, calls[0].channel) == ("reception", "chan-1")
        assert (calls[0].provider, calls[0].answered_at is not None) == ("scripted", True)
        assert (calls[3].number, calls[3].did, calls[3].job) == ("+15550102", NUMBERS[0], asked[2].id)
        here.desk.settle(asked[2].id, Status.NO_ANSWER)
        assert len(await here.board.calls()) == 3


async def test_what_another_engine_dials_is_listed_there() -> None:
    async with house() as here:
        waits, rings = [await here.board.call(StudioCall(agent="reception", to="+15550100")) for _ in range(2)]
        here.desk.happen(rings.id, Status.DIALING, "dialing")
        theirs = here.made(under_way=JobsUnderWay(here.desk, lambda: here.unsettled(), "a", lambda id: False))
        assert [call.job for call in await theirs.calls()] == [waits.id]


async def test_a_call_as_it_is_asked_for() -> None:
    async with house() as here:
        wanted = StudioCall(
            agent="reception",
            to="+15550100",
            from_number=NUMBERS[1],
            ring_seconds=7,
            max_seconds=60,
            variables={"name": "Ann"},
        )
        record = await here.board.call(wanted)
        (request,) = here.desk.asked
        assert record.request == request
        assert (request.to, request.agent, request.trunk, request.talks) == ("+15550100", "reception", NUMBERS[1], True)
        assert (request.max_attempts, request.ring_seconds, request.max_seconds) == (1, 7, 60)
        assert request.variables == {"name": "Ann"}
        no_numbers = here.made(numbers=list)
        await no_numbers.call(StudioCall(agent="reception", to="+15550100"))
        assert here.desk.asked[-1].trunk is None


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        ({"agent": "nobody"}, "not-found", "there are alone, broken, poor, reception"),
        ({"agent": "alone"}, "asterisk", "agent alone: Asterisk is not connected"),
        ({"agent": "poor"}, "not-capable", "agent poor: there is no number to call from"),
        ({"agent": "broken"}, "not-capable", "cannot be used: broken.yaml:3: is wrong"),
        ({"from_number": "+19990000"}, "not-found", r"no number of ours; there are \+15550001, \+15550002"),
        ({"variables": {"job": "x"}}, "refused", "cannot be set"),
        ({"to": "112"}, "refused", "numbers must begin with"),
    ],
)
async def test_calls_that_cannot_be(call: dict[str, Any], kind: str, says: str) -> None:
    async with house() as here:
        here.agents += [
            agent("alone", phone_call=NO_ASTERISK),
            agent("poor", phone_call="there is no number to call from"),
            AgentInfo(name="broken", source="broken.yaml", version="", error="broken.yaml:3: is wrong"),
        ]
        with pytest.raises(Refused, match=says) as met:
            await here.board.call(StudioCall.model_validate({"agent": "reception", "to": "+15550100", **call}))
        assert met.value.kind == kind


async def test_a_caller_is_hung_up_on_in_the_middle_of_a_word() -> None:
    async with house() as here:
        call = await here.caller()
        was = await here.board.hang_up("call-1")
        assert was.state == "talking"
        await until(call.running.done)
        assert call.running.result() is EndReason.OPERATOR_HUNG_UP
        assert call.control.done[-2:] == ["hang_up", "close"]
        await until(lambda: not here.held)
        assert await here.board.calls() == []
        with pytest.raises(Refused, match="there is no call 'call-1' now") as met:
            await here.board.hang_up("call-1")
        assert met.value.kind == "not-found"


@pytest.mark.parametrize("name", ["job", "attempt"])
async def test_a_call_of_ours_is_canceled(name: str) -> None:
    async with house() as here:
        record = await here.board.call(StudioCall(agent="reception", to="+15550100"))
        here.desk.happen(record.id, Status.DIALING, "dialing")
        assert (await here.board.hang_up(record.id if name == "job" else f"{record.id}-1")).state == "dialing"
        after = await here.desk.status(record.id)
        assert after is not None
        assert after.status is Status.CANCELED


async def test_a_call_that_ends_meanwhile() -> None:
    async with house() as here:
        await here.caller()
        late = here.made(sessions=list)
        with pytest.raises(Refused, match="has ended by itself"):
            await late.hang_up("call-1")


async def test_a_database_that_is_away_hides_no_call_that_is_held() -> None:
    def away() -> Sequence[str]:
        raise OperationalError("select", {}, Exception("away"))

    async with house() as here:
        call = await here.caller()
        here.unsettled = away
        assert [one.call_id for one in await here.board.calls()] == ["call-1"]
        await here.board.hang_up("call-1")
        await until(call.running.done)


async def test_a_transfer_and_a_whisper() -> None:
    async with house() as here:
        call = await here.caller()
        await here.board.whisper("call-1", "Offer a discount.")
        assert "operator" in [said.speaker for said in call.session.transcript.utterances]
        await here.board.transfer("call-1", Transfer(extension="7000"))
        await until(call.running.done)
        assert call.running.result() is EndReason.TRANSFERRED
        assert "transfer office,7000" in " ".join(call.control.done)
        for late in (here.board.whisper("call-1", "x"), here.board.transfer("call-1", Transfer())):
            with pytest.raises(Refused):
                await late


async def test_who_listens_in() -> None:
    async with house() as here:
        await here.caller()
        assert await here.board.listen("call-1", "1000") == "ear-1"
        assert await here.board.listen("call-1", "1000@sales") == "ear-1"
        await here.board.stop_listening("ear-1")
        assert here.asterisk.asked == [
            ("listen", "chan-1", "1000", "office"),
            ("listen", "chan-1", "1000", "sales"),
            ("stop", "ear-1"),
        ]
        record = await here.board.call(StudioCall(agent="reception", to="+15550100"))
        with pytest.raises(Refused, match="not been answered yet: it is queued") as met:
            await here.board.listen(record.id, "1000")
        assert met.value.kind == "not-capable"
        with pytest.raises(Refused, match="cannot be listened to"):
            await here.made(ears=None).listen("call-1", "1000")


async def test_rooms_trunks_and_their_news() -> None:
    async with house() as here:
        events = here.board.events()
        assert await here.board.start_room(RoomRequest(agent="reception")) == ROOM
        assert await here.board.rooms() == (ROOM,)
        assert await here.board.stop_room("lobby") == ROOM
        assert await here.board.trunks() == (TRUNK,)
        assert (await here.board.reconcile()).trunks == (TRUNK,)
        assert here.renewed == 1
        kinds = [(await anext(events)).kind for _ in range(3)]
        assert kinds == ["room_changed", "room_changed", "trunk_changed"]
        here.board.close()
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AsteriskError("no"), "asterisk"),
        (ConfigError("no"), "refused"),
        (Refused("not-found", "no"), "not-found"),
    ],
)
async def test_what_asterisk_does_not_let_us_do(error: Exception, kind: str) -> None:
    async with house() as here:
        here.asterisk.fails = error
        for question in (here.board.trunks(), here.board.reconcile(), here.board.rooms(), here.board.stop_room("x")):
            with pytest.raises(Refused, match=r"^no$") as met:
                await question
            assert met.value.kind == kind


async def test_an_engine_that_has_none_of_that() -> None:
    async with house() as here:
        bare = here.made(trunks=None, lobby=None)
        assert (list(await bare.trunks()), list(await bare.rooms())) == ([], [])
        for question in (bare.reconcile(), bare.start_room(RoomRequest(agent="reception")), bare.stop_room("x")):
            with pytest.raises(Refused) as met:
                await question
            assert met.value.kind == "not-capable"


async def test_five_follow_a_call_from_another_loop() -> None:
    async def follow(seen: list[StudioEvent]) -> None:
        async with aclosing(here.live.events()) as events:
            async for event in events:
                seen.append(event)
                if event.kind == "call_ended":
                    return

    async with house() as here:
        seen: list[list[StudioEvent]] = [[] for _ in range(5)]
        following = [asyncio.create_task(follow(mine)) for mine in seen]
        await until(lambda: here.live.watched)
        await here.caller()
        await until(lambda: any(event.kind == "levels" for event in seen[0]))
        await here.board.hang_up("call-1")
        async with asyncio.timeout(10):
            await asyncio.gather(*following)
        kinds = {event.kind for event in seen[0]}
        assert kinds >= {"call_started", "call_changed", "saying", "said", "levels", "call_ended"}
        assert all(mine == seen[0] for mine in seen)
        assert all(abs((event.at - datetime.now(UTC)).total_seconds()) < 30 for event in seen[0])
        assert not here.live.watched


async def test_a_call_loop_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as here:
        monkeypatch.setattr(here.board._calls, "_seconds", 0.05)
        stuck = asyncio.Event()
        here.office._loop.call_soon_threadsafe(_block, stuck)
        with pytest.raises(Refused, match="no answer in time"):
            await here.board.calls()
        stuck.set()


def _block(until_set: asyncio.Event) -> None:
    while not until_set.is_set():
        time.sleep(0.01)
