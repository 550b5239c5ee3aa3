"""The media WebSocket of a real Asterisk: what a caller hears and when; and whether our stand-in tells the truth."""

import asyncio
import json
import time
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode
from uuid import uuid4

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.g711 import ulaw_to_pcm
from ai_engine.errors import PeerError
from ai_engine.session.ports import Leg, Line, Media
from ai_engine.transports.chan_websocket import ChanWebSocketSettings, ChanWebSocketTransport
from ai_engine.transports.chan_websocket_connection import ChanWebSocketConnection
from ai_engine.transports.wheel import TimerWheel
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import Trial
from scripts.trial.measure import MARKER_HZ, RtpPacket, decode, frame_gaps, is_tone, missing_packets, tone_level
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture, Stream
from tests.conftest import StartAsterisk
from tests.fakes.chan_websocket_server import ChanWebSocketServer
from tests.fakes.line import NotingLine
from tests.waiting import until

pytestmark = pytest.mark.asterisk

APP = "asterisk-ai-voice-agent"
FACT = "MEDIA_WEBSOCKET_CONNECTION_ID"

WORST_GAP_MS = 38
"""A frame that was missing makes one of 40."""

CODES = [code for code in range(256) if code & 0x7F != 0x7F]
"""G.711 values that are not silence: a frame of nothing but one of them arrives in RTP as it is."""


def voice(number: int) -> bytes:
    return ulaw_to_pcm(bytes([CODES[number % len(CODES)]])) * 160


def numbers(packets: Sequence[RtpPacket]) -> list[int]:
    """Which frames these are; silence is left out."""
    found = [packet.payload[0] for packet in packets if len(set(packet.payload)) == 1]
    return [CODES.index(code) for code in found if code in CODES]


async def packets(stream: Stream, count: int) -> None:
    """Wait until so many more were heard."""
    begin = len(stream.packets)
    await until(lambda: len(stream.packets) >= begin + count)


async def until_heard(stream: Stream, number: int) -> None:
    await until(lambda: number in numbers(stream.packets))


class Speaker(NotingLine):
    """A session whose voice is frames numbered from 0, or a tone."""

    def __init__(self, made: int = 0, frame: Callable[[int], bytes] = voice) -> None:
        super().__init__()
        self.made = made
        self.frame = frame
        self.given = 0
        self.given_at: dict[int, float] = {}
        self.held = False
        self.fade: bytes | None = None

    def next_frame(self) -> bytes | None:
        if self.fade is not None:
            fade, self.fade = self.fade, None
            return fade
        if self.held or self.given == self.made:
            return None
        self.given_at[self.given] = time.time()
        self.given += 1
        return self.frame(self.given - 1)

    def upcoming(self, frames: int) -> Sequence[bytes]:
        if self.fade is not None:
            return [self.fade]
        if self.held:
            return ()
        return [self.frame(number) for number in range(self.given, min(self.given + frames, self.made))]

    def hold(self, media: Media) -> None:
        self.held = True
        media.flush()


