"""The AudioSocket door over real loopback sockets, with peers that behave and peers that do not."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import PeerError
from ai_engine.protocol.audiosocket import Audio, HungUp, Message, encode_audio
from ai_engine.session.ports import Invitation, Leg, Media, Topology, Transport
from ai_engine.transports.audiosocket import AudioSocketInvitation, AudioSocketListener, AudioSocketSettings
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.wheel import TimerWheel
from tests.fakes.line import RecordingLine
from tests.transports.audiosocket_peer import DEADLINE, SILENCE, Door, Peer, uuid_message, voice
from tests.waiting import until


def fits_its_ports(
    listener: AudioSocketListener, invitation: AudioSocketInvitation, media: AudioSocketConnection
) -> tuple[Transport, Invitation, Media]:
    """For mypy."""
    return listener, invitation, media


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
        assert (media.format, media.transport, media.lag_ms) == (SLIN8, "audiosocket", 0.0)
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


async def test_each_call_has_the_format_it_was_invited_in(door: Door) -> None:
    wide, narrow = RecordingLine(voice(1) * 2), RecordingLine(voice(2))
    async with door.peer() as high, door.peer() as low:
        assert (await door.connected(high, wide, SLIN16)).format == SLIN16
        assert (await door.connected(low, narrow)).format == SLIN8
        high.send(encode_audio(16000, voice(7) * 2))
        low.send(encode_audio(8000, voice(8)))
        await until(lambda: wide.heard and narrow.heard, DEADLINE)
        assert (wide.heard, narrow.heard) == ([voice(7) * 2], [voice(8)])
        assert Audio(8000, voice(2)) in [await low.message() for _ in range(10)]
        got = [await high.message() for _ in range(10)]
        assert Audio(16000, voice(1) * 2) in got
        assert got[-1] == Audio(16000, bytes(640))


async def test_silence_before_the_uuid_is_of_the_kind_every_asterisk_knows(door: Door) -> None:
    async with door.peer() as peer:
        assert await peer.message() == SILENCE
        await door.connected(peer, format=SLIN16)
        got = [await peer.message() for _ in range(5)]
        assert got[-1] == Audio(16000, bytes(640))
        assert set(got) <= {SILENCE, Audio(16000, bytes(640))}


async def test_whole_frames_and_pieces_come_through_in_order(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        stream = b"".join(encode_audio(8000, voice(number)) for number in range(1, 8))
        sound = stream[:323], stream[323:400], stream[400:646], stream[646 : 646 + 323], stream[969:1300], stream[1300:]
        for piece in sound:
            media.data_received(piece)
        media.data_received(encode_audio(8000, voice(8)[:100]))
        media.data_received(encode_audio(8000, voice(8)[100:] + voice(9)[:100]))
        media.data_received(encode_audio(8000, voice(10)))
        assert line.heard[:8] == [voice(number) for number in range(1, 9)]
        assert line.heard[8] == voice(9)[:100] + voice(10)[:220]


async def test_close_asks_asterisk_to_hang_up(door: Door) -> None:
    line = RecordingLine()
    async with door.peer() as peer:
        media = await door.connected(peer, line)
        media.close()
        media.close()
        assert (await peer.until_closed())[-1] == HungUp()
        assert not peer.was_reset
        peer.send(encode_audio(8000, voice(1)))  # it crossed ours on the way: no reason for a reset
        peer.writer.write_eof()
        await until(lambda: door.listener.connections == 0, DEADLINE)
        assert (line.lost, line.heard) == ([], [])
        assert await peer.reader.read() == b""
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
        peer.reset()
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
    door.listener.invite(SLIN8)
    async with door.peer() as peer:
        peer.send(uuid_message(uuid4()))
        await peer.until_closed()
        assert peer.was_reset
    assert door.count("refused_unknown_uuid") == 1


async def test_a_uuid_serves_once(door: Door) -> None:
    invitation = door.listener.invite(SLIN8)
    async with door.peer() as first, door.peer() as second:
        first.send(uuid_message(invitation.leg.uuid))
        await invitation.connected({})
        second.send(uuid_message(invitation.leg.uuid))
        await second.until_closed()
        assert await first.message() == SILENCE
    assert door.count("refused_unknown_uuid") == 1


async def test_an_invitation_can_be_withdrawn(door: Door) -> None:
    invitation = door.listener.invite(SLIN8)
    waiting = asyncio.ensure_future(invitation.connected({}))
    await asyncio.sleep(0)
    invitation.withdraw()
    invitation.withdraw()
    with pytest.raises(PeerError, match="withdrawn"):
        await waiting
    async with door.peer() as peer:
        peer.send(uuid_message(invitation.leg.uuid))
        await peer.until_closed()
    assert door.count("refused_unknown_uuid") == 1


async def test_who_waits_no_longer_is_not_connected_any_more(door: Door) -> None:
    invitation = door.listener.invite(SLIN8)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await invitation.connected({})
    async with door.peer() as peer:
        peer.send(uuid_message(invitation.leg.uuid))
        await peer.until_closed()
    invitation.withdraw()
    assert door.count("refused_unknown_uuid") == 1


async def test_withdrawing_ends_what_has_connected(door: Door) -> None:
    line = RecordingLine()
    invitation = door.listener.invite(SLIN8)
    async with door.peer() as peer:
        peer.send(uuid_message(invitation.leg.uuid))
        (await invitation.connected({})).attach(line)
        invitation.withdraw()
        assert (await peer.until_closed())[-1] == HungUp()
    assert line.lost == []


async def test_two_invitations_get_their_own(door: Door) -> None:
    first, second = door.listener.invite(SLIN8), door.listener.invite(SLIN8)
    assert first.leg.uuid != second.leg.uuid
    async with door.peer() as a, door.peer() as b:
        b.send(uuid_message(second.leg.uuid))
        a.send(uuid_message(first.leg.uuid))
        lines = RecordingLine(), RecordingLine()
        for invitation, line in zip((first, second), lines, strict=True):
            (await invitation.connected({})).attach(line)
        a.send(encode_audio(8000, voice(1)))
        b.send(encode_audio(8000, voice(2)))
        await until(lambda: all(line.heard for line in lines), DEADLINE)
        assert [line.heard for line in lines] == [[voice(1)], [voice(2)]]


@pytest.mark.parametrize(("format", "codec"), [(SLIN8, "slin"), (SLIN16, "slin16")])
async def test_what_asterisk_is_told_to_create(door: Door, format: AudioFormat, codec: str) -> None:
    invitation = door.listener.invite(format)
    leg = invitation.leg
    address = door.listener.address
    assert leg == Leg(leg.uuid, codec, address, "audiosocket", "tcp", "client", str(leg.uuid))
    assert (door.listener.name, door.listener.topology) == ("audiosocket", Topology.BRIDGED)


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
        assert peer.was_reset
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


async def test_a_peer_that_is_gone_at_once(door: Door) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    host, port = door.listener.address.rsplit(":", 1)
    for _ in range(5):
        with socket.create_connection((host, int(port))) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    async with door.peer() as late:
        assert await late.message() == SILENCE
        await until(lambda: door.listener.connections == 1, DEADLINE)
    assert faults == []


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
    monkeypatch.setattr("ai_engine.transports.audiosocket_connection.SLOW_SECONDS", 0.2)
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


async def test_a_session_that_fails_to_hear_loses_its_own_media_only(door: Door) -> None:
    line, other = RecordingLine(), RecordingLine()

    def fail(pcm: bytes) -> None:
        raise RuntimeError("a bug")

    line.frame_received = fail  # type: ignore[method-assign]
    async with door.peer() as peer, door.peer() as bystander:
        await door.connected(bystander, other)
        await door.connected(peer, line)
        peer.send(encode_audio(8000, voice(1)))
        await until(lambda: line.lost, DEADLINE)
        assert "a bug" in line.lost[0]
        bystander.send(encode_audio(8000, voice(2)))
        await until(lambda: other.heard, DEADLINE)
        assert door.count("faults") == 1


async def test_a_peer_that_does_not_hang_up_when_asked_is_reset(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.transports.audiosocket_connection.LINGER_SECONDS", 0.1)
    async with door.peer() as peer:
        (await door.connected(peer)).close()
        await until(lambda: door.listener.connections == 0, DEADLINE)


async def test_a_killed_engine_resets_its_connections() -> None:
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", _ENGINE, stderr=asyncio.subprocess.PIPE)
    try:
        assert engine.stderr is not None
        host, port = (await engine.stderr.readline()).decode().strip().rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await reader.readexactly(3) == b"\x10\x01\x40"
        engine.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
    finally:
        with suppress(ProcessLookupError):
            engine.kill()
        await engine.wait()


_ENGINE = """
import asyncio, sys
from ai_engine.transports.audiosocket import AudioSocketListener, AudioSocketSettings
from ai_engine.transports.wheel import TimerWheel

