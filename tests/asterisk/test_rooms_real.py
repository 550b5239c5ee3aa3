"""Two telephones in a room with an agent, on a real Asterisk; tones tell who hears whom."""

import asyncio
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ai_engine.app.rooms import Rooms
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import AriApp
from ai_engine.session.ports import Topology
from ai_engine.switchboard.models import Room, RoomRequest
from ai_engine.switchboard.ports import Refused
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import Trial
from scripts.trial.measure import RATE, audio, tone_level
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture, Stream
from tests.asterisk.test_ari_real import ENGINE_HZ, MakePhone, Pbx, attach, pbx_of, tone
from tests.conftest import StartAsterisk
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(60)]

ANN_HZ, BOB_HZ = 400, 700


@dataclass(slots=True)
class Guest:
    """Somebody with a telephone and a tone of their own."""

    phone: BaresipPhone
    heard: Stream
    hz: int
    files: Path

    async def join(self, extension: str) -> None:
        await self.phone.dial(extension)
        await self.phone.wait_for("CALL_ESTABLISHED")
        target = self.files / f"{self.hz}.wav"
        with wave.open(str(target), "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            wav.writeframes(tone(self.hz, 60))
        await self.phone.say(target)

    async def hears(self, *hz: int) -> None:
        """All of these at once, and nothing else."""
        await until(lambda: all(level > 0.03 for level in self._levels(*hz)) and sum(self._levels(*hz)) > 0.9)

    def _levels(self, *hz: int) -> list[float]:
        now = time.time()
        pcm = audio(packet for packet in self.heard.packets if packet.at > now - 0.4)
        return [tone_level(pcm, one) if pcm.size > 1600 else 0.0 for one in hz]


@dataclass(slots=True)
class House:
    """An engine with rooms, whose agents say a tone."""

    pbx: Pbx
    app: AriApp
    rooms: Rooms
    ann: Guest
    bob: Guest
    changes: list[Room]
    controls: list[AriCallControl] = field(default_factory=list)

    async def agent(self, topology: Topology = Topology.BRIDGED) -> AriCallControl:
        """The caller that an agent's session is made for; it is joined with its sound, at the rate it carries."""
        control = await self.pbx.call()
        self.controls.append(control)
        await control.answer()
        assert not await control.wideband(), "the sound of ordinary telephones is carried at more than their rate"
        await attach(control, self.pbx.media.leg(), topology)
        return control


def admit(rooms: Rooms, pbx: Pbx, control: AriCallControl) -> None:
    if not rooms.takes(control):
        pbx.calls.put_nowait(control)


@pytest.fixture
async def pbx(asterisk: Trial) -> AsyncIterator[Pbx]:
    async with pbx_of(asterisk) as opened:
        yield opened
        await opened.nothing_is_left()


@asynccontextmanager
async def opened(pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, files: Path) -> AsyncIterator[House]:
    changes: list[Room] = []
    pbx.media.hz = ENGINE_HZ
    app = AriApp(pbx.settings, lambda control: admit(rooms, pbx, control))
    rooms = Rooms(app, lambda: ["reception", "booking"], changes.append)
    running = asyncio.create_task(app.run())
    await until(lambda: app.connected)
    ann, bob = [
        Guest(phone := await make_phone(pbx.trial), rtp.to(phone.rtp_ports), hz, files) for hz in (ANN_HZ, BOB_HZ)
    ]
    house = House(pbx, app, rooms, ann, bob, changes)
    try:
        yield house
        await rooms.close()
        for control in house.controls:
            await control.close()
        await until(lambda: len(app._subscriptions) == 0)
        assert not app._subscriptions.bridges
    finally:
        await app.close()
        await running


@pytest.mark.parametrize("topology", list(Topology))
async def test_all_in_a_room_hear_each_other_and_the_agent(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path, topology: Topology
) -> None:
    async with opened(pbx, make_phone, rtp, tmp_path) as house:
        room = await house.rooms.start(RoomRequest(agent="reception"))
        assert (room.name, room.joined, room.extension) == ("reception", 0, "700")
        await house.ann.join("700")
        control = await house.agent(topology)
        assert (control.variables["agent"], control.variables["did"]) == ("reception", "reception")
        assert house.rooms.room_of(control.channel_id) == "reception"
        if topology is Topology.LISTENING:
            (tmp_path / "tone.sln").write_bytes(tone(ENGINE_HZ, 30))
            await control.play("file", f"sound:{tmp_path}/tone")
        await house.ann.hears(ENGINE_HZ)
        await until(lambda: any(pbx.media.hears(leg, ANN_HZ) for leg in pbx.media.heard))
        await house.bob.join("room-reception")
        await house.ann.hears(ENGINE_HZ, BOB_HZ)
        await house.bob.hears(ENGINE_HZ, ANN_HZ)
        pbx.media.forget()
        for hz in (ANN_HZ, BOB_HZ):
            await until(lambda hz=hz: any(_at(pcm, hz) > 0.1 for pcm in pbx.media.heard.values()))  # type: ignore[misc]
        assert [room.joined for room in house.changes] == [1, 2]
        assert "studio-reception" in str(pbx.trial.ari("GET", "/bridges"))
        await house.ann.phone.hang_up()
        await house.bob.hears(ENGINE_HZ)
        await house.bob.phone.hang_up()
        assert [type(event).__name__ async for event in control.events()][-1] == "CallerHungUp"
        await until(lambda: house.changes[-1].joined == 0)
        assert [room.name for room in await house.rooms.rooms()] == ["reception"], "it stays"
        await until(lambda: "studio-reception" not in str(pbx.trial.ari("GET", "/bridges")))


def _at(sound: bytearray, hz: int) -> float:
    """How much of the last 0.4 s is at that pitch."""
    return tone_level(np.frombuffer(bytes(sound[-6400:]), "<i2"), hz) if len(sound) >= 6400 else 0.0


async def test_a_room_that_is_stopped_hangs_everybody_up(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    async with opened(pbx, make_phone, rtp, tmp_path) as house:
        await house.rooms.start(RoomRequest(agent="reception", channel="demo"))
        await house.ann.join("room-demo")
        control = await house.agent()
        await house.bob.join("700")
        await house.bob.hears(ENGINE_HZ, ANN_HZ)
        await house.rooms.stop("reception")
        for guest in (house.ann, house.bob):
            await guest.phone.wait_for("CALL_CLOSED")
        assert [type(event).__name__ async for event in control.events()][-1] == "CallerHungUp"
        assert await house.rooms.rooms() == []
        with pytest.raises(Refused, match="there is no room 'demo'"):
            await house.rooms.stop("demo")


async def test_an_agent_that_hangs_up_ends_the_stay_and_the_next_guest_finds_a_new_one(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    async with opened(pbx, make_phone, rtp, tmp_path) as house:
        await house.rooms.start(RoomRequest(agent="booking"))
        await house.ann.join("700")
        control = await house.agent()
        await control.hang_up()
        await house.ann.phone.wait_for("CALL_CLOSED")
        await house.bob.join("700")
        await house.agent()
        await house.bob.hears(ENGINE_HZ)


async def test_an_agent_that_hands_over_leaves_its_seat_to_the_human(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    async with opened(pbx, make_phone, rtp, tmp_path) as house:
        await house.rooms.start(RoomRequest(agent="booking"))
        await house.ann.join("700")
        control = await house.agent()
        await house.ann.hears(ENGINE_HZ)
        await control.transfer("offhook", "human")
        await control.close()
        await house.ann.heard.wait_tone()
        await house.ann.phone.hang_up()


async def test_a_room_that_is_not_there(pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path) -> None:
    async with opened(pbx, make_phone, rtp, tmp_path) as house:
        with pytest.raises(Refused, match="no agent 'nobody'"):
            await house.rooms.start(RoomRequest(agent="nobody"))
        await house.rooms.start(RoomRequest(agent="booking"))
        with pytest.raises(Refused, match="there is a room 'booking' already"):
            await house.rooms.start(RoomRequest(agent="booking"))
        await house.ann.phone.dial("799")
        await house.ann.phone.wait_for("CALL_CLOSED")
        assert not [event for event in house.ann.phone.events if event.type == "CALL_ESTABLISHED"]
        assert pbx.calls.empty()


async def test_a_room_outlives_asterisk(start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path) -> None:
    trial = start_asterisk("rooms")
    async with (
        pbx_of(trial) as pbx,
        RtpCapture(trial.rtp_ports, tmp_path / "rooms.pcap") as rtp,
        opened(pbx, make_phone, rtp, tmp_path) as house,
    ):
        await house.rooms.start(RoomRequest(agent="booking"))
        await house.ann.join("700")
        await house.agent()
        await house.ann.hears(ENGINE_HZ)
        reconnects = house.app.reconnects
        await asyncio.to_thread(trials.kill, trial.instance)
        await asyncio.to_thread(trials.restart, trial.instance)
        await until(lambda: house.app.reconnects > reconnects, 10)
        await until(lambda: house.changes[-1].joined == 0)
        await house.bob.join("700")
        await house.agent()
        await house.bob.hears(ENGINE_HZ)


async def test_the_guests_of_a_dead_engine_are_let_go(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    with suppress(_Crash):
        async with opened(pbx, make_phone, rtp, tmp_path) as house:
            await house.rooms.start(RoomRequest(agent="booking"))
            await house.ann.join("700")
            await house.agent()
            await house.ann.hears(ENGINE_HZ)
            raise _Crash
    assert "studio-booking" in str(pbx.trial.ari("GET", "/bridges"))
    app = AriApp(pbx.settings, lambda control: admit(rooms, pbx, control))
    rooms = Rooms(app, list)
    running = asyncio.create_task(app.run())
    await house.ann.phone.wait_for("CALL_CLOSED")
    await pbx.nothing_is_left()
    await rooms.close()
    while not pbx.calls.empty():
        await pbx.calls.get_nowait().close()
    await app.close()
    await running


class _Crash(Exception):
    """Nothing is released."""
