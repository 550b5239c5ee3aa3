"""Sentences as files, on a real Asterisk and heard by a real phone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.file_voice import FileVoice
from ai_engine.transports.sound_files import SoundFiles, SoundFilesSettings
from scripts.trial.asterisk import Trial
from scripts.trial.measure import PCMU, RATE, RtpPacket, decode, frame_gaps, is_tone, is_voice
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone]

APP = "asterisk-ai-voice-agent"
FIRST, SECOND, THIRD = 500.0, 900.0, 1300.0
"""Hertz by which a sentence is known."""

SETTLED_SECONDS = 0.2
"""What was asked of Asterisk is heard, or silent, after this."""


def tone(hz: float, ms: int, rate: int = RATE) -> bytes:
    return (np.sin(2 * np.pi * hz * np.arange(rate * ms // 1000) / rate) * 9000).astype("<i2").tobytes()


class AriPlayer:
    """Implements ``Player`` with bare requests; ``on_end`` hears of the end of playbacks."""

    def __init__(self, trial: Trial) -> None:
        self.channel = ""
        self.left = asyncio.Event()
        self.on_end: Callable[[str, bool], None] = lambda playback_id, failed: None
        self.ended: list[tuple[str, bool]] = []
        self._url = trial.ari_url
        self._key = f"{trial.username}:{trial.password}"
        self._http = aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(trial.username, trial.password)}
        )
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["AriPlayer"]:
        async with self._http, self._http.ws_connect(f"{self._url}/events?app={APP}&api_key={self._key}") as socket:
            reading = asyncio.create_task(self._read(socket))
            try:
                yield self
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    async def caller(self) -> None:
        """Wait for one, who then stays without a sign of life."""
        async with asyncio.timeout(10):
            await self._arrived.wait()
        await self.ask("POST", f"/channels/{self.channel}/variable", variable="TIMEOUT(absolute)", value="0")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            match message.json():
                case {"type": "StasisStart", "channel": {"id": channel}}:
                    self.channel = channel
                    self._arrived.set()
                case {"type": "StasisEnd"}:
                    self.left.set()
                case {"type": "PlaybackFinished", "playback": {"id": playback_id, "state": state}}:
                    self.ended.append((playback_id, state == "failed"))
                    self.on_end(playback_id, state == "failed")

    async def ask(self, method: str, path: str, **query: str) -> None:
        async with self._http.request(method, self._url + path, params=query) as answer:
            if answer.status >= 400:
                raise AsteriskError(f"{method} {path}: {await answer.text()}", answer.status)

    async def play(self, playback_id: str, uri: str) -> None:
        await self.ask("POST", f"/channels/{self.channel}/play/{playback_id}", media=uri)

    async def pause_playback(self, playback_id: str) -> None:
        await self.ask("POST", f"/playbacks/{playback_id}/control", operation="pause")

    async def resume_playback(self, playback_id: str) -> None:
        await self.ask("POST", f"/playbacks/{playback_id}/control", operation="unpause")

    async def stop_playback(self, playback_id: str) -> None:
        try:
            await self.ask("DELETE", f"/playbacks/{playback_id}")
        except AsteriskError as error:
            if error.status != 404:
                raise CallGone(str(error)) from error


class Call:
    """A voice in a call, its clock, and what the phone hears of it."""

    def __init__(
        self, player: AriPlayer, phone: BaresipPhone, rtp: RtpCapture, settings: SoundFilesSettings, format: AudioFormat
    ) -> None:
        self.player = player
        self.directory = settings.directory
        self.files = SoundFiles(settings)
        self.counted: list[bytes] = []
        self.started: list[int] = []
        self.drained: list[int] = []
        self.failed: list[str] = []
        self.voice = FileVoice(
            "call-1.5",
            format,
            self.files,
            player,
            self._spawn,
            self.started.append,
            self.drained.append,
            self.failed.append,
        )
        player.on_end = self.voice.playback_ended
        self._heard = rtp.to(phone.rtp_ports)
        self._tasks: set[asyncio.Task[None]] = set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def tick(self) -> None:
        """The metronome; for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if (frame := self.voice.pull()) is not None:
                self.counted.append(frame)
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    def say(self, reply: int, *sentences: bytes) -> None:
        self.voice.begin(reply)
        for pcm in sentences:
            self.voice.push(reply, pcm)
            self.voice.end_sentence(reply)
        self.voice.finish(reply)

    def packets(self) -> list[RtpPacket]:
        """What the phone was sent."""
        return [packet for packet in self._heard.packets if packet.payload_type == PCMU]

    def order(self) -> list[float]:
        """The tones, as they came one after the other."""
        tones = (next((hz for hz in (FIRST, SECOND, THIRD) if is_tone(packet, hz)), 0.0) for packet in self.packets())
        return [hz for hz, _ in groupby(tones) if hz]

    def voiced_after(self, at: float) -> int:
        """Milliseconds of sound that came later than epoch second ``at``."""
        return 20 * sum(is_voice(packet) for packet in self.packets() if packet.at > at)

    def sounds(self) -> list[Path]:
        return [path for path in self.directory.iterdir() if path.suffix != ".lock"]

    async def heard(self, ms: int) -> None:
        """Return when so much was counted."""
        await until(lambda: len(self.counted) * 20 >= ms)


