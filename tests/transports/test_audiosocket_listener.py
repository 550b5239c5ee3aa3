"""The AudioSocket door over real loopback sockets, with peers that behave and peers that do not."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from types import TracebackType
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.errors import PeerError
from ai_engine.protocol.audiosocket import Audio, AudioSocketParser, HungUp, Message, encode_audio
from ai_engine.session.ports import Expected, Line, Media, MediaListener
from ai_engine.transports.audiosocket import AudioSocketConnection, AudioSocketListener, AudioSocketSettings
from ai_engine.transports.wheel import TimerWheel
from tests.waiting import until

DEADLINE = 10.0
SILENCE = Audio(8000, bytes(320))


def uuid_message(uuid: UUID) -> bytes:
    return b"\x01\x00\x10" + uuid.bytes


def voice(number: int) -> bytes:
    return number.to_bytes(2, "little") * 160


class Peer:
    """Asterisk's side of a connection."""

    def __init__(self, listener: AudioSocketListener) -> None:
        host, port = listener.address.rsplit(":", 1)
        self._address = (host.strip("[]"), int(port))
        self._parser = AudioSocketParser()
        self._arrived: list[Message] = []

    async def __aenter__(self) -> "Peer":
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def message(self) -> Message | None:
        """The next message, or None when the engine has closed the connection."""
        async with asyncio.timeout(DEADLINE):
            while not self._arrived:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._arrived += self._parser.feed(data)
        return self._arrived.pop(0)

    async def until_closed(self) -> list[Message]:
        got = []
        while (message := await self.message()) is not None:
            got.append(message)
        return got


