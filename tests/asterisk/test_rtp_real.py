"""RTP against a real Asterisk and a real phone: a snoop that whispers, bridged with a ``UnicastRTP`` leg."""

import asyncio
import json
import random
import time
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pytest

from ai_engine.audio.format import FRAME_MS, SLIN8, SLIN16, AudioFormat
from ai_engine.session.ports import Leg
from ai_engine.transports.rtp import RtpSettings, RtpTransport
from ai_engine.transports.wheel import TimerWheel
from scripts.trial.asterisk import Trial
from scripts.trial.measure import (
    MARKER_HZ,
    PURE,
    RATE,
    RtpPacket,
    decode,
    frame_gaps,
    is_tone,
    missing_packets,
    tone_level,
)
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone]

APP = "test-rtp"
EXTENSION = "770"
CALLER_HZ = 700.0
WORST_GAP_MS = 250.0
"""On a machine with nothing else to do it is 21; one that is busy may stop Asterisk for a moment."""

Facts = Mapping[str, str]


def tone(hz: float, seconds: float, rate: int = RATE) -> bytes:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype("<i2").tobytes()


def is_callers(frame: bytes, format: AudioFormat) -> bool:
    return tone_level(np.frombuffer(frame, "<i2"), CALLER_HZ, format.rate) > PURE


class ToneLine:
    """A session that hums, and notes what it hears and when it hears nothing."""

    def __init__(self, format: AudioFormat) -> None:
        pcm = tone(MARKER_HZ, 1.0, format.rate)  # whole periods
        size = format.frame_bytes
        self._frames = [pcm[start : start + size] for start in range(0, len(pcm), size)]
        self._sent = 0
        self.heard: list[bytes] = []
        self.lost: list[str] = []
        self._empty_ticks = 0
        self.longest_empty_ticks = 0
        """Of those between two frames."""

    def next_frame(self) -> bytes | None:
        self._sent += 1
        self._empty_ticks += 1
        return self._frames[self._sent % len(self._frames)]

    def upcoming(self, frames: int) -> Sequence[bytes]:
        return ()

    def frame_received(self, pcm: bytes) -> None:
        if self.heard:
            self.longest_empty_ticks = max(self.longest_empty_ticks, self._empty_ticks - 1)
        self._empty_ticks = 0
        self.heard.append(pcm)

    def digit_received(self, digit: str) -> None: ...

    def media_lost(self, reason: str) -> None:
        self.lost.append(reason)