async def main():
    listener = AudioSocketListener(AudioSocketSettings(port=0, handshake_seconds=60), TimerWheel())
    await listener.start()
    print(listener.address, file=sys.stderr)
    await asyncio.sleep(60)

asyncio.run(main())
"""


# -- the listener -----------------------------------------------------------------------------------------


async def test_listening_is_told_and_logged() -> None:
    listener = AudioSocketListener(AudioSocketSettings(port=0), TimerWheel())
    assert not listener.listening
    with capture_logs() as logs:
        await listener.start()
        assert listener.listening
        invitation = listener.invite(SLIN8)
        async with Peer(listener) as peer:
            peer.send(uuid_message(invitation.leg.uuid))
            await invitation.connected({})
        await listener.close()
    assert not listener.listening
    events = [entry["event"] for entry in logs]
    assert events[0] == f"AudioSocket server listening {listener.address}"
    assert events[1] == "AudioSocket connection accepted"
    assert logs[1]["uuid"] == str(invitation.leg.uuid)
    assert logs[1]["peer"].startswith("127.0.0.1:")
    await listener.close()


async def test_where_asterisk_is_sent() -> None:
    async with Door(host="0.0.0.0") as door:
        assert door.listener.invite(SLIN8).leg.external_host.startswith("127.0.0.1:")
    async with Door(advertise="engine:8090") as door:
        assert door.listener.invite(SLIN8).leg.external_host == "engine:8090"
    async with Door(host="::1") as door, door.peer() as peer:
        assert door.listener.invite(SLIN8).leg.external_host.startswith("[::1]:")
        assert await peer.message() == SILENCE


async def test_a_taken_port_is_an_error() -> None:
    async with Door() as door:
        port = int(door.listener.address.rsplit(":", 1)[1])
        second = AudioSocketListener(AudioSocketSettings(port=port), TimerWheel())
        with pytest.raises(OSError, match=str(port)):
            await second.start()
        await second.close()


async def test_closing_disappoints_whoever_waits(door: Door) -> None:
    waited = [door.listener.invite(SLIN8), door.listener.invite(SLIN8)]
    await door.listener.close()
    with pytest.raises(PeerError, match="closed"):
        await waited[0].connected({})


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