class RecordingLine:
    """A session that notes what comes and sends what it was given."""

    def __init__(self, *frames: bytes) -> None:
        self.to_send = list(frames)
        self.heard: list[bytes] = []
        self.digits: list[str] = []
        self.lost: list[str] = []
        self.asked = 0

    def next_frame(self) -> bytes | None:
        self.asked += 1
        return self.to_send.pop(0) if self.to_send else None

    def frame_received(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    def digit_received(self, digit: str) -> None:
        self.digits.append(digit)

    def media_lost(self, reason: str) -> None:
        self.lost.append(reason)


def fits_its_ports(listener: AudioSocketListener, media: AudioSocketConnection) -> tuple[MediaListener, Media]:
    """For mypy."""
    return listener, media


class Door:
    """A listener on a free port."""

    def __init__(self, **settings: object) -> None:
        self.wheel = TimerWheel()
        self.listener = AudioSocketListener(AudioSocketSettings(port=0, **settings), self.wheel)  # type: ignore[arg-type]

    def peer(self) -> Peer:
        return Peer(self.listener)

    def count(self, name: str) -> int:
        return self.listener.counters[name]

    async def connected(self, peer: Peer, line: Line | None = None) -> Media:
        """A call that invited ``peer`` and was connected to it."""
        expected = self.listener.expect()
        peer.send(uuid_message(expected.uuid))
        async with asyncio.timeout(DEADLINE):
            media = await expected.connected
        if line is not None:
            media.attach(line)
        return media

    async def __aenter__(self) -> "Door":
        await self.listener.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.listener.close()
        assert self.wheel.seats == 0
        assert self.listener.connections == 0


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door() as door:
        yield door


# -- a call -----------------------------------------------------------------------------------------------


async def test_silence_flows_from_accept_on(door: Door) -> None:
    async with door.peer() as peer:
        assert [await peer.message() for _ in range(5)] == [SILENCE] * 5
        assert door.count("accepted") == 1


async def test_fifty_frames_a_second_in_one_piece_each(door: Door) -> None:
    async with door.peer() as peer:
        times: list[float] = []
        while not times or times[-1] - times[0] < 1.0:
            assert len(await peer.reader.readexactly(323)) == 323
            times.append(asyncio.get_running_loop().time())
        assert 48 <= len(times) - 1 <= 52


async def test_sound_and_digits_go_both_ways(door: Door) -> None:
    line = RecordingLine(voice(1), voice(2), voice(3))
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        assert (media.format, media.transport) == (SLIN8, "audiosocket")
        peer.send(encode_audio(8000, voice(7)) + b"\x03\x00\x015" + encode_audio(8000, voice(8)))
        await until(lambda: len(line.heard) == 2, DEADLINE)
        assert line.heard == [voice(7), voice(8)]
        assert line.digits == ["5"]
        got: list[Message | None] = []
        while len(got) < 3:
            message = await peer.message()
            if message != SILENCE:
                got.append(message)
        assert got == [Audio(8000, voice(number)) for number in (1, 2, 3)]
        assert await peer.message() == SILENCE


async def test_frames_of_another_length_are_cut_to_20_ms(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        await door.connected(peer, line)
        sound = voice(1) + voice(2) + voice(3)
        peer.send(encode_audio(8000, sound[:480]) + encode_audio(8000, sound[480:]))
        await until(lambda: len(line.heard) == 3, DEADLINE)
        assert b"".join(line.heard) == sound


async def test_wideband() -> None:
    async with Door(rate=16000) as door, door.peer() as peer:
        line = RecordingLine()
        media = await door.connected(peer, line)
        assert media.format == AudioFormat(16000)
        assert await peer.message() == Audio(16000, bytes(640))
        peer.send(encode_audio(16000, bytes(640)))
        await until(lambda: line.heard, DEADLINE)


async def test_close_asks_asterisk_to_hang_up(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        media.close()
        media.close()
        assert (await peer.until_closed())[-1] == HungUp()
        await until(lambda: door.listener.connections == 0, DEADLINE)
        assert line.lost == []
        asked = line.asked
        assert door.wheel.seats == 0
        assert line.asked == asked


@pytest.mark.parametrize(
    ("ending", "reason"),
    [(b"\0\0\0", "hung up by Asterisk"), (b"\xff\0\1\2", "Asterisk reported error 2"), (b"", "closed by Asterisk")],
)
async def test_asterisk_ends_it(door: Door, ending: bytes, reason: str) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        peer.send(ending)
        if not ending:
            peer.writer.close()
        await until(lambda: line.lost, DEADLINE)
        media.close()
        assert line.lost == [reason]


async def test_a_reset_is_a_loss(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        await door.connected(peer, line)
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.writer.transport.abort()
        await until(lambda: line.lost, DEADLINE)
        assert len(line.lost) == 1


async def test_a_line_attached_to_a_lost_connection_hears_of_it(door: Door) -> None:
    async with door.peer() as peer:
        media = await door.connected(peer)
        peer.send(b"\0\0\0")
        await until(lambda: door.listener.connections == 0, DEADLINE)
        line = RecordingLine()
        media.attach(line)
        await until(lambda: line.lost, DEADLINE)
        assert line.lost == ["hung up by Asterisk"]


# -- the rules of the door --------------------------------------------------------------------------------


async def test_an_unknown_uuid_is_refused(door: Door) -> None:
    door.listener.expect()
    async with door.peer() as peer:
        peer.send(uuid_message(uuid4()))
        await peer.until_closed()
    assert door.count("refused_unknown_uuid") == 1


async def test_a_uuid_serves_once(door: Door) -> None:
    expected = door.listener.expect()
    async with door.peer() as first, door.peer() as second:
        first.send(uuid_message(expected.uuid))
        await expected.connected
        second.send(uuid_message(expected.uuid))
        await second.until_closed()
        assert await first.message() == SILENCE
    assert door.count("refused_unknown_uuid") == 1


async def test_an_invitation_can_be_withdrawn(door: Door) -> None:
    expected = door.listener.expect()
    assert isinstance(expected.connected, asyncio.Future)
    expected.connected.cancel()
    async with door.peer() as peer:
        peer.send(uuid_message(expected.uuid))
        await peer.until_closed()
    assert door.count("refused_unknown_uuid") == 1


async def test_two_invitations_get_their_own(door: Door) -> None:
    first, second = door.listener.expect(), door.listener.expect()
    assert first.uuid != second.uuid
    async with door.peer() as a, door.peer() as b:
        b.send(uuid_message(second.uuid))
        a.send(uuid_message(first.uuid))
        lines = RecordingLine(), RecordingLine()
        for expected, line in zip((first, second), lines, strict=True):
            (await expected.connected).attach(line)
        a.send(encode_audio(8000, voice(1)))
        b.send(encode_audio(8000, voice(2)))
        await until(lambda: all(line.heard for line in lines), DEADLINE)
        assert [line.heard for line in lines] == [[voice(1)], [voice(2)]]


async def test_a_peer_that_says_nothing_is_dropped_after_hearing_silence() -> None:
    async with Door(handshake_seconds=0.2) as door, door.peer() as peer:
        assert 8 <= len(await peer.until_closed()) <= 12
        assert door.count("handshake_timeouts") == 1


async def test_a_peer_that_said_who_it_is_may_be_silent() -> None:
    async with Door(handshake_seconds=0.1) as door, door.peer() as peer:
        await door.connected(peer)
        for _ in range(20):
            assert await peer.message() == SILENCE


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(encode_audio(8000, bytes(320)), id="sound before the uuid"),
        pytest.param(b"\0\0\0", id="hangup before the uuid"),
        pytest.param(b"\x01\x00\x00", id="empty uuid"),
    ],
)
async def test_garbage_instead_of_a_uuid_closes(door: Door, garbage: bytes) -> None:
    async with door.peer() as peer:
        peer.send(garbage)
        await peer.until_closed()
    assert door.count("protocol_errors") == 1


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x10\x00\x00", id="no sound"),
        pytest.param(b"\x02\x00\x00", id="unknown kind"),
        pytest.param(encode_audio(16000, bytes(640)), id="wrong rate"),
        pytest.param(uuid_message(uuid4()), id="second uuid"),
    ],
)
async def test_garbage_in_a_call_is_the_end_of_its_media(door: Door, garbage: bytes) -> None:
    line, other = RecordingLine(), RecordingLine()
    async with door.peer() as peer, door.peer() as bystander:
        await door.connected(peer, line)
        await door.connected(bystander, other)
        peer.send(garbage)
        await until(lambda: line.lost, DEADLINE)
        assert len(line.lost) == 1
        assert door.count("protocol_errors") == 1
        assert other.lost == []
        assert await bystander.message() == SILENCE


