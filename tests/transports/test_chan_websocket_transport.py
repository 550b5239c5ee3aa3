"""The media WebSocket over real loopback sockets: with a stand-in for Asterisk, and with peers that do not behave."""

import asyncio
import gc
import json
import os
import socket
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType

import numpy as np
import pytest
from structlog.testing import capture_logs

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.playout import Playout
from ai_engine.errors import PeerError
from ai_engine.session.ports import Invitation, Line, Media, Topology, Transport
from ai_engine.transports.chan_websocket import (
    ChanWebSocketInvitation,
    ChanWebSocketSettings,
    ChanWebSocketTransport,
)
from ai_engine.transports.chan_websocket_connection import ChanWebSocketConnection
from ai_engine.transports.wheel import TimerWheel
from tests.fakes.chan_websocket_server import ChanWebSocketServer, FakeLeg, Played
from tests.fakes.line import NotingLine
from tests.waiting import until

FACT = "MEDIA_WEBSOCKET_CONNECTION_ID"
SILENCE = bytes(320)


def voice(number: int) -> bytes:
    return number.to_bytes(2, "little") * 160


def numbers(frames: Sequence[bytes]) -> list[int]:
    return [int.from_bytes(frame[:2], "little") for frame in frames]


class Speaker(NotingLine):
    """A session whose voice is frames numbered from 1, and which notes what comes."""

    def __init__(self, made: int = 0) -> None:
        super().__init__()
        self.made = made
        self.given: list[int] = []
        self.given_at: dict[int, float] = {}
        self.asked = 0
        self.held = False
        self.fade: bytes | None = None

    def next_frame(self) -> bytes | None:
        self.asked += 1
        if self.fade is not None:
            frame, self.fade = self.fade, None
            return frame
        number = len(self.given) + 1
        if self.held or number > self.made:
            return None
        self.given.append(number)
        self.given_at[number] = time.monotonic()
        return voice(number)

    def upcoming(self, frames: int) -> Sequence[bytes]:
        if self.fade is not None:
            return [self.fade]
        first = len(self.given) + 1
        return [] if self.held else [voice(number) for number in range(first, min(first + frames, self.made + 1))]

    def hold(self, media: Media) -> None:
        """As a session does."""
        self.held = True
        media.flush()


def fits_its_ports(
    transport: ChanWebSocketTransport, invitation: ChanWebSocketInvitation, media: ChanWebSocketConnection
) -> tuple[Transport, Invitation, Media]:
    """For mypy."""
    return transport, invitation, media


