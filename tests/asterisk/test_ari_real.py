"""The ARI room against a real Asterisk, with callers made of Local channels, and phones where sound matters."""

import asyncio
import math
import struct
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import numpy as np
import pytest

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import BRIDGE_PREFIX, MEDIA_PREFIX, OUR_CHANNELS, SNOOP_PREFIX
from ai_engine.ari.stasis import ApplicationTaken, AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.call.events import (
    CallerHeld,
    CallerHungUp,
    CallerUnheld,
    CallEvent,
    DigitReceived,
    MediaLost,
    PlaybackEnded,
    TakenBack,
)
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.protocol.abilities import Abilities
from ai_engine.session.ports import Leg, Topology
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.measure import PCMU, RATE, is_tone, tone_starts
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture, Stream
from tests.waiting import until

pytestmark = pytest.mark.asterisk

_numbers = count(1)

ENGINE_HZ = 1200
CALLER_HZ = 400
FILE_HZ = 800
"""Whole numbers of periods in 20 ms, so that every frame of a tone is the same."""


@cache
def tone(hz: int, seconds: float = 0.02, rate: int = RATE) -> bytes:
    """A tone well above the threshold of voice; silence at 0 Hz."""
    return b"".join(
        struct.pack("<h", round(9000 * math.sin(2 * math.pi * hz * index / rate)))
        for index in range(int(seconds * rate))
    )