async def test_only_so_many_connections() -> None:
    async with Door(max_connections=2) as door, door.peer() as one, door.peer() as two:
        assert await one.message() == await two.message() == SILENCE
        async with door.peer() as three:
            assert await three.until_closed() == []
        assert door.count("refused_full") == 1
        one.writer.close()
        await until(lambda: door.listener.connections == 1, DEADLINE)
        async with door.peer() as four:
            assert await four.message() == SILENCE


async def test_a_peer_from_elsewhere_is_refused() -> None:
    async with Door(allowed_peers=("192.0.2.0/24",)) as door, door.peer() as peer:
        assert await peer.until_closed() == []
        assert door.count("refused_peer") == 1
        assert door.count("accepted") == 0


async def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="everywhere"):
        AudioSocketListener(AudioSocketSettings(allowed_peers=("everywhere",)), TimerWheel())


async def test_a_peer_that_stops_reading_is_dropped(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.transports.audiosocket._SLOW_SECONDS", 0.2)
    loud = RecordingLine()
    monkeypatch.setattr(loud, "next_frame", lambda: bytes(65534))  # fills the buffers in no time
    async with door.peer() as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await door.connected(peer, loud)
        await until(lambda: loud.lost, DEADLINE)
        assert loud.lost == ["peer does not read"]
        assert door.count("slow_peers") == 1


async def test_stale_sound_after_a_stall_is_dropped(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        assert isinstance(media, AudioSocketConnection)
        backlog = b"".join(encode_audio(8000, voice(number)) for number in range(50))
        media.data_received(backlog + b"\x03\x00\x01#")
        assert line.heard == [voice(number) for number in range(40, 50)]
        assert line.digits == ["#"]
        assert door.count("stale_frames") == 40


async def test_a_session_that_raises_loses_its_own_media_only(door: Door) -> None:
    line, other = RecordingLine(), RecordingLine()

    def fail() -> bytes:
        raise RuntimeError("a bug")

    line.next_frame = fail  # type: ignore[method-assign]
    async with door.peer() as peer, door.peer() as bystander:
        await door.connected(bystander, other)
        await door.connected(peer, line)
        await until(lambda: line.lost, DEADLINE)
        assert "a bug" in line.lost[0]
        asked = other.asked
        await until(lambda: other.asked > asked + 3, DEADLINE)
        assert door.count("faults") == 1


# -- the listener -----------------------------------------------------------------------------------------


async def test_listening_is_told_and_logged() -> None:
    listener = AudioSocketListener(AudioSocketSettings(port=0), TimerWheel())
    assert not listener.listening
    with capture_logs() as logs:
        await listener.start()
        assert listener.listening
        expected = listener.expect()
        async with Peer(listener) as peer:
            peer.send(uuid_message(expected.uuid))
            await expected.connected
        await listener.close()
    assert not listener.listening
    events = [entry["event"] for entry in logs]
    assert events[0] == f"AudioSocket server listening {listener.address}"
    assert events[1] == "AudioSocket connection accepted"
    assert logs[1]["call_id"] == str(expected.uuid)
    assert logs[1]["peer"].startswith("127.0.0.1:")
    await listener.close()


async def test_where_asterisk_is_sent() -> None:
    async with Door(host="0.0.0.0") as door:
        assert door.listener.expect().address.startswith("127.0.0.1:")
    async with Door(advertise="engine:8090") as door:
        assert door.listener.expect().address == "engine:8090"
    async with Door(host="::1") as door, door.peer() as peer:
        assert door.listener.expect().address.startswith("[::1]:")
        assert await peer.message() == SILENCE


async def test_a_taken_port_is_an_error() -> None:
    async with Door() as door:
        port = int(door.listener.address.rsplit(":", 1)[1])
        second = AudioSocketListener(AudioSocketSettings(port=port), TimerWheel())
        with pytest.raises(OSError, match=str(port)):
            await second.start()
        await second.close()


async def test_closing_disappoints_whoever_waits() -> None:
    async with Door() as door:
        waited: list[Expected] = [door.listener.expect(), door.listener.expect()]
        await door.listener.close()
        with pytest.raises(PeerError, match="closed"):
            await waited[0].connected


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_fifty_calls_at_once_leave_nothing() -> None:
    async with Door() as door:
        async with door.peer() as peer:
            await peer.message()
        await until(lambda: door.listener.connections == 0, DEADLINE)
        descriptors, tasks = open_descriptors(), len(asyncio.all_tasks())

        async def call(number: int) -> None:
            line = RecordingLine(*[voice(number)] * 25)
            async with door.peer() as peer:
                media = await door.connected(peer, line)
                got: list[bytes] = []
                while len(got) < 25:
                    message = await peer.message()
                    assert isinstance(message, Audio)
                    peer.send(encode_audio(8000, message.pcm))
                    if message != SILENCE:
                        got.append(message.pcm)
                assert got == [voice(number)] * 25
                if number % 2:
                    media.close()
                    await peer.until_closed()
            await until(lambda: number % 2 or line.lost, DEADLINE)
            assert set(line.heard) <= {voice(number), bytes(320)}

        async with asyncio.timeout(30):
            await asyncio.gather(*(call(number) for number in range(1, 51)))
        await until(lambda: door.listener.connections == 0, DEADLINE)
        assert door.wheel.seats == 0
        assert (open_descriptors(), len(asyncio.all_tasks())) == (descriptors, tasks)
