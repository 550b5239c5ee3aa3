"""The studio API of a whole engine: a number at a carrier, calls both ways, a listener, a room; real Asterisks and
telephones."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_engine.host.registry import Registry
from ai_engine.studio.client import StudioClient
from ai_engine.switchboard.models import LiveCall, RoomRequest, StudioCall, StudioEvent
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import Trial
from scripts.trial.carrier import Carrier
from scripts.trial.speech import synthesize
from tests.conftest import MakePhone, StartAsterisk
from tests.end_to_end.call_agent_world import World, world
from tests.fakes.scenario import Scenario, Turn
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(180)]

NUMBER, CALLER, CALLEE = "+15551230001", "+15557650001", "+15557650002"
KEY = {"OFFHOOK_STUDIO_KEY": base64.b64encode(bytes(32)).decode()}
TALK = Scenario("Hello, this is the reception.", [Turn(f"question {n}", f"This is answer {n}.") for n in range(9)])


@dataclass
class Office:
    """An engine, asked as `studio` asks it."""

    trial: Trial
    carrier: Carrier
    there: World
    client: StudioClient
    events: list[StudioEvent] = field(default_factory=list)

    async def follow(self) -> None:
        async for event in self.client.events():
            self.events.append(event)  # noqa: PERF401 - as they come

    async def call(self, wanted: Callable[[LiveCall], bool], seconds: float = 15.0) -> LiveCall:
        """The call that is so, once there is one. Raises TimeoutError with those there are instead."""
        calls = await self.client.calls()
        try:
            async with asyncio.timeout(seconds):
                while not (found := [call for call in calls if wanted(call)]):
                    await asyncio.sleep(0.05)
                    calls = await self.client.calls()
        except TimeoutError:
            raise TimeoutError(f"{calls}\n{self.there.programs.engine.log_text()[-6000:]}") from None
        return found[0]

    async def told(self, kind: str, **data: str) -> StudioEvent:
        """The event of this kind with this data, when it has come."""

        def found() -> list[StudioEvent]:
            return [one for one in self.events if one.kind == kind and data.items() <= one.data.items()]

        await until(found, 20)
        return found()[-1]


@asynccontextmanager
async def office(trial: Trial, directory: Path, instance: str) -> AsyncIterator[Office]:
    place = directory / "studio"
    sections = {"studio": {"directory": str(place), "agents": str(directory / "agents"), "media_address": trial.bind}}
    section = {"telephony": {"provider": "asterisk"}, "manners": {"windows": [], "disclosure": ""}}
    async with (
        Carrier(trial, instance) as carrier,
        world(trial, directory, section, KEY, TALK, sections=sections) as there,
    ):
        await until(lambda: Registry(place).living(), 20)
        (entry,) = Registry(place).living()
        async with StudioClient(entry.url, entry.token) as client:
            yield Office(trial, carrier, there, client)


async def test_numbers_calls_listeners_and_rooms(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    trial = start_asterisk("studio")
    async with office(trial, tmp_path, f"test-studio-carrier-{os.getpid()}") as here:
        following = asyncio.create_task(here.follow())
        try:
            await _a_number_comes(here, tmp_path)
            await _a_call_out(here, make_phone)
            await _a_call_in(here)
            await _a_room(here, make_phone)
            await _asterisk_starts_again(here)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _a_number_comes(here: Office, directory: Path) -> None:
    account = {"username": here.carrier.username, "password": here.carrier.password, "registers": True}
    place = {"address": here.carrier.address, "port": here.carrier.port, "inbound_agent": "reception"}
    number = SipNumber.model_validate({"number": NUMBER, **place, **account})
    await asyncio.to_thread(NumberStore(directory / "studio", KEY).add, number)
    applied = await here.client.reconcile()
    assert (applied.backend, applied.written) == ("ari", ("studio-15551230001",))
    assert [trunk.number for trunk in await here.client.trunks()] == [NUMBER]
    agents = {one.name: one for one in await here.client.agents()}
    assert agents["reception"].numbers == (NUMBER,)
    assert all(one.present for one in agents["reception"].capabilities if one.name in ("phone_call", "inbound_call"))
    info = await here.client.engine()
    assert (info.asterisk_up, info.ready, info.provider) == (True, True, "asterisk")
    await until(here.carrier.registered)


async def _a_call_out(here: Office, make_phone: MakePhone) -> None:
    phone, other = await make_phone(here.trial), await make_phone(here.trial)
    here.carrier.route(CALLEE, phone.sip_uri)
    _extension(here.trial, "3000", other.sip_uri)
    record = await here.client.call(StudioCall(agent="reception", to=CALLEE, ring_seconds=20))
    await phone.wait_for("CALL_INCOMING")
    rings = await here.call(lambda call: call.state == "ringing")
    assert (rings.job, rings.number, rings.did, rings.direction) == (record.id, CALLEE, NUMBER, "outbound")
    await phone.answer()
    talks = await here.call(lambda call: call.state == "talking" and call.provider != "")
    assert (talks.call_id, talks.number, talks.did, talks.agent) == (rings.call_id, CALLEE, NUMBER, "reception")
    await here.told("said", who="agent", text="Hello, this is the reception.")
    await asyncio.sleep(await phone.say(await asyncio.to_thread(synthesize, "Are you open on Sunday?", "rms")))
    await here.told("said", who="agent", text="This is answer 0.")
    turn = await here.told("turn")
    assert 0 < turn.data["ms"] < 10_000
    await here.client.whisper(talks.call_id, "They are a friend.")
    listening = asyncio.create_task(here.client.listen(record.id, "3000"))
    await other.wait_for("CALL_INCOMING")
    await other.answer()
    await other.wait_for("CALL_ESTABLISHED")
    await here.client.stop_listening(await listening)
    await other.wait_for("CALL_CLOSED")
    levels = [one.data for one in here.events if one.kind == "levels" and one.call_id == talks.call_id]
    assert max(one["caller"] for one in levels) > -50
    assert max(one["agent"] for one in levels) > -50
    await here.client.hang_up(record.id)
    await phone.wait_for("CALL_CLOSED")
    ended = await here.told("call_ended", callId=talks.call_id)
    assert ended.data["reason"] == "operator_hung_up"
    after = await here.client.job(record.id)
    assert after is not None
    assert after.status == "canceled"
    kinds = [one.kind for one in here.events if one.call_id == talks.call_id]
    assert kinds[0] == "call_started"
    lines = [line.event async for line in here.client.logs(record.id)]
    assert {"a call is asked for", "call started", "agent is advised", "call ended"} <= set(lines)


async def _a_call_in(here: Office) -> None:
    caller = await here.carrier.call_in(NUMBER, CALLER, registered=True)
    call = await here.call(lambda call: call.state == "talking")
    assert (call.direction, call.number, call.did, call.agent) == ("inbound", CALLER, NUMBER, "reception")
    await caller.answered()
    assert (await here.client.hang_up(call.call_id)).call_id == call.call_id
    assert (await caller.ended())[1] == 16
    ended = await here.told("call_ended", reason="operator_hung_up")
    assert ended.call_id == call.call_id
    assert list(await here.client.calls()) == []


async def _a_room(here: Office, make_phone: MakePhone) -> None:
    phone = await make_phone(here.trial)
    room = await here.client.start_room(RoomRequest(agent="reception", channel="lobby"))
    await phone.dial(room.extension)
    await phone.wait_for("CALL_ESTABLISHED")
    call = await here.call(lambda call: call.room == "lobby" and call.state == "talking")
    assert (call.direction, call.agent) == ("room", "reception")
    assert (await here.told("call_started", callId=call.call_id)).data["room"] == "lobby"
    await until(lambda: any(one.kind == "room_changed" and one.data["joined"] == 1 for one in here.events))
    assert [(one.name, one.joined) for one in await here.client.rooms()] == [("lobby", 1)]
    assert (await here.client.engine()).rooms == 1
    await here.client.stop_room("reception")
    await phone.wait_for("CALL_CLOSED")
    assert list(await here.client.rooms()) == []


async def _asterisk_starts_again(here: Office) -> None:
    before = len(here.events)
    await asyncio.to_thread(trials.restart, f"test-studio-{os.getpid()}")
    await until(lambda: any(one.kind == "trunk_changed" for one in here.events[before:]), 30)
    assert [(one.number, one.state) for one in await here.client.trunks()][0][0] == NUMBER
    await until(here.carrier.registered)
    assert (await here.client.engine()).asterisk_up


def _extension(trial: Trial, extension: str, sip_uri: str) -> None:
    folder = trial.etc / "extensions.d"
    folder.mkdir(exist_ok=True)
    (folder / "listener.conf").write_text(f"[offhook]\nexten => {extension},1,Dial(PJSIP/1000/{sip_uri},30)\n")
    trial.cli("dialplan reload")