class Peer:
    """What both kinds of media server do: say a tone all the time, and take what comes."""

    def __init__(self) -> None:
        self.hz = 0
        self.heard: dict[UUID, bytearray] = {}
        """Sound by the UUID of the leg, PCM16 little-endian at whatever rate the leg has."""
        self.frames: dict[UUID, list[float]] = {}
        """Loop times at which it came."""

    def took(self, uuid: UUID, pcm: bytes) -> None:
        self.heard.setdefault(uuid, bytearray()).extend(pcm)
        self.frames.setdefault(uuid, []).append(asyncio.get_running_loop().time())

    def forget(self) -> None:
        """What was heard before now."""
        self.heard.clear()
        self.frames.clear()

    def has_frames(self, uuid: UUID, count: int = 10) -> bool:
        return len(self.frames.get(uuid, ())) >= count

    def hears(self, uuid: UUID, hz: float, seconds: float = 0.2) -> bool:
        pcm = np.frombuffer(bytes(self.heard.get(uuid, b"")), "<i2")
        return tone_starts(pcm, hz, seconds) is not None

    async def speak(self, write: Callable[[bytes], None]) -> None:
        """A frame every 20 ms, on time on the average."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            write(tone(self.hz))
            due += 0.02
            await asyncio.sleep(due - loop.time())


class MediaServer(Peer):
    """AudioSocket; what it says is always 8 kHz, which a leg of any rate takes."""

    def __init__(self) -> None:
        super().__init__()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.close()

    def leg(self, format: AudioFormat = SLIN8, address: str = "") -> Leg:
        uuid = uuid4()
        codec = "slin" if format == SLIN8 else "slin16"
        return Leg(uuid, codec, address or self.address, "audiosocket", "tcp", data=str(uuid))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        speaking = asyncio.create_task(self.speak(lambda pcm: writer.write(b"\x10\x01\x40" + pcm)))
        try:
            uuid = UUID(bytes=(await reader.readexactly(19))[3:])
            while True:
                kind, length = struct.unpack("!BH", await reader.readexactly(3))
                payload = await reader.readexactly(length)
                if kind >= 0x10:
                    self.took(uuid, payload)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            speaking.cancel()
            self._writers.discard(writer)
            writer.close()


class RtpPeer(Peer, asyncio.DatagramProtocol):
    """RTP for one leg: ``slin`` both ways, with the payload type Asterisk uses."""

    def __init__(self) -> None:
        super().__init__()
        self.uuid = uuid4()
        self._sequence = 0
        self._speaking: asyncio.Task[None] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    def close(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
        assert self._transport is not None
        self._transport.close()

    def leg(self) -> Leg:
        assert self._transport is not None
        port = self._transport.get_extra_info("sockname")[1]
        return Leg(self.uuid, "slin", f"127.0.0.1:{port}", "rtp", "udp")

    def talk_to(self, facts: Mapping[str, str]) -> None:
        """``facts`` are the variables of the leg."""
        address = (facts["UNICASTRTP_LOCAL_ADDRESS"], int(facts["UNICASTRTP_LOCAL_PORT"]))
        self._speaking = asyncio.create_task(self.speak(lambda pcm: self._send(pcm, address)))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.took(self.uuid, np.frombuffer(data[12:], ">i2").astype("<i2").tobytes())

    def _send(self, pcm: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        self._sequence += 1
        header = struct.pack("!BBHII", 0x80, 10, self._sequence & 0xFFFF, self._sequence * 160, 7)
        self._transport.sendto(header + np.frombuffer(pcm, "<i2").astype(">i2").tobytes(), address)


async def attach(control: AriCallControl, leg: Leg, topology: Topology = Topology.BRIDGED) -> None:
    await control.create_leg(leg)
    await control.join(topology)


class Pbx:
    """An Asterisk with an engine in it, and callers."""

    def __init__(self, trial: Trial, media: MediaServer) -> None:
        self.trial = trial
        self.media = media
        self.settings = AriSettings(trial.ari_url, trial.username, trial.password)
        self.callers = AriApp(
            AriSettings(trial.ari_url, trial.username, trial.password, app="test-caller"), lambda _: None
        )
        """The application in which the far ends of our calls are."""
        self.calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
        self.dialled: list[str] = []

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[AriApp]:
        app = AriApp(self.settings, self.calls.put_nowait)
        running = asyncio.create_task(app.run())
        try:
            await until(lambda: app.connected)
            yield app
        finally:
            await app.close()
            await running

    async def call(self) -> AriCallControl:
        async with asyncio.timeout(5):
            return await self.calls.get()

    async def dial(self) -> str:
        """A caller dials 100; returns the id of their end, which is in an application of its own."""
        caller = f"caller-{next(_numbers)}"
        self.dialled.append(caller)
        await self.ask(
            "POST",
            "/channels",
            {"endpoint": "Local/100@offhook/n", "app": "test-caller", "channelId": caller, "callerId": "1000"},
        )
        return caller

    async def talk(self, topology: Topology = Topology.BRIDGED) -> tuple[str, AriCallControl]:
        """A caller, answered and joined with their media."""
        caller = await self.dial()
        control = await self.call()
        await control.answer()
        await attach(control, self.media.leg(), topology)
        return caller, control

    async def ask(self, method: str, path: str, query: dict[str, str] | None = None) -> int:
        async with aiohttp.request(
            method,
            self.trial.ari_url + path,
            params=query,
            headers={"Authorization": aiohttp.encode_basic_auth(self.trial.username, self.trial.password)},
        ) as answer:
            return answer.status

    async def callers_hang_up(self) -> None:
        """Those a failed test left on the line."""
        for caller in self.dialled:
            await self.ask("DELETE", f"/channels/{caller}")

    async def nothing_is_left(self) -> None:
        ari = await Ari.open(self.settings)
        async with asyncio.timeout(5):
            while await ari.channels() or await ari.bridges():  # noqa: ASYNC110  Asterisk ends channels by and by
                await asyncio.sleep(0.02)
        await ari.close()


async def events_of(control: AriCallControl) -> list[CallEvent]:
    async with asyncio.timeout(5):
        return [event async for event in control.events()]


@asynccontextmanager
async def pbx_of(trial: Trial) -> AsyncIterator[Pbx]:
    media = MediaServer()
    await media.open()
    pbx = Pbx(trial, media)
    running = asyncio.create_task(pbx.callers.run())
    try:
        await until(lambda: pbx.callers.connected)
        yield pbx
    finally:
        await pbx.callers.close()
        await running
        await media.close()


@pytest.fixture
async def pbx(asterisk: Trial) -> AsyncIterator[Pbx]:
    async with pbx_of(asterisk) as opened:
        try:
            yield opened
        finally:
            await opened.callers_hang_up()
            await opened.nothing_is_left()


async def test_a_call_from_answer_to_the_dialplan(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        assert app.version.startswith("22.")
        caller, control = await pbx.talk()
        assert (control.variables["agent"], control.caller_number) == ("reception", "1000")
        assert not control.orphan
        assert [name for name in await channel_names(pbx) if name.startswith("AudioSocket/")]
        await control.set_variables({"OFFHOOK_STATE": "talking & <more> +1 50%"})
        shown = await asyncio.to_thread(pbx.trial.cli, f"core show channel {control.channel_id}")
        assert "OFFHOOK_STATE=talking & <more> +1 50%" in shown
        await pbx.ask("POST", f"/channels/{caller}/dtmf", {"dtmf": "5#"})
        events = control.events()
        async with asyncio.timeout(5):
            assert [await anext(events), await anext(events)] == [DigitReceived("5"), DigitReceived("#")]
        await control.transfer("offhook", "600")
        assert [event async for event in events] == []
        await control.close()
        ari = await Ari.open(pbx.settings)
        assert (await ari.channel(control.channel_id)).application == "Echo"
        assert not [bridge for bridge in await ari.bridges() if bridge.id.startswith(BRIDGE_PREFIX)]
        await ari.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def channel_names(pbx: Pbx) -> list[str]:
    ari = await Ari.open(pbx.settings)
    names = [channel.name for channel in await ari.channels()]
    await ari.close()
    return names


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
async def test_media_flows_to_the_connection_that_was_asked_for(pbx: Pbx, format: AudioFormat) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()
        await control.answer()
        leg = pbx.media.leg(format)
        await attach(control, leg)
        await pbx.ask("POST", f"/channels/{caller}/silence")  # a voice, of sorts: it makes Asterisk send frames
        await until(lambda: len(pbx.media.heard.get(leg.uuid, b"")) >= 10 * format.frame_bytes)
        await pbx.ask("DELETE", f"/channels/{caller}")
        assert await events_of(control) == [CallerHungUp(16)]
        await control.close()


async def test_we_hang_up(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        await control.hang_up()
        assert [type(event) for event in await events_of(control)] == [CallerHungUp]
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def test_a_leg_that_cannot_connect_leaves_the_caller(pbx: Pbx) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()
        with pytest.raises(AsteriskError):
            await attach(control, pbx.media.leg(address="127.0.0.1:1"))
        await control.keep_alive(30)
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")
        await pbx.nothing_is_left()


async def test_a_media_connection_that_ends_is_media_lost(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        events = control.events()
        pbx.media.drop()
        async with asyncio.timeout(5):
            assert isinstance(await anext(events), MediaLost)
        await control.transfer("offhook", "600")
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def test_without_a_sign_of_life_the_caller_reaches_the_human(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        await control.keep_alive(1)
        began = time.monotonic()
        assert await events_of(control) == [TakenBack()]
        assert 0.8 < time.monotonic() - began < 2.0
        ari = await Ari.open(pbx.settings)
        assert (await ari.channel(control.channel_id)).dialled == "human"
        await ari.close()
        await control.close()
        with pytest.raises(CallGone):
            await control.keep_alive(1)
        await pbx.ask("DELETE", f"/channels/{caller}")


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 5, 8])
async def test_a_caller_may_hang_up_at_any_moment_of_the_set_up(pbx: Pbx, milliseconds: int) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()

        async def set_up() -> None:
            await control.answer()
            await attach(control, pbx.media.leg())
            await control.set_variables({f"V{number}": "x" for number in range(1000)})

        setting_up = asyncio.create_task(set_up())
        await asyncio.sleep(milliseconds / 1000)
        await pbx.ask("DELETE", f"/channels/{caller}")
        with pytest.raises(CallGone):
            await setting_up
        assert (await events_of(control))[-1] == CallerHungUp(16)
        await control.close()
        await pbx.nothing_is_left()


async def test_many_calls_leave_nothing(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        for _ in range(5):
            talks = await asyncio.gather(*(pbx.talk() for _ in range(10)))
            for caller, _ in talks:
                await pbx.ask("DELETE", f"/channels/{caller}")
            for _, control in talks:
                assert await events_of(control) == [CallerHungUp(16)]
                await control.close()
        await pbx.nothing_is_left()
        await until(lambda: not app._errands)
        assert len(app._subscriptions) == 0


async def test_the_next_engine_takes_up_the_callers_of_the_last(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, abandoned = await pbx.talk()
    async with pbx.engine() as app:
        control = await pbx.call()
        assert (control.orphan, control.channel_id, app.orphans) == (True, abandoned.channel_id, 1)
        assert control.variables["agent"] == "reception"
        ari = await Ari.open(pbx.settings)
        assert not [channel for channel in await ari.channels() if channel.id.startswith(MEDIA_PREFIX)]
        assert await ari.bridges() == []
        await ari.close()
        await attach(control, pbx.media.leg())
        await pbx.ask("POST", f"/channels/{caller}/dtmf", {"dtmf": "9"})
        async with asyncio.timeout(5):
            assert await anext(control.events()) == DigitReceived("9")
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)
        await control.close()


async def test_a_second_engine_under_the_same_name_ends_the_first(pbx: Pbx) -> None:
    first = AriApp(pbx.settings, pbx.calls.put_nowait)
    running = asyncio.create_task(first.run())
    await until(lambda: first.connected)
    async with pbx.engine():
        with pytest.raises(ApplicationTaken):
            await running
        await first.close()
        caller = await pbx.dial()
        control = await pbx.call()
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)


# -- joined in every way --------------------------------------------------------------------------------------

every_topology = pytest.mark.parametrize("topology", Topology)


@every_topology
async def test_a_caller_who_hangs_up_is_all_that_is_told(pbx: Pbx, topology: Topology) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk(topology)
        await pbx.ask("DELETE", f"/channels/{caller}")
        assert await events_of(control) == [CallerHungUp(16)]
        await control.close()


@every_topology
async def test_our_own_hangup_is_all_that_is_told(pbx: Pbx, topology: Topology) -> None:
    async with pbx.engine():
        _, control = await pbx.talk(topology)
        await control.hang_up()
        assert [type(event) for event in await events_of(control)] == [CallerHungUp]
        await control.close()


@every_topology
async def test_the_dead_man_is_all_that_is_told(pbx: Pbx, topology: Topology) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk(topology)
        await control.keep_alive(1)
        assert await events_of(control) == [TakenBack()]
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


@every_topology
@pytest.mark.parametrize("prefix", [MEDIA_PREFIX, SNOOP_PREFIX])
async def test_a_channel_of_ours_that_ends_is_media_lost_once(pbx: Pbx, topology: Topology, prefix: str) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk(topology)
        ari = await Ari.open(pbx.settings)
        ours = [channel.id for channel in await ari.channels() if channel.id.startswith(prefix)]
        assert len(ours) == (0 if topology is Topology.BRIDGED and prefix != MEDIA_PREFIX else 1)
        for channel_id in ours:
            await ari.hang_up(channel_id)
        await ari.close()
        await asyncio.sleep(0.1)  # whatever else there is to tell is told by then
        await control.transfer("offhook", "600")
        assert [type(event) for event in await events_of(control)] == [MediaLost] * len(ours)
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def test_one_leg_after_another_leaves_nothing_behind(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        caller, control = await pbx.talk(Topology.BRIDGED)
        for topology in [*Topology, *reversed(Topology)]:
            await control.drop_leg()
            ari = await Ari.open(pbx.settings)
            assert await ari.bridges() == []
            assert len(app._subscriptions) == 1
            await ari.close()
            leg = pbx.media.leg()
            await attach(control, leg, topology)
            await pbx.ask("POST", f"/channels/{caller}/silence")
            await until(partial(pbx.media.has_frames, leg.uuid))
        await pbx.ask("DELETE", f"/channels/{caller}")
        assert await events_of(control) == [CallerHungUp(16)]
        await control.close()
        await pbx.nothing_is_left()
        assert len(app._subscriptions) == 0


async def test_what_an_asterisk_with_everything_can_do(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        assert app.abilities == Abilities(True, True, True, True, True)
        assert app.abilities.transports() == ("websocket", "audiosocket", "legacy")


RestartAsterisk = Callable[..., Trial]


@pytest.mark.parametrize("end", [lambda _: None, trials.kill], ids=["restarted", "crashed"])
async def test_a_restart_ends_the_calls_and_the_next_one_comes(
    start_asterisk: RestartAsterisk, end: Callable[[str], None]
) -> None:
    trial = await asyncio.to_thread(start_asterisk, "ari")
    async with pbx_of(trial) as pbx, pbx.engine() as app:
        _, control = await pbx.talk()
        await asyncio.to_thread(end, trial.instance)
        restarting = asyncio.create_task(asyncio.to_thread(trials.restart, trial.instance))
        await until(lambda: not app.connected)
        assert [type(event) for event in await events_of(control)][-1] is CallerHungUp
        with suppress(AsteriskError):  # it may be down at this moment, and has nothing of ours when it is back
            await control.close()
        await restarting
        await until(lambda: app.connected and pbx.callers.connected)
        assert app.reconnects >= 1
        caller = await pbx.dial()
        control = await pbx.call()
        await attach(control, pbx.media.leg())
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)
        await control.close()


async def test_a_password_of_any_characters_is_accepted(start_asterisk: RestartAsterisk, tmp_path: Path) -> None:
    password = "p&a+s%25#w@r?d=/:x"
    users = (TEMPLATES / "ari.conf").read_text(encoding="utf-8")
    users += f"\n[odd]\ntype = user\nread_only = no\npassword_format = plain\npassword = {password}\n"
    trial = await asyncio.to_thread(start_asterisk, "ari-user", {"ari.conf": users})
    app = AriApp(AriSettings(trial.ari_url, "odd", password), lambda _: None)
    running = asyncio.create_task(app.run())
    await until(lambda: app.connected)
    await app.close()
    await running


# -- with a phone ---------------------------------------------------------------------------------------------

MakePhone = Callable[[Trial], Awaitable[BaresipPhone]]


class Conversation:
    """A phone on the line with the engine, and what goes over the wire to it."""

    def __init__(self, pbx: Pbx, phone: BaresipPhone, control: AriCallControl, wire: RtpCapture, files: Path) -> None:
        self.pbx = pbx
        self.phone = phone
        self.control = control
        self.heard: Stream = wire.to(phone.rtp_ports)
        self.files = files
        self.events: list[CallEvent] = []

    async def listen(self) -> None:
        async for event in self.control.events():
            self.events.append(event)

    async def say_tone(self) -> None:
        """The caller says it from now on, for a minute."""
        target = self.files / "caller.wav"
        with wave.open(str(target), "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
            wav.writeframes(tone(CALLER_HZ, 60))
        await self.phone.say(target)

    def sound(self, seconds: float, hz: int = FILE_HZ) -> str:
        """A file with a tone, as a URI."""
        name = self.files / f"tone-{hz}"
        name.with_suffix(".sln").write_bytes(tone(hz, seconds))
        return f"sound:{name}"

    def heard_since(self, at: float, hz: int) -> int:
        """Packets of pure tone to the phone after epoch second ``at``."""
        return sum(packet.at > at and is_tone(packet, hz) for packet in self.heard.packets)

    async def hang_up(self) -> None:
        await self.phone.hang_up()
        await until(lambda: self.events and isinstance(self.events[-1], CallerHungUp))
        await self.control.close()
        await self.pbx.nothing_is_left()


Converse = Callable[[], Awaitable[Conversation]]


@pytest.fixture
async def converse(pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path) -> AsyncIterator[Converse]:
    """A phone that has dialled the engine and was answered."""
    listening: list[asyncio.Task[None]] = []
    async with pbx.engine():

        async def dial() -> Conversation:
            phone = await make_phone(pbx.trial)
            await phone.dial("100")
            control = await pbx.call()
            await control.answer()
            await phone.wait_for("CALL_ESTABLISHED")
            conversation = Conversation(pbx, phone, control, rtp, tmp_path)
            listening.append(asyncio.create_task(conversation.listen()))
            return conversation

        yield dial
        for task in listening:
            task.cancel()


@pytest.mark.phone
@pytest.mark.parametrize("topology", [Topology.BRIDGED, Topology.WHISPERED])
async def test_sound_goes_both_ways_over_audiosocket(converse: Converse, topology: Topology) -> None:
    talk = await converse()
    media = talk.pbx.media
    media.hz = ENGINE_HZ
    leg = media.leg()
    await attach(talk.control, leg, topology)
    await talk.say_tone()
    await talk.heard.wait_tone(ENGINE_HZ)
    await until(lambda: media.hears(leg.uuid, CALLER_HZ))
    assert not media.hears(leg.uuid, ENGINE_HZ)
    await talk.hang_up()
    assert [type(event) for event in talk.events] == [CallerHungUp]


@pytest.mark.phone
async def test_sound_goes_both_ways_over_rtp_and_a_whisper(converse: Converse) -> None:
    talk = await converse()
    peer = RtpPeer()
    await peer.open()
    peer.hz = ENGINE_HZ
    peer.talk_to(await talk.control.create_leg(peer.leg()))
    await talk.control.join(Topology.WHISPERED)
    await talk.say_tone()
    await talk.heard.wait_tone(ENGINE_HZ)
    await until(lambda: peer.hears(peer.uuid, CALLER_HZ))
    assert not peer.hears(peer.uuid, ENGINE_HZ)
    await talk.hang_up()
    peer.close()
    assert [type(event) for event in talk.events] == [CallerHungUp]


@pytest.mark.phone
async def test_a_caller_is_heard_while_a_file_is_played_paused_and_stopped(converse: Converse) -> None:
    talk = await converse()
    media, control = talk.pbx.media, talk.control
    leg = media.leg()
    await attach(control, leg, Topology.LISTENING)
    await talk.say_tone()
    await until(lambda: media.hears(leg.uuid, CALLER_HZ))
    media.forget()
    await control.play("first", talk.sound(30))
    await control.play("second", talk.sound(0.4, ENGINE_HZ))
    await talk.heard.wait_tone(FILE_HZ)

    await control.pause_playback("first")
    await asyncio.sleep(0.1)
    paused = time.time()
    await asyncio.sleep(0.4)
    assert talk.heard_since(paused, FILE_HZ) == 0

    await control.resume_playback("first")
    await talk.heard.wait_tone(FILE_HZ, after=paused)
    assert talk.events == []

    await control.stop_playback("first")
    stopped = time.time()
    await talk.heard.wait_tone(ENGINE_HZ, after=stopped)
    assert talk.heard_since(stopped + 0.1, FILE_HZ) == 0
    await until(lambda: len(talk.events) == 2)
    assert talk.events == [PlaybackEnded("first"), PlaybackEnded("second")]

    times = media.frames[leg.uuid]
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.2
    assert not media.hears(leg.uuid, FILE_HZ)
    assert media.hears(leg.uuid, CALLER_HZ, seconds=0.5)
    await talk.hang_up()


@pytest.mark.phone
@every_topology
async def test_the_callers_of_a_dead_engine_are_joined_anew(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path, topology: Topology
) -> None:
    phone = await make_phone(pbx.trial)
    async with pbx.engine():
        await phone.dial("100")
        abandoned = await pbx.call()
        await abandoned.answer()
        await phone.wait_for("CALL_ESTABLISHED")
        await attach(abandoned, pbx.media.leg(), Topology.WHISPERED)
    async with pbx.engine():
        control = await pbx.call()
        assert control.orphan
        ari = await Ari.open(pbx.settings)
        assert [channel.id for channel in await ari.channels() if channel.id.startswith(OUR_CHANNELS)] == []
        await ari.close()
        talk = Conversation(pbx, phone, control, rtp, tmp_path)
        listening = asyncio.create_task(talk.listen())
        pbx.media.hz = ENGINE_HZ
        leg = pbx.media.leg()
        await attach(control, leg, topology)
        await talk.say_tone()
        if topology is Topology.LISTENING:
            await control.play("file", talk.sound(30, ENGINE_HZ))
        began = await talk.heard.wait_tone(ENGINE_HZ)
        await until(lambda: pbx.media.hears(leg.uuid, CALLER_HZ))
        await until(lambda: talk.heard_since(began, ENGINE_HZ) >= 50)
        packets = sum(packet.at > began for packet in talk.heard.packets)
        assert talk.heard_since(began, ENGINE_HZ) > 0.8 * packets
        assert pbx.calls.empty()
        await talk.hang_up()
        await listening


@pytest.mark.phone
async def test_neither_the_dead_man_nor_a_transfer_waits_for_a_file(converse: Converse) -> None:
    talk = await converse()
    control = talk.control
    await attach(control, talk.pbx.media.leg(), Topology.LISTENING)
    await control.play("long", talk.sound(30))
    await talk.heard.wait_tone(FILE_HZ)
    for _ in range(6):
        await control.keep_alive(1)
        await control.set_variables({"OFFHOOK_STATE": "talking, (with) & <more>=1 +1 50%"})
        await asyncio.sleep(0.4)
    await control.pause_playback("long")
    for _ in range(3):
        await control.keep_alive(1)
        await asyncio.sleep(0.4)
    shown = await asyncio.to_thread(talk.pbx.trial.cli, f"core show channel {control.channel_id}")
    assert "OFFHOOK_STATE=talking, (with) & <more>=1 +1 50%" in shown
    assert talk.events == []
    began = time.time()
    await control.play("next", talk.sound(30))
    await control.transfer("offhook", "human")
    assert await talk.heard.wait_tone(after=began) - began < 1.0
    await control.close()
    await talk.phone.hang_up()
    await talk.pbx.nothing_is_left()


@pytest.mark.phone
async def test_a_file_gives_way_to_a_stream_and_takes_over_from_one(converse: Converse) -> None:
    talk = await converse()
    media, control = talk.pbx.media, talk.control
    media.hz = ENGINE_HZ
    await talk.say_tone()
    for number, topology in enumerate((Topology.BRIDGED, Topology.WHISPERED, Topology.BRIDGED)):
        began = time.time()
        await attach(control, media.leg(), topology)
        await talk.heard.wait_tone(ENGINE_HZ, after=began)
        await control.drop_leg()

        leg = media.leg()
        await attach(control, leg, Topology.LISTENING)
        began = time.time()
        await control.play(f"file-{number}", talk.sound(30))
        await talk.heard.wait_tone(FILE_HZ, after=began)
        await until(partial(media.hears, leg.uuid, CALLER_HZ))
        await control.drop_leg()
    await talk.hang_up()
    *ended, last, _ = talk.events
    assert ended == [], "those that were stopped are not over: what was not heard is said another way"
    assert last == PlaybackEnded("file-2", failed=True)


@pytest.mark.phone
async def test_a_file_that_cannot_be_played_ends_at_once(converse: Converse) -> None:
    talk = await converse()
    await attach(talk.control, talk.pbx.media.leg(), Topology.LISTENING)
    await talk.control.play("nothing", f"sound:{talk.files}/nothing")
    await until(lambda: talk.events)
    await talk.control.stop_playback("nothing")
    await talk.control.pause_playback("nothing")
    await talk.control.resume_playback("nothing")
    assert talk.events == [PlaybackEnded("nothing", failed=True)]
    await talk.hang_up()


@pytest.mark.phone
async def test_hold_and_its_end_are_told(converse: Converse) -> None:
    talk = await converse()
    await attach(talk.control, talk.pbx.media.leg())
    await talk.phone._command("hold", "")
    await until(lambda: talk.events == [CallerHeld()])
    await talk.phone._command("resume", "")
    await until(lambda: talk.events == [CallerHeld(), CallerUnheld()])
    await talk.hang_up()


@pytest.mark.phone
@every_topology
async def test_keys_go_out_as_telephone_events_and_come_in_once(converse: Converse, topology: Topology) -> None:
    talk = await converse()
    await attach(talk.control, talk.pbx.media.leg(), topology)
    await talk.control.send_digits("15#")
    await until(lambda: len(telephone_events(talk.heard)) == 3)
    assert telephone_events(talk.heard) == [1, 5, 11]
    await talk.phone.send_digit("7")
    await until(lambda: talk.events)
    await talk.phone.send_digit("8")
    await until(lambda: DigitReceived("8") in talk.events)
    assert talk.events == [DigitReceived("7"), DigitReceived("8")]
    await talk.hang_up()


def telephone_events(heard: Stream) -> list[int]:
    """The keys of RFC 4733 that were pressed and let go, in order."""
    ended = {
        packet.timestamp: packet.payload[0]
        for packet in heard.packets
        if packet.payload_type != PCMU and len(packet.payload) == 4 and packet.payload[1] & 0x80
    }
    return list(ended.values())


class CodecPhone(BaresipPhone):
    """A phone with other codecs than G.711."""

    codecs = "G722/16000/1"

    def _write_files(self) -> None:
        super()._write_files()
        for name, old, new in (
            ("config", "module g711.so\n", "module g711.so\nmodule g722.so\n"),
            ("accounts", "PCMU/8000/1", self.codecs),
        ):
            path = self.directory / name
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.phone
@pytest.mark.parametrize(
    ("codecs", "wideband"), [("G722/16000/1", True), ("PCMU/8000/1", False), ("PCMA/8000/1", False)]
)
async def test_the_callers_codec_tells_whether_they_are_wideband(
    pbx: Pbx, tmp_path: Path, codecs: str, wideband: bool
) -> None:
    phone = CodecPhone(pbx.trial, tmp_path)
    phone.codecs = codecs
    async with pbx.engine(), phone:
        await phone.dial("100")
        control = await pbx.call()
        assert await control.wideband() is wideband
        await phone.wait_for("CALL_ESTABLISHED")
        await phone.hang_up()
        await events_of(control)
        await control.close()