@pytest.fixture
async def player(asterisk: Trial) -> AsyncIterator[AriPlayer]:
    async with AriPlayer(asterisk).listening() as listening:
        yield listening


@asynccontextmanager
async def call_of(
    player: AriPlayer,
    phone: BaresipPhone,
    rtp: RtpCapture,
    settings: SoundFilesSettings,
    format: AudioFormat = SLIN8,
) -> AsyncIterator[Call]:
    call = Call(player, phone, rtp, settings, format)
    await call.files.open()
    await phone.dial("100")
    await player.caller()
    ticking = asyncio.create_task(call.tick())
    try:
        yield call
    finally:
        ticking.cancel()
        call.voice.close()
        await call.files.close()
        with suppress(AsteriskError):
            await player.ask("DELETE", f"/channels/{player.channel}")
        async with asyncio.timeout(5):
            await player.left.wait()


@pytest.fixture
async def call(player: AriPlayer, phone: BaresipPhone, rtp: RtpCapture, tmp_path: Path) -> AsyncIterator[Call]:
    async with call_of(player, phone, rtp, SoundFilesSettings(tmp_path / "media")) as opened:
        yield opened


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
async def test_sentences_are_heard_one_after_the_other(
    player: AriPlayer, phone: BaresipPhone, rtp: RtpCapture, tmp_path: Path, format: AudioFormat
) -> None:
    async with call_of(player, phone, rtp, SoundFilesSettings(tmp_path / "media"), format) as call:
        call.say(1, *(tone(hz, 1500, format.rate) for hz in (FIRST, SECOND, THIRD)))
        await until(lambda: call.drained == [1])
        await asyncio.sleep(SETTLED_SECONDS)
        assert call.order() == [FIRST, SECOND, THIRD]
        assert sum(len(packet.payload) for packet in call.packets()) == 3 * 1500 * 8
        assert len(call.counted) == pytest.approx(225, abs=3)
        gaps = frame_gaps(call.packets())
        print(f"between sentences: {gaps[74]:.1f} and {gaps[149]:.1f} ms, the longest anywhere {max(gaps):.1f} ms")
        assert max(gaps) < 200
        await until(lambda: call.sounds() == [])
        assert (call.started, call.failed, call.voice.overdue) == ([1], [], 0)