class Stage:
    """Our Stasis application, by bare requests; what it makes in Asterisk ends with it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.wheel = TimerWheel()
        self.transport = ChanWebSocketTransport(
            ChanWebSocketSettings(url=f"ws://127.0.0.1:{trial.http_port}"), self.wheel
        )
        self._arrived: list[Mapping[str, Any]] = []
        self._made: list[str] = []
        self._stack = AsyncExitStack()

    async def ari(self, method: str, path: str, **query: str) -> Any:
        query_string = f"?{urlencode(query)}" if query else ""
        return await asyncio.to_thread(self.trial.ari, method, path + query_string)

    async def make(self, leg: Leg) -> dict[str, str]:
        """Create the channel; returns the facts."""
        made = await self.ari(
            "POST",
            "/channels/externalMedia",
            app=APP,
            channelId=str(leg.uuid),
            external_host=leg.external_host,
            encapsulation=leg.encapsulation,
            transport=leg.transport,
            connection_type=leg.connection_type,
            format=leg.codec,
            transport_data=leg.transport_data,
        )
        self._made.append(f"/channels/{leg.uuid}")
        facts: dict[str, str] = made["channelvars"]
        return facts

    async def entered(self, accepts: Callable[[str], bool]) -> str:
        """The id of the first channel in our application that is wanted."""
        found: list[str] = []

        def look() -> bool:
            found.extend(
                event["channel"]["id"]
                for event in self._arrived
                if event["type"] == "StasisStart" and accepts(event["channel"]["id"])
            )
            return bool(found)

        await until(look)
        return found[0]

    async def media(self, line: Line, phone: BaresipPhone, format: AudioFormat = SLIN8) -> ChanWebSocketConnection:
        """A call of ``phone``, bridged with a media leg."""
        await phone.dial("100")
        caller = await self.entered(lambda id: True)
        invitation = self.transport.invite(format)
        media = await invitation.connected(await self.make(invitation.leg))
        leg = await self.entered(lambda id: id == str(invitation.leg.uuid))
        bridge = f"/bridges/{uuid4()}"
        await self.ari("POST", bridge, type="mixing")
        self._made.append(bridge)
        await self.ari("POST", f"{bridge}/addChannel", channel=f"{caller},{leg}")
        media.attach(line)
        return media

    async def __aenter__(self) -> Self:
        query = urlencode({"app": APP, "api_key": f"{self.trial.username}:{self.trial.password}"})
        url = f"ws://127.0.0.1:{self.trial.http_port}/ari/events?{query}"
        self._events = await self._stack.enter_async_context(connect(url, proxy=None))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.close()
        for path in reversed(self._made):
            with suppress(OSError):  # gone already, or Asterisk is
                await self.ari("DELETE", path)
        await self._stack.aclose()
        await self._reading
        assert self.wheel.seats == 0

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self._events:
                self._arrived.append(json.loads(message))


@pytest.fixture
async def stage(asterisk: Trial) -> AsyncIterator[Stage]:
    async with Stage(asterisk) as stage:
        yield stage
    await until(lambda: asterisk.ari("GET", "/channels") == [])
    assert asterisk.ari("GET", "/bridges") == []


# -- a call -----------------------------------------------------------------------------------------------


@pytest.mark.phone
async def test_the_caller_hears_every_frame_once_in_order_and_without_a_gap(
    stage: Stage, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    line = Speaker()
    await stage.media(line, phone)
    heard = rtp.to(phone.rtp_ports)
    for words in (100, 150, 200):
        await packets(heard, 20)
        line.made = words
        await until_heard(heard, words - 1)
    assert numbers(heard.packets) == list(range(200))
    for begin, end in ((0, 99), (100, 149), (150, 199)):
        spoken = [index for index, packet in enumerate(heard.packets) if numbers([packet])]
        reply = heard.packets[spoken[begin] : spoken[end] + 1]
        assert len(reply) == end - begin + 1, "nothing comes between"
        assert max(frame_gaps(reply)) < WORST_GAP_MS
    assert missing_packets(heard.packets) == 0
    assert stage.transport.counters["asterisk_errors"] == 0
    await phone.hang_up()


@pytest.mark.phone
async def test_the_callers_words_and_keys_arrive_in_order(stage: Stage, phone: BaresipPhone, tmp_path: Path) -> None:
    line = Speaker()
    await stage.media(line, phone)
    words = tmp_path / "words.wav"
    said = [voice(number) for number in range(20, 70)]
    with wave.open(str(words), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(frame * 3 for frame in said))
    await until(lambda: line.heard)
    await phone.say(words)
    loudest = said[-1][:2]
    await until(lambda: loudest in (frame[:2] for frame in line.heard))
    await until(lambda: line.heard[-1][:2] != loudest)
    samples = np.frombuffer(b"".join(line.heard), "<i2")
    runs = [(value, len(list(run))) for value, run in groupby(samples.tolist())]
    levels = [value for value, length in runs if length > 160 and value]
    assert [value for value, _ in groupby(levels) if value in {np.frombuffer(f, "<i2")[0] for f in said}] == [
        np.frombuffer(frame, "<i2")[0] for frame in said
    ]
    assert {len(frame) for frame in line.heard} == {320}
    await phone.send_digit("5")
    await until(lambda: line.digits)
    assert line.digits == ["5"]
    await phone.hang_up()


@pytest.mark.phone
async def test_nothing_of_what_was_sent_early_is_heard_after_a_flush(
    stage: Stage, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    line = Speaker(200)
    media = await stage.media(line, phone)
    heard = rtp.to(phone.rtp_ports)
    fade = 230
    for words in (40, 90):
        await until_heard(heard, words)
        line.fade = voice(fade)
        line.hold(media)
        at, given = time.time(), line.given
        await until(lambda: fade in numbers(heard.packets[-20:]))
        await until(lambda: not numbers(heard.packets[-5:]))
        before = [number for number in numbers(heard.packets) if number != fade]
        assert before[-1] in (given - 2, given - 1, given), "what was due, to about a frame"
        end = max(index for index, packet in enumerate(heard.packets) if numbers([packet]) == [fade])
        assert numbers(heard.packets[end - 1 : end]) == before[-1:], "it dies away without a hole before"
        assert heard.packets[end].at - heard.packets[end - 1].at < WORST_GAP_MS / 1000
        last = max(packet.at for packet in heard.packets if numbers([packet]) not in ([], [fade]))
        assert last - at < 0.02, "one frame may be on its way"
        line.held = False
    await until_heard(heard, 199)
    spoken = [number for number in numbers(heard.packets) if number != fade]
    assert spoken == sorted(set(spoken)), "nothing is heard twice"
    assert len(spoken) >= 198, "what was taken back is heard when it goes on, but for the frame that was due"
    await phone.hang_up()


@pytest.mark.phone
async def test_lag_is_what_the_wire_says(stage: Stage, phone: BaresipPhone, rtp: RtpCapture) -> None:
    line = Speaker()
    media = await stage.media(line, phone)
    heard = rtp.to(phone.rtp_ports)
    for words in (60, 120, 180):
        await packets(heard, 20)
        line.made = words
        await until_heard(heard, words - 1)
        played = {numbers([packet])[0]: packet.at for packet in heard.packets if numbers([packet])}
        lags = [(played[number] - line.given_at[number]) * 1000 for number in range(words - 30, words)]
        assert media.lag_ms == pytest.approx(sorted(lags)[15], abs=20)
        assert 0 <= media.lag_ms < 60
    await phone.hang_up()


@pytest.mark.phone
async def test_wideband(stage: Stage, phone: BaresipPhone, rtp: RtpCapture) -> None:
    def tone(number: int) -> bytes:
        samples = np.sin(2 * np.pi * MARKER_HZ / 16000 * (np.arange(320) + 320 * number)) * 8000
        return bytes(samples.astype("<i2").tobytes())

    line = Speaker(50, tone)
    media = await stage.media(line, phone, SLIN16)
    assert media.format == SLIN16
    heard = rtp.to(phone.rtp_ports)
    await until(lambda: sum(is_tone(packet) for packet in heard.packets) >= 45)
    pure = [packet for packet in heard.packets if is_tone(packet)]
    assert max(frame_gaps(pure)) < WORST_GAP_MS
    assert tone_level(np.concatenate([decode(packet.payload) for packet in pure]), MARKER_HZ) > 0.99
    await until(lambda: line.heard)
    assert {len(frame) for frame in line.heard} == {640}
    await phone.hang_up()


# -- how it ends ------------------------------------------------------------------------------------------


async def test_a_connection_is_given_once_and_only_to_who_knows_its_name(stage: Stage) -> None:
    invitation = stage.transport.invite(SLIN8)
    facts = await stage.make(invitation.leg)
    await invitation.connected(facts)
    with pytest.raises(PeerError, match="taken"):
        await stage.transport.invite(SLIN8).connected(facts)
    with pytest.raises(PeerError, match="knows no such connection"):
        await stage.transport.invite(SLIN8).connected({FACT: str(uuid4())})
    other = stage.transport.invite(SLIN8)
    with pytest.raises(PeerError, match="speaks slin16"):
        await other.connected(await stage.make(stage.transport.invite(SLIN16).leg))


async def test_closing_ends_the_leg_and_deleting_the_leg_is_a_loss(stage: Stage) -> None:
    line, invitation = Speaker(), stage.transport.invite(SLIN8)
    media = await invitation.connected(await stage.make(invitation.leg))
    media.attach(line)
    await stage.entered(lambda id: id == str(invitation.leg.uuid))
    media.close()
    async with asyncio.timeout(0.9):  # less than we linger: Asterisk answers a goodbye
        await media.lost.wait()
    assert line.lost == []

    invitation = stage.transport.invite(SLIN8)
    media = await invitation.connected(await stage.make(invitation.leg))
    media.attach(line)
    await stage.entered(lambda id: id == str(invitation.leg.uuid))
    await stage.ari("DELETE", f"/channels/{invitation.leg.uuid}")
    await until(lambda: line.lost)
    assert len(line.lost) == 1
    assert "closed by Asterisk" in line.lost[0]


async def test_an_asterisk_that_dies_is_a_loss(start_asterisk: StartAsterisk) -> None:
    trial = start_asterisk("ws-dies")
    async with Stage(trial) as stage:
        line, invitation = Speaker(), stage.transport.invite(SLIN8)
        media = await invitation.connected(await stage.make(invitation.leg))
        media.attach(line)
        await asyncio.to_thread(trials.kill, trial.instance)
        await until(lambda: line.lost)
        assert len(line.lost) == 1
        with pytest.raises(PeerError, match="cannot be reached"):
            await stage.transport.invite(SLIN8).connected({FACT: str(uuid4())})


# -- the stand-in of tests/fakes, asked the same as the real one --------------------------------------------


class Interview:
    """A bare WebSocket, and what came on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self.socket:
                if isinstance(message, str):
                    self.events.append(json.loads(message))

    async def send(self, command: str, **fields: str) -> None:
        await self.socket.send(json.dumps({"command": command, **fields}))

    async def event(self, name: str, **fields: str) -> dict[str, Any]:
        """The first that came or comes; it is taken away, with all before it."""
        at: list[int] = []

        def look() -> bool:
            at.extend(
                index
                for index, event in enumerate(self.events)
                if event["event"] == name and fields.items() <= event.items()
            )
            return bool(at)

        await until(look)
        found = self.events[at[0]]
        del self.events[: at[0] + 1]
        return found

    async def queue_length(self) -> int:
        await self.send("GET_STATUS")
        return int((await self.event("STATUS"))["queue_length"])


