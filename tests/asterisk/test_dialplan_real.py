"""Calls without ARI: a real phone, a real Asterisk's AudioSocket(), and nothing of the engine but its door."""

import asyncio
import json
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import websockets

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived
from ai_engine.transports.audiosocket import AudioSocketListener, AudioSocketSettings
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.dialplan import DialplanCall
from ai_engine.transports.wheel import TimerWheel
from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.measure import RATE, frame_gaps, tone_level
from scripts.trial.phone import BaresipPhone
from scripts.trial.rootfs import CHECKOUT
from scripts.trial.wire import RtpCapture, Stream
from tests.conftest import MakePhone, StartAsterisk
from tests.fakes.line import RecordingLine
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone]

APP = "asterisk-ai-voice-agent"
AGENT_HZ = 700.0
CALLER_HZ = 400.0
ADDRESS = "127.0.0.1:8090"
"""Where the templates and the snippets expect the engine."""

TRIAL, PLAIN, SURVEY, WIDEBAND = "101", "301", "302", "303"
"""The trial's own extension, and ours for those of the snippet."""


def tone(hz: float, seconds: float, rate: int) -> bytes:
    times = np.arange(round(seconds * rate)) / rate
    return bytes((8000 * np.sin(2 * np.pi * hz * times)).astype("<i2").tobytes())


class Engine:
    """The engine's door, which takes every call."""

    def __init__(self) -> None:
        self.calls: list[DialplanCall] = []
        settings = AudioSocketSettings(port=0, dialplan_first=True)
        self.listener = AudioSocketListener(settings, TimerWheel(), self._take)

    def _take(self, connection: AudioSocketConnection) -> bool:
        self.calls.append(DialplanCall(connection))
        return True