async def test_hold_falls_silent_and_resume_goes_on_where_it_was(call: Call) -> None:
    steps = [300.0 + 100 * step for step in range(20)]
    spoken = b"".join(tone(hz, 100) for hz in steps)
    call.say(1, spoken)
    await call.heard(700)
    call.voice.hold()
    held_at = time.time()
    await asyncio.sleep(1.0)
    before = len(call.packets())
    last = call.packets()[-1].at
    print(f"silent {(last - held_at) * 1000:.0f} ms after hold")
    assert last - held_at < SETTLED_SECONDS
    assert before == pytest.approx(len(call.counted), abs=2)
    call.voice.resume()
    await until(lambda: call.drained == [1])
    await asyncio.sleep(SETTLED_SECONDS)
    assert len(call.packets()) == pytest.approx(100, abs=2)
    pcm = b"".join(decode(packet.payload).tobytes() for packet in call.packets())
    heard = [hz for hz, run in groupby(pure_tones(pcm, steps)) if len(list(run)) >= 2]
    assert heard == steps


def pure_tones(pcm: bytes, steps: list[float]) -> list[float]:
    """The step each 20 ms belong to."""
    frames = np.frombuffer(pcm, "<i2").reshape(-1, 160)
    return [
        min(steps, key=lambda hz: abs(hz - RATE * np.abs(np.fft.rfft(frame, 1600)).argmax() / 1600)) for frame in frames
    ]


@pytest.mark.parametrize("heard_ms", [300, 1480, 1500])
async def test_stop_silences_what_sounds_and_what_waits_in_asterisk(call: Call, heard_ms: int) -> None:
    call.say(1, tone(FIRST, 1500), tone(SECOND, 1500), tone(THIRD, 1500))
    await call.heard(heard_ms)
    stopped_at = time.time()
    cuts = call.voice.stop()
    await asyncio.sleep(1.0)
    print(f"silent {(call.packets()[-1].at - stopped_at) * 1000:.0f} ms after stop")
    assert call.voiced_after(stopped_at + SETTLED_SECONDS) == 0
    assert cuts[0].heard_ms == pytest.approx(20 * len(call.packets()), abs=60)
    assert THIRD not in call.order()
    assert call.sounds() == []
    call.say(2, tone(THIRD, 500))
    await until(lambda: call.drained == [2])
    await asyncio.sleep(SETTLED_SECONDS)
    assert call.order()[-1] == THIRD
    assert call.failed == []


@pytest.mark.parametrize("heard_ms", [580, 600])
async def test_hold_between_two_sentences(call: Call, heard_ms: int) -> None:
    call.say(1, tone(FIRST, 600), tone(SECOND, 600))
    await call.heard(heard_ms)
    call.voice.hold()
    held_at = time.time()
    await asyncio.sleep(0.8)
    assert call.voiced_after(held_at + SETTLED_SECONDS) == 0
    call.voice.resume()
    await until(lambda: call.drained == [1])
    await asyncio.sleep(SETTLED_SECONDS)
    assert call.order() == [FIRST, SECOND]
    assert len(call.packets()) == pytest.approx(60, abs=2)
    assert call.failed == []


async def test_asterisk_does_not_see_the_directory(
    player: AriPlayer, phone: BaresipPhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    settings = SoundFilesSettings(tmp_path / "media", as_seen_by_asterisk=Path("/nowhere"))
    async with call_of(player, phone, rtp, settings) as call:
        call.say(1, tone(FIRST, 500), tone(SECOND, 500))
        await until(lambda: call.failed)
        assert call.started == []
        (unheard,) = call.voice.surrender()
        assert unheard.pcm == tone(FIRST, 500) + tone(SECOND, 500)


async def test_a_hangup_in_mid_sentence_is_no_failure_of_the_voice(call: Call, phone: BaresipPhone) -> None:
    call.say(1, tone(FIRST, 2000))
    await call.heard(400)
    await phone.hang_up()
    async with asyncio.timeout(5):
        await call.player.left.wait()
    assert call.player.ended == [(call.player.ended[0][0], True)]
    assert call.failed == []