@pytest.fixture(params=["real", "fake"])
async def interview(request: pytest.FixtureRequest, asterisk: Trial) -> AsyncIterator[Interview]:
    async with AsyncExitStack() as stack:
        if request.param == "real":
            stage = await stack.enter_async_context(Stage(asterisk))
            leg = stage.transport.invite(SLIN8).leg
            url = f"ws://127.0.0.1:{asterisk.http_port}"
            id = (await stage.make(leg))[FACT]
        else:
            server = await stack.enter_async_context(ChanWebSocketServer())
            url, id = server.url, server.create_leg().id
        socket = await connect(f"{url}/media/{id}", subprotocols=["media"], compression=None, proxy=None)  # type: ignore[list-item]
        asked = Interview(await stack.enter_async_context(socket))
        started = await asked.event("MEDIA_START")
        assert (started["connection_id"], started["format"]) == (id, "slin")
        assert (started["optimal_frame_size"], started["ptime"]) == (320, 20)
        if request.param == "real":
            await stage.entered(lambda id: id == str(leg.uuid))
        yield asked
        await asked.socket.close()
        await asked.reading


async def test_one_frame_is_played_every_20_ms_and_marks_tell_when(interview: Interview) -> None:
    for number in range(26):
        await interview.send("MARK_MEDIA", correlation_id=f"m{number}")
        if number < 25:
            await interview.socket.send(voice(number))
    times = []
    for number in range(26):
        await interview.event("MEDIA_MARK_PROCESSED", correlation_id=f"m{number}")
        times.append(time.monotonic())
    assert times[-1] - times[0] == pytest.approx(0.5, abs=0.2)