class Door:
    """A transport, and an Asterisk to connect to."""

    def __init__(self, path: str = "", **settings: object) -> None:
        self.server = ChanWebSocketServer(path)
        self.wheel = TimerWheel()
        self._settings = settings

    async def call(
        self, line: Line | None = None, leg: FakeLeg | None = None, format: AudioFormat = SLIN8
    ) -> tuple[ChanWebSocketConnection, FakeLeg]:
        """A leg and the connection to it."""
        leg = leg or self.server.create_leg()
        media = await self.transport.invite(format).connected(leg.facts)
        if line is not None:
            media.attach(line)
        return media, leg

    def count(self, name: str) -> int:
        return self.transport.counters[name]

    async def __aenter__(self) -> "Door":
        await self.server.__aenter__()
        settings = ChanWebSocketSettings(**{"url": self.server.url, **self._settings})  # type: ignore[arg-type]
        self.transport = ChanWebSocketTransport(settings, self.wheel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.close()
        await self.server.__aexit__(kind, error, trace)
        assert self.wheel.seats == 0
        assert self.transport.connections == 0


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door() as door:
        yield door


async def grows(count: Callable[[], int], by: int) -> None:
    """Wait until there are so many more."""
    begin = count()
    await until(lambda: count() >= begin + by)


def from_first_to_last_word(leg: FakeLeg) -> list[Played]:
    spoken = [index for index, played in enumerate(leg.played) if played.sound and any(played.sound)]
    return leg.played[spoken[0] : spoken[-1] + 1]


# -- a call -----------------------------------------------------------------------------------------------


async def test_what_asterisk_is_asked_for(door: Door) -> None:
    assert (door.transport.name, door.transport.topology) == ("websocket", Topology.BRIDGED)
    narrow, wide = door.transport.invite(SLIN8).leg, door.transport.invite(SLIN16).leg
    assert narrow.uuid != wide.uuid
    assert (narrow.codec, wide.codec) == ("slin", "slin16")
    assert (narrow.external_host, narrow.encapsulation, narrow.transport) == ("INCOMING", "none", "websocket")
    assert (narrow.connection_type, narrow.data, narrow.transport_data) == ("server", "", "f(json)")
    with pytest.raises(ValueError, match="24000"):
        door.transport.invite(AudioFormat(24000))


async def test_silence_flows_from_the_start_on(door: Door) -> None:
    media, leg = await door.call()
    assert (media.format, media.transport, media.lag_ms) == (SLIN8, "websocket", 0.0)
    assert (door.count("accepted"), door.transport.connections, door.wheel.seats) == (1, 1, 1)
    await until(lambda: len(leg.messages) >= 10)
    assert set(leg.messages) == {SILENCE}


async def test_sound_and_digits_go_both_ways(door: Door) -> None:
    line = Speaker(50)
    _, leg = await door.call(line)
    for number in range(1, 6):
        leg.speak(voice(number))
    leg.press("5")
    await until(lambda: len(line.heard) == 5 and line.digits)
    assert numbers(line.heard) == [1, 2, 3, 4, 5]
    assert line.digits == ["5"]
    await until(lambda: len(leg.heard) == 50)
    assert numbers(leg.heard) == list(range(1, 51))


async def test_frames_of_another_length_and_in_fragments_are_cut_to_20_ms(door: Door) -> None:
    line = Speaker()
    _, leg = await door.call(line)
    leg.speak(voice(1) + voice(2)[:100])
    leg.speak(voice(2)[100:])
    assert leg.socket is not None
    await leg.socket.send([voice(3)[:5], voice(3)[5:]])
    await leg.socket.send(['{"event":"DTMF_END",', '"digit":"7"}'])
    await until(lambda: line.digits)
    assert line.heard == [voice(1), voice(2), voice(3)]


async def test_wideband(door: Door) -> None:
    line = Speaker()
    media, leg = await door.call(line, door.server.create_leg("slin16"), SLIN16)
    assert media.format == SLIN16
    leg.speak(bytes(640))
    await until(lambda: line.heard and leg.messages)
    assert line.heard == [bytes(640)]
    assert leg.messages[0] == bytes(640)


async def test_an_http_server_with_a_prefix() -> None:
    async with Door("/asterisk") as door:
        _, leg = await door.call()
        await until(lambda: leg.messages)


async def test_asterisk_that_speaks_plain_text(door: Door) -> None:
    line = Speaker(30)
    media, leg = await door.call(line, door.server.create_leg(is_json=False))
    await until(lambda: len(leg.heard) >= 5)
    line.hold(media)
    leg.press("*")
    await until(lambda: leg.commands and line.digits)
    assert line.digits == ["*"]
    assert {command["command"] for command in leg.commands} == {"FLUSH_MEDIA"}
    assert media.lag_ms == 0


# -- ahead of time ----------------------------------------------------------------------------------------


async def test_a_reply_begins_in_one_burst_and_never_runs_dry(door: Door) -> None:
    line = Speaker()
    _, leg = await door.call(line)
    await until(lambda: len(leg.messages) >= 5)
    line.made = 100
    await until(lambda: 1 in line.given)
    await until(lambda: any(isinstance(message, bytes) and len(message) > 320 for message in leg.messages))
    burst = next(message for message in leg.messages if isinstance(message, bytes) and len(message) > 320)
    assert burst == b"".join(voice(number) for number in range(1, 7)), "the frame that is due and 100 ms more"
    while len(line.given) < 90:
        await grows(lambda: len(line.given), 1)
        assert 2 <= leg.frames_waiting <= 7
    await until(lambda: len(leg.heard) == 100)
    assert [played.sound for played in from_first_to_last_word(leg)] == [voice(number) for number in range(1, 101)]
    assert line.asked - len(line.given) < 40, "asked once for each frame"


async def test_silence_that_waits_does_not_delay_a_reply(door: Door) -> None:
    line = Speaker()
    media, leg = await door.call(line)
    await until(lambda: len(leg.messages) >= 5)
    leg.queue.extend([SILENCE] * 50)  # a leg that was not read for a second
    line.made = 20
    await until(lambda: len(leg.heard) >= 10)
    first = next(played for played in leg.played if played.sound == voice(1))
    assert first.at - line.given_at[1] < 0.06
    assert media.lag_ms < 60


async def test_a_hitch_of_ours_is_not_heard(door: Door) -> None:
    line = Speaker(100)
    _, leg = await door.call(line)
    await until(lambda: len(line.given) >= 20)
    time.sleep(0.07)  # noqa: ASYNC251 - the whole process stands still
    await until(lambda: len(leg.heard) == 100)
    assert [played.sound for played in from_first_to_last_word(leg)] == [voice(number) for number in range(1, 101)]


async def test_after_a_hitch_what_was_heard_is_still_known(door: Door) -> None:
    line = Speaker(300)
    media, leg = await door.call(line)
    await until(lambda: len(line.given) >= 20)
    time.sleep(0.4)  # noqa: ASYNC251 - the whole process stands still
    await until(lambda: len(line.given) >= 60)
    assert numbers(leg.heard) == list(range(1, len(leg.heard) + 1))
    assert abs(len(line.given) - media.lag_ms / 20 - len(leg.heard)) <= 2


# -- taking back ------------------------------------------------------------------------------------------


async def test_nothing_that_was_sent_early_is_heard_after_a_flush(door: Door) -> None:
    line = Speaker(100)
    media, leg = await door.call(line)
    await until(lambda: len(line.given) >= 20)
    given, fade = len(line.given), voice(999)
    line.fade = fade
    line.hold(media)
    await until(lambda: fade in leg.heard)
    await until(lambda: leg.played[-1].sound == SILENCE)
    heard = numbers(leg.heard)
    last = heard[-2]
    # At the very tick of Asterisk nobody can know whether the frame is out: then it is heard twice, never not at all.
    assert heard in ([*range(1, last + 1), 999], [*range(1, last + 1), last, 999])
    # One more may be played before the flush arrives; what was due but not played yet is lost with the rest.
    assert given - 3 <= last <= given + 1

    line.held = False
    await until(lambda: len(line.given) == 100 and leg.played[-1].sound == SILENCE)
    after = numbers(leg.heard)[len(heard) :]
    assert after == list(range(given + 1, 101)), "what was taken back is heard when it goes on"


class Hummer(Speaker):
    """A session whose voice is a ``Playout``, with a hum in which no two samples are far apart."""

    STEP = 1800

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(SLIN8)
        self.playout.begin(1)
        self.playout.push(1, (10000 * np.sin(2 * np.pi * 213 * np.arange(8000 * 30) / 8000)).astype("<i2").tobytes())

    def next_frame(self) -> bytes | None:
        self.asked += 1
        return self.playout.pull()

    def upcoming(self, frames: int) -> Sequence[bytes]:
        return self.playout.upcoming(frames)

    def hold(self, media: Media) -> None:
        self.playout.hold()
        media.flush()


async def just_after(count: Callable[[], int]) -> None:
    """Wait until there is one more, and 4 ms longer."""
    begin = count()
    async with asyncio.timeout(5):
        while count() == begin:  # noqa: ASYNC110 - the very moment matters
            await asyncio.sleep(0)
    await asyncio.sleep(0.004)


async def test_a_sound_that_is_held_dies_away_without_a_click(door: Door) -> None:
    line = Hummer()
    media, leg = await door.call(line)
    await grows(lambda: line.asked, 30)
    leg.pause_seconds = (10 - media.lag_ms) % 20 / 1000  # played half-way between two ticks of ours
    await grows(lambda: line.asked, 40)
    begin = len(leg.played)
    for event in (lambda: line.asked, lambda: len(leg.played)) * 3:
        await just_after(event)
        line.hold(media)
        await grows(lambda: len(leg.played), 5)
        assert leg.played[-1].sound == SILENCE
        line.playout.resume()
        await grows(lambda: line.asked, 15)
    heard = np.frombuffer(b"".join(played.sound or SILENCE for played in leg.played[begin:]), "<i2").astype(int)
    assert np.abs(np.diff(heard)).max() < Hummer.STEP
    assert 0 < media.lag_ms < 20


async def test_a_flush_with_nothing_early_says_nothing(door: Door) -> None:
    line = Speaker()
    media, leg = await door.call(line)
    media.flush()
    await until(lambda: len(leg.messages) >= 5)
    assert leg.commands == []
    media.close()
    media.flush()


async def test_another_line_takes_over(door: Door) -> None:
    first, second = Speaker(100), Speaker(30)
    media, leg = await door.call(first)
    await until(lambda: len(first.given) >= 10)
    media.attach(second)
    asked = first.asked
    await until(lambda: len(second.given) == 30)
    assert first.asked == asked


# -- what was heard ---------------------------------------------------------------------------------------


async def test_lag_is_what_a_stopwatch_says(door: Door) -> None:
    line = Speaker(200)
    media, leg = await door.call(line)
    measured = []
    for late_frames in (0, 3):
        leg.queue.extendleft([SILENCE] * late_frames)  # Asterisk falls behind
        await grows(lambda: len(line.given), 45)
        played = {number: at for at, sound in leg.played if sound for number in numbers([sound])}
        last = min(numbers(leg.heard)[-1], len(line.given))
        true_ms = sorted((played[number] - line.given_at[number]) * 1000 for number in range(last - 10, last - 1))
        assert media.lag_ms == pytest.approx(max(0.0, true_ms[4]), abs=20)
        measured.append(media.lag_ms)
    assert measured[1] - measured[0] == pytest.approx(60, abs=20)


async def test_marks_are_few_and_short(door: Door) -> None:
    line = Speaker(50)
    _, leg = await door.call(line)
    await until(lambda: len(leg.heard) == 50 and leg.played[-1].sound == SILENCE)
    marks = [message for message in leg.messages if isinstance(message, str) and "MARK_MEDIA" in message]
    assert 9 <= len(marks) <= 12
    assert max(map(len, marks)) < 60


# -- a queue that is full ---------------------------------------------------------------------------------


async def test_nothing_is_asked_for_while_the_queue_is_full(door: Door) -> None:
    line = Speaker(100)
    _, leg = await door.call(line)
    await until(lambda: len(line.given) >= 10)
    leg.tell("MEDIA_XOFF")
    await until(lambda: door.count("xoff"))
    asked, messages = line.asked, len(leg.messages)
    await grows(lambda: len(leg.played), 10)
    assert (line.asked, len(leg.messages)) == (asked, messages)
    leg.tell("MEDIA_XON")
    await until(lambda: len(leg.heard) == 100)
    assert numbers(leg.heard) == list(range(1, 101))


async def test_a_queue_that_stays_full_is_a_loss(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.SLOW_SECONDS", 0.2)
    line = Speaker()
    _, leg = await door.call(line)
    leg.paused = True
    for _ in range(9):
        leg._enqueue(bytes(320 * 100))
    await until(lambda: line.lost)
    assert line.lost == ["Asterisk's queue stays full"]
    assert (door.count("xoff"), door.count("slow_peers")) == (1, 1)


async def test_a_queue_that_gets_room_in_time_is_none(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.SLOW_SECONDS", 0.3)
    line = Speaker()
    _, leg = await door.call(line)
    for _ in range(3):
        leg.tell("MEDIA_XOFF")
        leg.tell("MEDIA_XON")
    await grows(lambda: len(leg.played), 20)
    assert line.lost == []


# -- how it ends ------------------------------------------------------------------------------------------


async def test_we_say_goodbye(door: Door) -> None:
    line = Speaker()
    media, leg = await door.call(line)
    media.close()
    media.close()
    assert door.wheel.seats == 0
    await until(lambda: door.transport.connections == 0)
    await until(lambda: leg.close_code is not None)
    assert leg.close_code == 1000
    assert line.lost == []
    media.attach(line)
    await asyncio.sleep(0)
    assert line.lost == []


async def test_asterisk_says_goodbye(door: Door) -> None:
    line = Speaker()
    media, leg = await door.call(line)
    assert leg.socket is not None
    await leg.socket.close(1000)
    await until(lambda: line.lost)
    media.close()
    assert len(line.lost) == 1
    assert "closed by Asterisk (1000" in line.lost[0]
    assert door.count("protocol_errors") == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_asterisk_is_gone_without_a_word(door: Door, reset: bool) -> None:
    line = Speaker()
    media, leg = await door.call(line)
    assert leg.socket is not None
    if reset:
        leg.socket.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
    leg.socket.transport.abort()
    await until(lambda: line.lost)
    media.close()
    assert len(line.lost) == 1


@pytest.mark.parametrize("ends", ["full", "said goodbye"])
async def test_nothing_remembers_a_connection_that_is_gone(
    door: Door, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.SLOW_SECONDS", 60.0)
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.LINGER_SECONDS", 60.0)
    media, leg = await door.call(Speaker())
    assert leg.socket is not None
    if ends == "full":
        leg.tell("MEDIA_XOFF")
        await until(lambda: door.count("xoff"))
        leg.socket.transport.abort()
    else:
        media.close()
    gone = weakref.ref(media)
    del media
    await until(lambda: gc.collect() >= 0 and gone() is None)


async def test_a_line_attached_to_a_lost_connection_hears_of_it(door: Door) -> None:
    media, leg = await door.call()
    assert leg.socket is not None
    await leg.socket.close(1001)
    await until(lambda: door.transport.connections == 0)
    line = Speaker()
    media.attach(line)
    await until(lambda: line.lost)
    assert len(line.lost) == 1


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        pytest.param("hello", "no event", id="text"),
        pytest.param("{", "no JSON", id="half JSON"),
        pytest.param("[" * 60_000, "no JSON", id="deep JSON"),
        pytest.param('{"event":"MEDIA_MARK_PROCESSED"}', "correlation_id", id="nameless mark"),
        pytest.param(b"\1\2\3", "inside a sample", id="half a sample"),
        pytest.param(b"\0" * 70_000, "no WebSocket", id="endless"),
        pytest.param(
            '{"event":"MEDIA_START","connection_id":"1","format":"slin","optimal_frame_size":320,"ptime":20}',
            "second MEDIA_START",
            id="second start",
        ),
    ],
)
async def test_garbage_is_the_end_of_its_own_media(door: Door, garbage: str | bytes, reason: str) -> None:
    line, other = Speaker(), Speaker()
    _, leg = await door.call(line)
    await door.call(other)
    assert leg.socket is not None
    await leg.socket.send(garbage)
    await until(lambda: line.lost)
    assert len(line.lost) == 1
    assert reason in line.lost[0]
    assert door.count("protocol_errors") == 1
    await grows(lambda: other.asked, 4)
    assert other.lost == []


async def test_frames_that_are_none(door: Door) -> None:
    line = Speaker()
    _, leg = await door.call(line)
    assert leg.socket is not None
    leg.socket.transport.write(b"\x83\x01x")  # an opcode nobody has defined
    await until(lambda: line.lost)
    assert "invalid opcode" in line.lost[0]
    assert door.count("protocol_errors") == 1


async def test_events_that_say_nothing_to_us_are_skipped_and_errors_counted(door: Door) -> None:
    line = Speaker()
    _, leg = await door.call(line)
    with capture_logs() as logs:
        leg.tell("STATUS", queue_length=0)
        leg.tell("SOMETHING_NEW", more=[1])
        leg.tell("MEDIA_MARK_PROCESSED", correlation_id="not ours")
        leg.press("f")
        for _ in range(20):
            leg.tell("ERROR", error_text="no such thing")
        leg.press("1")
        await until(lambda: line.digits)
    assert line.digits == ["1"]
    assert door.count("asterisk_errors") == 20
    assert [entry["error"] for entry in logs if "error" in entry] == ["no such thing"] * 5
    assert line.lost == []


async def test_a_ping_is_answered(door: Door) -> None:
    _, leg = await door.call()
    assert leg.socket is not None
    await asyncio.wait_for(await leg.socket.ping(), 10)


async def test_a_peer_that_stops_reading_is_dropped(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.SLOW_SECONDS", 0.2)
    loud = Speaker()
    monkeypatch.setattr(loud, "next_frame", lambda: bytes(65536))  # fills the buffers in no time
    media, leg = await door.call()
    assert leg.socket is not None
    leg.socket.transport.pause_reading()
    media.attach(loud)
    await until(lambda: loud.lost)
    assert loud.lost == ["peer does not read"]
    assert door.count("slow_peers") == 1


async def test_stale_sound_after_a_stall_is_dropped(door: Door) -> None:
    line = Speaker()
    _, leg = await door.call(line)
    assert leg.socket is not None
    protocol = leg.socket.protocol
    for number in range(50):
        protocol.send_binary(voice(number))
    protocol.send_text(json.dumps({"event": "DTMF_END", "digit": "#"}).encode())
    leg.socket.transport.write(b"".join(protocol.data_to_send()))
    await until(lambda: line.digits)
    assert line.heard == [voice(number) for number in range(40, 50)]
    assert door.count("stale_frames") == 40


async def test_a_session_that_raises_loses_its_own_media_only(door: Door) -> None:
    line, other = Speaker(), Speaker()

    def fail() -> bytes:
        raise RuntimeError("a bug")

    line.next_frame = fail  # type: ignore[method-assign]
    await door.call(other)
    await door.call(line)
    await until(lambda: line.lost)
    assert "a bug" in line.lost[0]
    await grows(lambda: other.asked, 4)
    assert door.count("faults") == 1


async def test_a_session_that_closes_while_it_is_asked(door: Door) -> None:
    line = Speaker(10)
    media, leg = await door.call()

    def leave() -> bytes:
        media.close()
        return voice(1)

    line.next_frame = leave  # type: ignore[method-assign]
    media.attach(line)
    await until(lambda: leg.close_code is not None)
    assert (leg.close_code, leg.heard, line.lost) == (1000, [], [])


# -- connections that cannot be had -----------------------------------------------------------------------


async def test_asterisk_knows_nothing_of_it(door: Door) -> None:
    leg = door.server.create_leg()
    with pytest.raises(PeerError, match=r"knows no such connection \(HTTP 404\)"):
        await door.transport.invite(SLIN8).connected({FACT: "somebody-else"})
    await door.call(leg=leg)
    with pytest.raises(PeerError, match=r"taken \(HTTP 409\)"):
        await door.call(leg=leg)
    assert door.count("refused") == 2
    await until(lambda: door.transport.connections == 1)


@pytest.mark.parametrize("facts", [{}, {FACT: ""}, {FACT: "../ari/channels"}, {FACT: "a b"}, {FACT: "a\r\nb"}])
async def test_facts_that_name_no_connection(door: Door, facts: dict[str, str]) -> None:
    with pytest.raises(PeerError, match=FACT):
        await door.transport.invite(SLIN8).connected(facts)


@pytest.mark.parametrize("format", ["slin16", "opus"])
async def test_another_format_than_was_asked_for(door: Door, format: str) -> None:
    with pytest.raises(PeerError, match=f"speaks {format} .* not the slin it was asked for"):
        await door.call(leg=door.server.create_leg(format))
    assert (door.count("refused"), door.count("protocol_errors"), door.count("accepted")) == (1, 1, 0)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ('{"event":"MEDIA_XON"}', "first message was not MEDIA_START"),
        ("MEDIA_START connection_id:other format:slin optimal_frame_size:320 ptime:20", "another connection"),
        ("MEDIA_START", "MEDIA_START without connection_id"),
        (bytes(320), "sound before MEDIA_START"),
        ("hello", "no event"),
    ],
)
async def test_a_start_that_is_none(door: Door, first: str | bytes, reason: str) -> None:
    leg = door.server.create_leg()
    leg.greets = False
    waiting = asyncio.create_task(door.call(leg=leg))
    await until(lambda: leg.socket is not None)
    leg._write(first)
    with pytest.raises(PeerError, match=reason):
        await waiting


async def test_asterisk_that_does_not_start() -> None:
    async with Door(connect_seconds=0.2) as door:
        leg = door.server.create_leg()
        leg.greets = False
        with pytest.raises(PeerError, match=r"127.0.0.1:\d+ did not answer within 0.2 s"):
            await door.call(leg=leg)
        await until(lambda: leg.close_code is not None)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def refused_by(serve: Serve | None, **settings: object) -> str:
    """Why a server that is none was left."""
    server = await asyncio.start_server(serve or _never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if serve is None:
        server.close()
        await server.wait_closed()
    url = f"ws://127.0.0.1:{port}"
    transport = ChanWebSocketTransport(ChanWebSocketSettings(url=url, **settings), TimerWheel())  # type: ignore[arg-type]
    with pytest.raises(PeerError) as raised:
        await transport.invite(SLIN8).connected({FACT: "1"})
    await transport.close()
    assert transport.connections == 0
    server.close()
    await server.wait_closed()
    return str(raised.value)


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("nobody may connect")


async def test_nobody_there() -> None:
    assert "cannot be reached" in await refused_by(None)


async def test_somebody_else_there() -> None:
    async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await reader.read()
        writer.close()

    assert "no media WebSocket" in await refused_by(mail)


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert "clos" in await refused_by(hang_up) or "lost" in await refused_by(hang_up)


async def test_a_server_that_says_nothing() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    assert "did not answer within 0.1 s" in await refused_by(wait, connect_seconds=0.1)


async def test_tls_where_there_is_none(door: Door) -> None:
    settings = ChanWebSocketSettings(url=door.server.url.replace("ws:", "wss:"))
    transport = ChanWebSocketTransport(settings, TimerWheel())
    with pytest.raises(PeerError, match="cannot be reached"):
        await transport.invite(SLIN8).connected({FACT: "1"})
    await transport.close()


async def test_an_invitation_is_withdrawn_before_while_and_after_it_is_taken(door: Door) -> None:
    before = door.transport.invite(SLIN8)
    before.withdraw()
    with pytest.raises(PeerError, match="given up"):
        await before.connected(door.server.create_leg().facts)

    leg = door.server.create_leg()
    leg.greets = False
    during = door.transport.invite(SLIN8)
    waiting = asyncio.create_task(during.connected(leg.facts))
    await until(lambda: leg.socket is not None)
    during.withdraw()
    with pytest.raises(PeerError, match="closed by us"):
        await waiting

    leg = door.server.create_leg()
    after = door.transport.invite(SLIN8)
    await after.connected(leg.facts)
    with pytest.raises(PeerError, match="taken"):
        await after.connected(leg.facts)
    after.withdraw()
    after.withdraw()
    await until(lambda: leg.close_code == 1000)


async def test_whoever_waits_may_give_up(door: Door) -> None:
    leg = door.server.create_leg()
    leg.greets = False
    waiting = asyncio.create_task(door.call(leg=leg))
    await until(lambda: leg.socket is not None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: door.transport.connections == 0)


async def test_giving_up_before_the_connection_stands(door: Door) -> None:
    waiting = asyncio.create_task(door.call())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: door.transport.connections == 0)


# -- the transport ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": "http://127.0.0.1:8088"}, "url"),
        ({"url": "127.0.0.1:8088"}, "url"),
        ({"url": "ws://"}, "url"),
        ({"url": "ws://127.0.0.1:notaport"}, "url"),
        ({"url": "ws://127.0.0.1:8088/?a=b"}, "url"),
        ({"ahead_ms": 59}, "ahead_ms"),
        ({"ahead_ms": 201}, "ahead_ms"),
        ({"connect_seconds": 0}, "connect_seconds"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ChanWebSocketSettings(**settings)  # type: ignore[arg-type]


async def test_closing_closes_every_connection_and_opens_no_more(door: Door) -> None:
    legs = [(await door.call())[1] for _ in range(3)]
    silent = door.server.create_leg()
    silent.greets = False
    waiting = asyncio.create_task(door.call(leg=silent))
    await until(lambda: silent.socket is not None)
    await door.transport.close()
    assert door.transport.connections == 0
    with pytest.raises(PeerError, match="closed by us"):
        await waiting
    await until(lambda: all(leg.close_code == 1000 for leg in legs))
    with pytest.raises(PeerError, match="stopping"):
        await door.call()


async def test_a_peer_that_does_not_say_goodbye_is_not_waited_for_long(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_engine.transports.chan_websocket_connection.LINGER_SECONDS", 0.1)
    media, leg = await door.call()
    assert leg.socket is not None
    leg.socket.transport.pause_reading()
    media.close()
    async with asyncio.timeout(5):
        await media.lost.wait()
    leg.socket.transport.resume_reading()


async def test_fifty_calls_at_once_leave_nothing(door: Door) -> None:
    media, _ = await door.call()
    media.close()
    await until(lambda: door.transport.connections == 0)
    await until(lambda: len(asyncio.all_tasks()) <= 3)
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    async def call(number: int) -> None:
        line = Speaker(25)
        media, leg = await door.call(line)
        await until(lambda: len(leg.heard) == 25, 30)
        leg.speak(voice(number))
        await until(lambda: line.heard, 30)
        assert line.heard == [voice(number)]
        assert numbers(leg.heard) == list(range(1, 26))
        assert leg.socket is not None
        if number % 2:
            media.close()
        else:
            leg.socket.transport.abort()
            await until(lambda: line.lost, 30)

    async with asyncio.timeout(60):
        await asyncio.gather(*(call(number) for number in range(1, 51)))
    await until(lambda: door.transport.connections == 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert door.wheel.seats == 0