class PulseLine(ToneLine):
    """A session that hums for 80 ms in every 600, and notes when; or without end."""

    def __init__(self) -> None:
        super().__init__(SLIN8)
        self.endless = False
        self.hummed_at: list[float] = []

    @property
    def is_between(self) -> bool:
        """In the middle of a pause."""
        return self._sent % 30 == 15

    def next_frame(self) -> bytes | None:
        frame = super().next_frame()
        if self.endless:
            return frame
        if self._sent % 30 == 0:
            self.hummed_at.append(time.time())
        return frame if self._sent % 30 < 4 else None

    def delay_ms(self, heard: Sequence[RtpPacket], round: int) -> float:
        """How long after it was given the hum was on the caller's wire, as a rule; of five hums in a row."""
        loud = [tone_level(decode(packet.payload), MARKER_HZ) > 0.1 for packet in heard]
        onsets = [heard[index].at for index in range(1, len(heard)) if loud[index] and not loud[index - 1]]
        delays = [
            min((onset - at for onset in onsets if onset >= at), default=inf) for at in self.hummed_at[5 * round :][:5]
        ]
        return sorted(delays)[len(delays) // 2] * 1000


class Pbx:
    """ARI by hand."""

    def __init__(self, trial: Trial, events: aiohttp.ClientWebSocketResponse) -> None:
        self._trial = trial
        self._events = events
        self._made: list[str] = []
        self._arrived: list[str] = []
        self.leg_id = ""

    async def ask(self, method: str, path: str, **query: str) -> dict[str, object]:
        answer = await asyncio.to_thread(self._trial.ari, method, f"{path}?{urlencode(query)}" if query else path)
        return answer if isinstance(answer, dict) else {}

    async def arrival(self, channel: str = "") -> str:
        """The id of the channel, or of the first one, that entered the application."""
        async with asyncio.timeout(5):
            while not any(arrived == channel or not channel for arrived in self._arrived):
                event = json.loads((await self._events.receive()).data)
                if event["type"] == "StasisStart":
                    self._arrived.append(event["channel"]["id"])
        return channel or self._arrived[0]

    async def whisper(self, caller: str, leg: Leg) -> Facts:
        """A leg, joined to the caller as ``Topology.WHISPERED``; returns the variables of its channel."""
        await self.ask("POST", f"/channels/{caller}/silence")  # without a voice there is nothing to whisper into
        snoop = await self._make("/channels", f"/channels/{caller}/snoop", spy="in", whisper="out", app=APP)
        created = await self.ask(
            "POST", "/channels/externalMedia", app=APP, format=leg.codec, external_host=leg.external_host,
            encapsulation=leg.encapsulation, transport=leg.transport, connection_type=leg.connection_type,
        )  # fmt: skip
        self.leg_id = str(created["id"])
        self._made.append(f"/channels/{self.leg_id}")
        await self.arrival(snoop)
        await self.arrival(self.leg_id)
        bridge = await self._make("/bridges", "/bridges", type="mixing")
        await self.ask("POST", f"/bridges/{bridge}/addChannel", channel=f"{snoop},{self.leg_id}")
        facts = created["channelvars"]
        assert isinstance(facts, dict)
        return facts

    async def drop_leg(self) -> None:
        await self.ask("DELETE", f"/channels/{self.leg_id}")

    async def release(self) -> None:
        for path in reversed(self._made):
            try:
                await self.ask("DELETE", path)
            except HTTPError as error:
                if error.code != 404:
                    raise

    async def _make(self, kind: str, path: str, **query: str) -> str:
        made = str((await self.ask("POST", path, **query))["id"])
        self._made.append(f"{kind}/{made}")
        return made


@pytest.fixture
async def pbx(asterisk: Trial) -> AsyncIterator[Pbx]:
    extensions = asterisk.etc / "extensions.d"
    extensions.mkdir(exist_ok=True)
    (extensions / "rtp.conf").write_text(f"[offhook]\nexten => {EXTENSION},1,Answer()\n same => n,Stasis({APP})\n")
    asterisk.cli("dialplan reload")
    query = urlencode({"app": APP, "api_key": f"{asterisk.username}:{asterisk.password}"})
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{asterisk.ari_url}/events?{query}") as events:
        pbx = Pbx(asterisk, events)
        try:
            yield pbx
        finally:
            await pbx.release()


@pytest.fixture
async def door() -> AsyncIterator[RtpTransport]:
    transport = RtpTransport(RtpSettings(port_min=19600, port_max=19799), TimerWheel())
    yield transport
    await transport.close()


async def dial(phone: BaresipPhone, pbx: Pbx) -> str:
    await phone.dial(EXTENSION)
    await phone.wait_for("CALL_ESTABLISHED")
    return await pbx.arrival()


async def say_tone(phone: BaresipPhone, folder: Path) -> None:
    path = folder / "caller.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        sound.writeframes(tone(CALLER_HZ, 30.0))
    await phone.say(path)


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
async def test_caller_and_agent_hear_each_other_at_the_same_time(
    pbx: Pbx, door: RtpTransport, phone: BaresipPhone, rtp: RtpCapture, tmp_path: Path, format: AudioFormat
) -> None:
    caller = await dial(phone, pbx)
    invitation = door.invite(format)
    facts = await pbx.whisper(caller, invitation.leg)
    media = await invitation.connected(facts)
    line = ToneLine(format)
    media.attach(line)
    await say_tone(phone, tmp_path)
    began = await rtp.to(phone.rtp_ports).wait_tone()

    def agents() -> list[RtpPacket]:
        return [packet for packet in rtp.to(phone.rtp_ports).packets if packet.at >= began]

    await until(lambda: sum(is_callers(frame, format) for frame in line.heard[-250:]) >= 240)
    await until(lambda: len(agents()) >= 250)
    heard = agents()
    assert sum(is_tone(packet) for packet in heard) >= 0.95 * len(heard)
    assert max(frame_gaps(heard)) <= WORST_GAP_MS
    assert missing_packets(heard) == 0
    assert {len(frame) for frame in line.heard} == {format.frame_bytes}
    assert line.longest_empty_ticks * FRAME_MS <= WORST_GAP_MS
    assert line.lost == []
    assert [door.counters[name] for name in ("strangers", "malformed", "wrong_payload", "wrong_size", "strays")] == [
        0
    ] * 5
    await phone.hang_up()


async def test_a_leg_that_asterisk_drops_is_lost(pbx: Pbx, door: RtpTransport, phone: BaresipPhone) -> None:
    caller = await dial(phone, pbx)
    invitation = door.invite(SLIN8)
    media = await invitation.connected(await pbx.whisper(caller, invitation.leg))
    line = ToneLine(SLIN8)
    media.attach(line)
    await until(lambda: line.heard)
    await pbx.drop_leg()
    await until(lambda: line.lost, 2.0)
    assert "refused" in line.lost[0]
    await phone.hang_up()


async def test_after_a_hitch_of_ours_the_whisper_is_as_prompt_as_before(
    pbx: Pbx, door: RtpTransport, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    caller = await dial(phone, pbx)
    invitation = door.invite(SLIN8)
    media = await invitation.connected(await pbx.whisper(caller, invitation.leg))
    line = PulseLine()
    media.attach(line)
    rounds = 0
    for hitch_seconds in (0.0, 0.05, 0.05, 0.05):
        line.endless = True  # nothing is withheld in the middle of speech
        await asyncio.sleep(0.2)
        withheld = door.counters["withheld"]
        time.sleep(hitch_seconds)  # noqa: ASYNC251 - the whole process stands still
        await asyncio.sleep(0.2)
        assert door.counters["withheld"] == withheld
        line.endless = False
        await until(lambda: line.is_between)
        rounds += 1
        await until(lambda: len(line.hummed_at) == 5 * rounds and line.is_between, 15.0)  # noqa: B023
    heard = rtp.to(phone.rtp_ports).packets
    before, *after = [line.delay_ms(heard, round) for round in range(rounds)]
    assert door.counters["withheld"] >= 3
    # One round may suffer from a hitch of Asterisk's; if nothing drained, all after the first hitch would.
    assert min(after) <= before + 10
    await phone.hang_up()


class BadNetwork:
    """Relays between Asterisk and the engine; of each direction it loses 5 packets in 100 and delays 5."""

    def __init__(self, leg: Leg) -> None:
        host, port = leg.external_host.split(":")
        self._engine = (host, int(port))
        self._asterisk: tuple[str, int] | None = None
        self._chance = random.Random(7)
        self.lost = self.delayed = 0
        self._to_asterisk: asyncio.DatagramTransport
        self._to_engine: asyncio.DatagramTransport

    @asynccontextmanager
    async def open(self) -> AsyncIterator["BadNetwork"]:
        loop = asyncio.get_running_loop()
        here = ("127.0.0.1", 0)
        self._to_asterisk, _ = await loop.create_datagram_endpoint(lambda: _Side(self._up), here)
        self._to_engine, _ = await loop.create_datagram_endpoint(lambda: _Side(self._down), here)
        try:
            yield self
        finally:
            self._to_asterisk.close()
            self._to_engine.close()

    @property
    def for_asterisk(self) -> str:
        """The ``external_host`` of this network."""
        return "{}:{}".format(*self._to_asterisk.get_extra_info("sockname"))

    @property
    def for_engine(self) -> Facts:
        host, port = self._to_engine.get_extra_info("sockname")
        return {"UNICASTRTP_LOCAL_ADDRESS": host, "UNICASTRTP_LOCAL_PORT": str(port)}

    def _up(self, data: bytes, sender: tuple[str, int]) -> None:
        self._asterisk = sender
        self._relay(self._to_engine, data, self._engine)

    def _down(self, data: bytes, sender: tuple[str, int]) -> None:
        if self._asterisk is not None:
            self._relay(self._to_asterisk, data, self._asterisk)

    def _relay(self, way: asyncio.DatagramTransport, data: bytes, to: tuple[str, int]) -> None:
        fate = self._chance.random()
        if fate < 0.05:
            self.lost += 1
        elif fate < 0.10:
            self.delayed += 1
            asyncio.get_running_loop().call_later(0.045, way.sendto, data, to)
        else:
            way.sendto(data, to)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, relay: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._relay(data, addr)


async def test_a_bad_network_is_survived(
    pbx: Pbx, door: RtpTransport, phone: BaresipPhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    caller = await dial(phone, pbx)
    invitation = door.invite(SLIN8)
    async with BadNetwork(invitation.leg).open() as network:
        leg = replace(invitation.leg, external_host=network.for_asterisk)
        await pbx.whisper(caller, leg)
        media = await invitation.connected(network.for_engine)
        line = ToneLine(SLIN8)
        media.attach(line)
        await say_tone(phone, tmp_path)
        began = await rtp.to(phone.rtp_ports).wait_tone()
        await until(lambda: len(line.heard) >= 500, 15.0)
        heard = [packet for packet in rtp.to(phone.rtp_ports).packets if packet.at >= began]
    assert network.lost >= 20
    assert network.delayed >= 20
    assert line.lost == []
    # What is lost upstream is concealed, and hardly anything sounds different.
    assert line.longest_empty_ticks * FRAME_MS <= WORST_GAP_MS
    pure = [is_callers(frame, SLIN8) for frame in line.heard[100:]]
    assert sum(pure) >= 0.9 * len(pure)
    assert 0 < door.counters["lost"] <= 0.1 * len(line.heard)
    assert door.counters["strays"] == door.counters["strangers"] == 0
    # What is lost downstream is lost, and no more than that.
    assert sum(is_tone(packet) for packet in heard) >= 0.75 * len(heard)
    await phone.hang_up()