async def test_a_flush_empties_the_queue_and_forgets_its_marks(interview: Interview) -> None:
    await interview.socket.send(bytes(320 * 40))
    await interview.send("MARK_MEDIA", correlation_id="lost")
    assert 35 <= await interview.queue_length() <= 41, "a real one counts the mark as well"
    await interview.send("FLUSH_MEDIA")
    assert await interview.queue_length() == 0
    await interview.send("MARK_MEDIA", correlation_id="kept")
    assert (await interview.event("MEDIA_MARK_PROCESSED"))["correlation_id"] == "kept"


async def test_what_is_no_whole_frame_is_dropped(interview: Interview) -> None:
    await interview.send("PAUSE_MEDIA")
    await interview.socket.send(bytes(100))
    assert await interview.queue_length() == 0
    await interview.socket.send(bytes(750))
    assert await interview.queue_length() == 2
    await interview.send("CONTINUE_MEDIA")
    await interview.send("REPORT_QUEUE_DRAINED")
    await interview.event("QUEUE_DRAINED")


async def test_commands_that_are_none(interview: Interview) -> None:
    await interview.send("MARK_MEDIA", correlation_id="x" * 128)
    await interview.send("NONSENSE")
    await interview.socket.send("{bad")
    assert await interview.event("ERROR")
    await interview.send("MARK_MEDIA", correlation_id="y")
    assert (await interview.event("MEDIA_MARK_PROCESSED"))["correlation_id"] == "y"


async def test_a_queue_that_is_full_says_so_and_drops_the_rest(interview: Interview) -> None:
    for _ in range(11):
        await interview.socket.send(bytes(320 * 50))
    assert 530 <= await interview.queue_length() <= 550
    assert interview.events == []
    for _ in range(13):
        await interview.socket.send(bytes(320 * 50))
    await interview.event("MEDIA_XOFF")
    length = await interview.queue_length()
    assert 980 <= length < 1000 + 50  # a message is taken whole, or not at all
    await interview.send("FLUSH_MEDIA")
    await interview.event("MEDIA_XON")
    assert await interview.queue_length() == 0