class Scene:
    """One phone in one call, what is on the wire, and the agent's side."""

    def __init__(self, trial: Trial, phone: BaresipPhone, wire: RtpCapture, engine: Engine) -> None:
        self.trial = trial
        self.phone = phone
        self.heard: Stream = wire.to(phone.rtp_ports)
        self.line = RecordingLine()
        self._engine = engine

    async def dial(self, extension: str) -> DialplanCall:
        """Until the agent's tone, ten seconds of it, is heard by the phone."""
        await self.phone.dial(extension)
        await until(lambda: self._engine.calls)
        call = self._engine.calls[0]
        sound, size = tone(AGENT_HZ, 10, call.format.rate), call.format.frame_bytes
        self.line.to_send = [sound[start : start + size] for start in range(0, len(sound), size)]
        await call.answer()
        media = await call.transport.invite(call.format).connected({})
        media.attach(self.line)
        await self.heard.wait_tone(AGENT_HZ)
        return call

    async def say(self, directory: Path) -> None:
        wav = directory / "said.wav"
        with wave.open(str(wav), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(tone(CALLER_HZ, 1.0, RATE))
        await self.phone.say(wav)

    def agent_hears(self, hz: float, format: AudioFormat) -> bool:
        """Whether the last 200 ms from the caller are a tone."""
        pcm = np.frombuffer(b"".join(self.line.heard[-10:]), "<i2")[:: format.rate // RATE]
        return pcm.size >= RATE // 5 and np.abs(pcm).max() > 1000 and tone_level(pcm, hz) > 0.9

    async def human_comes(self, result: str) -> None:
        """The phone hears the human's tone, and Asterisk logs why."""
        await self.heard.wait_tone()
        assert f"Offhook left the call: {result}" in self.trial.log.read_text(encoding="utf-8")
        await self.phone.hang_up()
        await self.phone.wait_for("CALL_CLOSED")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    await engine.listener.start()
    yield engine
    await engine.listener.close()


def start(start_asterisk: StartAsterisk, address: str) -> Trial:
    """The trial's own dialplan and the snippet's, with the engine of both at ``address`` and the trial's human."""
    people = (TEMPLATES / "extensions.conf").read_text(encoding="utf-8")
    snippet = (CHECKOUT / "docs/snippets/extensions-audiosocket.conf").read_text(encoding="utf-8")
    assert ADDRESS in people
    assert ADDRESS in snippet
    assert "PJSIP/reception" in snippet
    doors = {PLAIN: "reception", SURVEY: "survey", WIDEBAND: "wideband"}
    ours = [f"exten => {number},1,Goto(offhook-audiosocket,{name},1)" for number, name in doors.items()]
    dialplan = "\n".join((people, snippet.replace("PJSIP/reception", "Local/human@offhook"), "[offhook](+)", *ours))
    return start_asterisk("dialplan", overlay={"extensions.conf": dialplan.replace(ADDRESS, address)})


@pytest.fixture
async def scene(
    start_asterisk: StartAsterisk, engine: Engine, make_phone: MakePhone, tmp_path: Path
) -> AsyncIterator[Scene]:
    trial = await asyncio.to_thread(start, start_asterisk, engine.listener.address)
    phone = await make_phone(trial)
    async with RtpCapture(trial.rtp_ports, tmp_path / "rtp.pcap") as wire:
        yield Scene(trial, phone, wire, engine)


async def all_events(call: DialplanCall) -> list[CallEvent]:
    async with asyncio.timeout(5):
        return [event async for event in call.events()]


async def test_the_two_talk_keys_arrive_and_the_caller_hangs_up(scene: Scene, tmp_path: Path) -> None:
    call = await scene.dial(TRIAL)
    assert call.format == SLIN8
    assert call.channel_id in scene.trial.cli("core show channels concise")
    await scene.say(tmp_path)
    await until(lambda: scene.agent_hears(CALLER_HZ, SLIN8))
    for digit in "5#":
        await scene.phone.send_digit(digit)
    events = call.events()
    async with asyncio.timeout(5):
        assert [await anext(events), await anext(events)] == [DigitReceived("5"), DigitReceived("#")]
    assert max(frame_gaps(scene.heard.packets)) < 100
    await scene.phone.hang_up()
    assert await all_events(call) == [CallerHungUp()]
    assert (scene.line.digits, scene.line.lost) == ([], [])
    await until(lambda: scene.trial.ari("GET", "/channels") == [], 5.0)


@pytest.mark.parametrize("extension", [TRIAL, PLAIN])
async def test_the_agent_hangs_up(scene: Scene, extension: str) -> None:
    call = await scene.dial(extension)
    await call.hang_up()
    await call.close()
    await scene.phone.wait_for("CALL_CLOSED")
    assert "Offhook left the call: SUCCESS" in scene.trial.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("extension", [TRIAL, PLAIN, SURVEY])
async def test_the_agent_hands_the_caller_on(scene: Scene, extension: str) -> None:
    call = await scene.dial(extension)
    await call.transfer("human", "s")
    await scene.human_comes("FAILED")
    assert await all_events(call) == []


async def test_an_agent_hangs_up_and_another_takes_over_by_ari(scene: Scene) -> None:
    account = f"{scene.trial.username}:{scene.trial.password}"
    url = f"ws://127.0.0.1:{scene.trial.http_port}/ari/events?app={APP}&api_key={account}"
    async with websockets.connect(url) as ari:
        call = await scene.dial(SURVEY)
        await call.hang_up()
        async with asyncio.timeout(5):
            event = json.loads(await ari.recv())
        assert event["type"] == "StasisStart"
        assert {"agent=survey", "after=audiosocket", f"uuid={call.channel_id}"} <= set(event["args"])
        scene.trial.ari("DELETE", f"/channels/{event['channel']['id']}")
        await scene.phone.wait_for("CALL_CLOSED")


async def test_wideband(scene: Scene, tmp_path: Path) -> None:
    call = await scene.dial(WIDEBAND)
    assert call.format == SLIN16
    await scene.say(tmp_path)
    await until(lambda: scene.agent_hears(CALLER_HZ, SLIN16))
    await scene.phone.send_digit("7")
    async with asyncio.timeout(5):
        assert await anext(call.events()) == DigitReceived("7")
    await call.transfer("", "")
    await scene.human_comes("ANSWER")


async def test_a_wideband_leg_that_was_taken_for_8_khz(scene: Scene, engine: Engine, tmp_path: Path) -> None:
    def take_too_soon(connection: AudioSocketConnection) -> bool:
        # As if the caller's first sound had been late.
        connection.agree(SLIN8)
        connection._guessed = True
        engine.calls.append(DialplanCall(connection))
        return True

    engine.listener.on_uninvited = take_too_soon
    call = await scene.dial(WIDEBAND)
    await scene.say(tmp_path)
    await until(lambda: scene.agent_hears(CALLER_HZ, SLIN8))
    await call.hang_up()
    await scene.human_comes("ANSWER")


@pytest.mark.parametrize("extension", [TRIAL, PLAIN, SURVEY, WIDEBAND])
async def test_no_engine_no_wait(scene: Scene, engine: Engine, extension: str) -> None:
    await engine.listener.close()
    await scene.phone.dial(extension)
    established = await scene.phone.wait_for("CALL_ESTABLISHED")
    assert await scene.heard.wait_tone() - established.at < 1


async def test_a_killed_engine_hands_its_caller_on(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", _ENGINE, stderr=asyncio.subprocess.PIPE)
    try:
        assert engine.stderr is not None
        address = (await engine.stderr.readline()).decode().strip()
        trial = await asyncio.to_thread(start, start_asterisk, address)
        phone = await make_phone(trial)
        async with RtpCapture(trial.rtp_ports, tmp_path / "rtp.pcap") as wire:
            await phone.dial(TRIAL)
            assert await engine.stderr.readline() == b"a call\n"
            engine.kill()
            await wire.to(phone.rtp_ports).wait_tone()
    finally:
        with suppress(ProcessLookupError):
            engine.kill()
        await engine.wait()


_ENGINE = """
import asyncio, sys
from ai_engine.transports.audiosocket import AudioSocketListener, AudioSocketSettings
from ai_engine.transports.dialplan import DialplanCall
from ai_engine.transports.wheel import TimerWheel

def take(connection):
    DialplanCall(connection)
    print("a call", file=sys.stderr)
    return True

async def main():
    listener = AudioSocketListener(AudioSocketSettings(port=0, dialplan_first=True), TimerWheel(), take)
    await listener.start()
    print(listener.address, file=sys.stderr)
    await asyncio.sleep(60)

asyncio.run(main())
"""
