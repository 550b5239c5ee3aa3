"""The RTP door over real loopback sockets, with peers that behave and peers that do not."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
import uvloop
from structlog.testing import capture_logs

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import MediaError, PeerError
from ai_engine.protocol.rtp import RtpPacket, RtpWriter, parse_rtp, swap_bytes
from ai_engine.session.ports import Invitation, Line, Media, Topology, Transport
from ai_engine.transports.rtp import RtpInvitation, RtpSettings, RtpTransport
from ai_engine.transports.rtp_media import RtpMedia
from ai_engine.transports.wheel import TimerWheel
from tests.fakes.line import RecordingLine
from tests.waiting import until

FIRST_PORT, LAST_PORT = 19400, 19599
SSRC = 0x63145241


def voice(number: int, format: AudioFormat = SLIN8) -> bytes:
    return np.full(format.frame_samples, 1000 + number, "<i2").tobytes()


class Peer:
    """Asterisk's side: a socket that notes what comes, and sends when it is told to."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.writer = RtpWriter(10, SSRC, 65530, 2**32 - 1600)
        self.to: tuple[str, int] = ("", 0)
        self.got: list[RtpPacket] = []

    @property
    def facts(self) -> dict[str, str]:
        host, port = self.sock.getsockname()[:2]
        return {"UNICASTRTP_LOCAL_ADDRESS": host, "UNICASTRTP_LOCAL_PORT": str(port)}

    def calls(self, invitation: RtpInvitation) -> None:
        """``externalMedia`` was asked for."""
        host, port = invitation.leg.external_host.rsplit(":", 1)
        self.to = (host.strip("[]"), int(port))

    def send(self, datagram: bytes) -> None:
        self.sock.sendto(datagram, self.to)

    def speak(self, *numbers: int) -> None:
        for number in numbers:
            self.send(self.writer.packet(swap_bytes(voice(number)), 160))

    def listen(self) -> list[RtpPacket]:
        """All that came so far."""
        with suppress(BlockingIOError):
            while True:
                self.got.append(parse_rtp(self.sock.recv(2048)))
        return self.got

    def heard(self) -> list[bytes]:
        return [swap_bytes(packet.payload) for packet in self.listen()]


class RtpLine(RecordingLine):
    """One that RTP must not ask for more, nor tell of keys."""

    def upcoming(self, frames: int) -> Sequence[bytes]:
        raise AssertionError("RTP sends nothing early")

    def digit_received(self, digit: str) -> None:
        raise AssertionError("keys come by ARI")


def fits_its_ports(
    door: RtpTransport, invitation: RtpInvitation, media: RtpMedia
) -> tuple[Transport, Invitation, Media]:
    """For mypy."""
    return door, invitation, media


class Door:
    """A door, its wheel and a peer."""

    def __init__(self, **settings: object) -> None:
        self.wheel = TimerWheel()
        ports = {"port_min": FIRST_PORT, "port_max": LAST_PORT}
        self.transport = RtpTransport(RtpSettings(**{**ports, **settings}), self.wheel)  # type: ignore[arg-type]
        self.peers: list[Peer] = []

    def peer(self, family: int = socket.AF_INET) -> Peer:
        self.peers.append(Peer(family))
        return self.peers[-1]

    async def call(self, line: Line | None = None, format: AudioFormat = SLIN8) -> tuple[Peer, RtpMedia]:
        """A leg that stands, attached to ``line``."""
        peer, invitation = self.peer(), self.transport.invite(format)
        peer.calls(invitation)
        async with asyncio.timeout(5):
            media = await invitation.connected(peer.facts)
        if line is not None:
            media.attach(line)
        return peer, media

    def count(self, name: str) -> int:
        return self.transport.counters[name]

    @property
    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.transport.counters.items() if count}

    async def close(self) -> None:
        await self.transport.close()
        for peer in self.peers:
            peer.sock.close()


@asynccontextmanager
async def doors() -> AsyncIterator[type[Door]]:
    """Doors as they are asked for; all are closed, and must be empty then."""
    made: list[Door] = []

    class Made(Door):
        def __init__(self, **settings: object) -> None:
            super().__init__(**settings)
            made.append(self)

    try:
        yield Made
    finally:
        for door in made:
            await door.close()
    assert [door.wheel.seats + door.transport.connections for door in made] == [0] * len(made)


@pytest.fixture
async def make_door() -> AsyncIterator[type[Door]]:
    async with doors() as make:
        yield make


@pytest.fixture
def door(make_door: type[Door]) -> Door:
    return make_door()


# -- invitations ------------------------------------------------------------------------------------------


async def test_asterisk_is_told_to_send_slin_to_an_even_port(door: Door) -> None:
    leg = door.transport.invite(SLIN8).leg
    assert (leg.codec, leg.encapsulation, leg.transport, leg.connection_type) == ("slin", "rtp", "udp", "client")
    host, port = leg.external_host.split(":")
    assert host == "127.0.0.1"
    assert int(port) in range(FIRST_PORT, LAST_PORT + 1, 2)
    assert door.transport.invite(SLIN16).leg.codec == "slin"
    assert (door.transport.name, door.transport.topology) == ("legacy", Topology.WHISPERED)


async def test_ports_are_even_used_in_turn_and_never_twice(make_door: type[Door]) -> None:
    door = make_door(port_min=19401, port_max=19408)
    ports = [int(door.transport.invite(SLIN8).leg.external_host.split(":")[1]) for _ in range(4)]
    assert ports == [19402, 19404, 19406, 19408]
    with pytest.raises(MediaError, match="19401 to 19408"):
        door.transport.invite(SLIN8)


async def test_a_port_somebody_else_has_is_passed_over(make_door: type[Door]) -> None:
    door = make_door(port_min=19410, port_max=19412)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 19410))
        assert door.transport.invite(SLIN8).leg.external_host.endswith(":19412")


async def test_no_even_port_in_the_range_is_an_error_of_the_machine(make_door: type[Door]) -> None:
    with pytest.raises(MediaError, match="the range is empty"):
        make_door(port_min=19401, port_max=19401).transport.invite(SLIN8)


async def test_a_withdrawn_invitation_gives_its_port_back(make_door: type[Door]) -> None:
    door = make_door(port_min=19414, port_max=19415)
    first = door.transport.invite(SLIN8)
    first.withdraw()
    first.withdraw()
    with pytest.raises(PeerError):
        await first.connected({})
    second = door.transport.invite(SLIN8)
    peer = door.peer()
    peer.calls(second)
    media = await second.connected(peer.facts)
    second.withdraw()
    await second.closed.wait()
    assert door.wheel.seats == 0
    third = door.transport.invite(SLIN8)
    assert third.leg.external_host == second.leg.external_host
    media.close()


async def test_an_invitation_is_good_for_one_connection(door: Door) -> None:
    invitation, peer = door.transport.invite(SLIN8), door.peer()
    await invitation.connected(peer.facts)
    with pytest.raises(PeerError):
        await invitation.connected(peer.facts)
    assert door.transport.connections == 1


async def test_advertise_replaces_the_host(make_door: type[Door]) -> None:
    def told(**settings: object) -> str:
        return make_door(**settings).transport.invite(SLIN8).leg.external_host.rsplit(":", 1)[0]

    assert told(advertise="engine.internal") == "engine.internal"
    assert told(host="localhost") == "localhost"
    assert told(host="0.0.0.0") == "127.0.0.1"
    assert told(host="::1") == "[::1]"
    assert told(advertise="2001:db8::7") == "[2001:db8::7]"


@pytest.mark.parametrize(
    "facts",
    [
        {"UNICASTRTP_LOCAL_ADDRESS": "asterisk", "UNICASTRTP_LOCAL_PORT": "20000"},
        {"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "many"},
        {"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "65536"},
        {"UNICASTRTP_LOCAL_ADDRESS": "::1", "UNICASTRTP_LOCAL_PORT": "20000"},
        {"UNICASTRTP_LOCAL_ADDRESS": "192.0.2.9", "UNICASTRTP_LOCAL_PORT": "20000"},
    ],
)
async def test_an_impossible_peer_is_refused_and_the_port_given_back(door: Door, facts: dict[str, str]) -> None:
    invitation = door.transport.invite(SLIN8)
    with pytest.raises(PeerError):
        await invitation.connected(facts)
    async with asyncio.timeout(5):
        await invitation.closed.wait()
    assert door.count("refused_peer") == (facts["UNICASTRTP_LOCAL_ADDRESS"] == "192.0.2.9")


# -- sound ------------------------------------------------------------------------------------------------


async def test_sound_flows_both_ways(door: Door) -> None:
    line = RtpLine(*(voice(number) for number in range(10)))
    peer, _ = await door.call(line)
    for number in range(20):
        peer.speak(number)
        await asyncio.sleep(0.02)
    await until(lambda: len(line.heard) >= 20)
    await until(lambda: voice(9) in peer.heard())
    heard = peer.heard()
    start = heard.index(voice(0))
    assert heard[start : start + 10] == [voice(number) for number in range(10)]
    assert set(heard[:start] + heard[start + 10 :]) <= {SLIN8.silence()}
    assert [frame for frame in line.heard if frame in map(voice, range(20))][:3] == [voice(0), voice(1), voice(2)]


async def test_packets_are_counted_and_timed_as_rfc_3550_says(door: Door) -> None:
    peer, _ = await door.call()
    await until(lambda: len(peer.listen()) >= 20)
    packets = peer.got
    first = packets[0]
    assert {packet.ssrc for packet in packets} == {first.ssrc}
    assert {packet.payload_type for packet in packets} == {10}
    assert {len(packet.payload) for packet in packets} == {320}
    for number, packet in enumerate(packets):
        assert packet.sequence == first.sequence + number & 0xFFFF
    assert first.marker
    for earlier, later in zip(packets, packets[1:], strict=False):
        step = later.timestamp - earlier.timestamp & 0xFFFFFFFF
        assert step % 160 == 0
        assert later.marker == (step > 160)
    other, _ = await door.call()
    await until(lambda: other.listen())
    assert other.got[0].ssrc != first.ssrc


async def test_before_and_without_a_line_there_is_silence(door: Door) -> None:
    peer, media = await door.call()
    peer.speak(*range(3))
    await until(lambda: len(peer.listen()) >= 5)
    assert set(peer.heard()) == {SLIN8.silence()}
    line = RtpLine()
    media.attach(line)
    await until(lambda: line.asked >= 3)
    assert set(peer.heard()) == {SLIN8.silence()}


async def test_a_call_of_16_khz_is_converted_at_the_door(door: Door) -> None:
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(320 * 40) / 16000)).astype("<i2").tobytes()
    line = RtpLine(*(tone[start : start + 640] for start in range(0, len(tone), 640)))
    peer, media = await door.call(line, SLIN16)
    assert media.format == SLIN16
    await until(lambda: len([frame for frame in peer.heard() if any(frame)]) >= 40)
    assert {len(packet.payload) for packet in peer.got} == {320}
    spoken = np.frombuffer(b"".join(frame for frame in peer.heard() if any(frame)), "<i2")[400:4000]
    assert abs(int(np.argmax(np.abs(np.fft.rfft(spoken)))) * 8000 / len(spoken) - 1000) < 5
    for _ in range(10):
        peer.speak(0)
        await asyncio.sleep(0.02)
    await until(lambda: len(line.heard) >= 9)
    assert {len(frame) for frame in line.heard} == {640}
    assert peer.heard()[-1] == SLIN8.silence()


async def test_packets_out_of_order_are_heard_in_order(door: Door) -> None:
    line = RtpLine()
    peer, _ = await door.call(line)
    packets = [peer.writer.packet(swap_bytes(voice(number)), 160) for number in range(40)]
    for number in range(0, 40, 4):
        for offset in (0, 2, 1, 3):
            peer.send(packets[number + offset])
        await asyncio.sleep(0.08)
    await until(lambda: len(line.heard) >= 36)
    spoken = [voice(number) for number in range(40)]
    known = [spoken.index(frame) for frame in line.heard if frame in spoken]
    assert known == sorted(known)
    assert len(known) >= 30


async def test_what_is_of_no_use_is_counted_and_dropped(door: Door) -> None:
    line = RtpLine()
    peer, _ = await door.call(line)
    with capture_logs() as logs:
        for _ in range(3):
            peer.send(b"GET / HTTP/1.1\r\n\r\n")
            peer.send(b"")
            peer.send(bytes.fromhex("80c80006 63145241") + bytes(20))
            peer.send(RtpWriter(0, SSRC, 1, 1).packet(bytes(160), 160))
            peer.send(RtpWriter(10, SSRC, 1, 1).packet(bytes(160), 80))
            peer.send(RtpWriter(10, SSRC, 1, 1).packet(bytes(321), 160))
        await until(lambda: door.count("wrong_size") == 6)
    assert door.counted == {"accepted": 1, "malformed": 6, "rtcp": 3, "wrong_payload": 3, "wrong_size": 6}
    assert [entry["event"] for entry in logs] == ["RTP packet refused"] * 3
    assert line.heard == []
    assert line.lost == []


async def test_an_extension_and_padding_are_no_sound(door: Door) -> None:
    line = RtpLine()
    peer, _ = await door.call(line)
    for count in range(10):
        sound = swap_bytes(voice(count))
        header = struct.pack("!BBHII", 0xB0, 11, count, 160 * count, SSRC)
        peer.send(header + bytes.fromhex("bede0001 11223344") + sound + bytes.fromhex("00000004"))
    await until(lambda: voice(3) in line.heard)


# -- who may send -----------------------------------------------------------------------------------------


async def test_strangers_are_not_heard(door: Door) -> None:
    line = RtpLine()
    peer, _ = await door.call(line)
    stranger = door.peer()
    stranger.to = peer.to
    with capture_logs() as logs:
        for _ in range(5):
            stranger.speak(99)
            peer.speak(1)
            await asyncio.sleep(0.02)
        await until(lambda: door.count("strangers") == 5)
    await until(lambda: len(line.heard) >= 5)
    assert voice(99) not in line.heard
    assert [(entry["event"], entry["stranger"]) for entry in logs] == [
        ("RTP from a stranger dropped", stranger.sock.getsockname())
    ]
    assert stranger.listen() == []


async def test_without_facts_whoever_sends_first_is_the_peer(door: Door) -> None:
    invitation, peer, stranger = door.transport.invite(SLIN8), door.peer(), door.peer()
    peer.calls(invitation)
    stranger.to = peer.to
    connecting = asyncio.create_task(invitation.connected({"UNICASTRTP_LOCAL_ADDRESS": "0.0.0.0"}))
    await asyncio.sleep(0)
    peer.speak(0)
    media = await asyncio.wait_for(connecting, 5)
    line = RtpLine()
    media.attach(line)
    stranger.speak(99)
    for number in range(1, 9):
        peer.speak(number)
        await asyncio.sleep(0.02)
    await until(lambda: voice(8) in line.heard and len(peer.listen()) > 5)
    assert voice(99) not in line.heard
    assert door.count("strangers") == 1


async def test_only_an_allowed_peer_can_be_the_first(make_door: type[Door]) -> None:
    door = make_door(allowed_peers=("192.0.2.0/24",))
    invitation, peer = door.transport.invite(SLIN8), door.peer()
    peer.calls(invitation)
    peer.speak(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await invitation.connected({})
    assert door.count("strangers") == 1
    async with asyncio.timeout(5):
        await invitation.closed.wait()


async def test_a_port_withdrawn_while_it_waits_for_its_peer(door: Door) -> None:
    invitation = door.transport.invite(SLIN8)
    connecting = asyncio.create_task(invitation.connected({}))
    await asyncio.sleep(0.02)
    invitation.withdraw()
    with pytest.raises(PeerError):
        await asyncio.wait_for(connecting, 5)


async def test_sound_flows_over_ipv6(make_door: type[Door]) -> None:
    door = make_door(host="::1")
    invitation, peer, stranger = door.transport.invite(SLIN8), door.peer(socket.AF_INET6), door.peer(socket.AF_INET6)
    peer.calls(invitation)
    stranger.to = peer.to
    line = RtpLine(voice(5))
    (await invitation.connected(peer.facts)).attach(line)
    for number in range(5):
        peer.speak(number)
        stranger.speak(99)
        await asyncio.sleep(0.02)
    await until(lambda: voice(2) in line.heard and voice(5) in peer.heard())
    assert door.count("strangers") == 5


# -- ends -------------------------------------------------------------------------------------------------


async def test_a_silent_leg_is_lost_once(make_door: type[Door]) -> None:
    door = make_door(silence_seconds=0.2)
    line = RtpLine()
    peer, media = await door.call(line)
    peer.speak(1)
    await until(lambda: line.lost)
    assert line.lost == ["no RTP from Asterisk for 0.2 s"]
    assert door.count("silent_legs") == 1
    assert door.wheel.seats == 0
    await until(lambda: door.transport.connections == 0)
    media.close()
    assert len(line.lost) == 1


async def test_a_leg_that_sends_is_not_lost(make_door: type[Door]) -> None:
    door = make_door(silence_seconds=0.2)
    line = RtpLine()
    peer, _ = await door.call(line)
    for number in range(30):
        peer.speak(number)
        await asyncio.sleep(0.02)
    assert line.lost == []


async def test_a_peer_that_is_gone_is_noticed_at_once(door: Door) -> None:
    line = RtpLine()
    peer, _ = await door.call(line)
    peer.sock.close()
    await until(lambda: line.lost, 2.0)
    assert "refused" in line.lost[0]
    assert door.count("unreachable") == 10


async def test_a_refusal_now_and_then_is_forgiven(door: Door) -> None:
    line = RtpLine()
    peer, media = await door.call(line)
    for _ in range(20):
        media.error_received(ConnectionRefusedError())
        before = door.wheel.seats
        peer.speak(1)
        await asyncio.sleep(0.02)
        assert before == 1
    assert line.lost == []
    assert door.count("unreachable") == 20


async def test_the_loss_of_a_leg_that_is_not_attached_yet_is_told_then(make_door: type[Door]) -> None:
    door = make_door(silence_seconds=0.1)
    _, media = await door.call()
    await until(lambda: door.count("silent_legs"))
    line = RtpLine()
    media.attach(line)
    await until(lambda: line.lost)
    assert line.lost == ["no RTP from Asterisk for 0.1 s"]


async def test_after_close_nothing_is_sent_nor_heard(make_door: type[Door]) -> None:
    door = make_door(port_min=19416, port_max=19417)
    line = RtpLine()
    peer, media = await door.call(line)
    await until(lambda: peer.listen())
    media.flush()
    media.close()
    media.close()
    asked, sent = line.asked, len(peer.listen())
    assert door.wheel.seats == 0
    media.attach(RtpLine())
    await until(lambda: door.transport.connections == 0)
    assert door.transport.invite(SLIN8).leg.external_host.endswith(":19416")
    peer.speak(1)
    await asyncio.sleep(0.05)
    assert (line.asked, len(peer.listen()), line.heard, line.lost) == (asked, sent, [], [])


async def test_a_line_may_close_its_media_at_any_moment(door: Door) -> None:
    class Closing(RtpLine):
        def frame_received(self, pcm: bytes) -> None:
            super().frame_received(pcm)
            media.close()

    line = Closing()
    peer, media = await door.call(line)
    peer.speak(1, 2, 3)
    await until(lambda: line.heard)
    await until(lambda: door.transport.connections == 0)
    assert len(line.heard) == 1
    assert line.lost == []


async def test_a_fault_of_the_call_ends_its_leg_and_no_other(door: Door) -> None:
    class Faulty(RtpLine):
        def next_frame(self) -> bytes | None:
            raise RuntimeError("a bug")

    faulty, healthy = Faulty(), RtpLine()
    await door.call(faulty)
    await door.call(healthy)
    await until(lambda: faulty.lost)
    assert door.count("faults") == 1
    asked = healthy.asked
    await until(lambda: healthy.asked > asked + 2)


async def test_closing_the_transport_ends_everything(make_door: type[Door]) -> None:
    door = make_door()
    line = RtpLine()
    peer, _ = await door.call(line)
    invitations = [door.transport.invite(SLIN8) for _ in range(3)]
    waiting = asyncio.create_task(invitations[0].connected({}))
    await asyncio.sleep(0.02)
    await asyncio.wait_for(door.transport.close(), 5)
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], PeerError)
    assert door.wheel.seats == door.transport.connections == 0
    assert line.lost == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
        anybody.bind(peer.to)


def ticked(ticks: Iterable[float], *frames: bytes | None) -> list[RtpPacket | None]:
    """What is sent when the wheel turns at these times (seconds); None where nothing is."""
    now = 0.0
    sent: list[RtpPacket | None] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        ours.connect(peer.getsockname())
        door = RtpTransport(RtpSettings(), TimerWheel(), lambda: now)
        media = RtpMedia(door, ours, SLIN8, lambda: None)
        media.attach(RtpLine(*frames))
        for now in ticks:  # noqa: B007 - the clock reads it
            media._tick()
            try:
                sent.append(parse_rtp(peer.recv(2048)))
            except BlockingIOError:
                sent.append(None)
        assert door.counters["withheld"] == sent.count(None)
    return sent


async def test_time_the_wheel_skipped_is_time_in_the_stream() -> None:
    ticks = [0.0, 0.02, 0.059, 0.0591, 0.5, 0.5001, 0.52]
    packets = [packet for packet in ticked(ticks, *[voice(1)] * 7) if packet is not None]
    steps = [(later.timestamp - packets[0].timestamp & 0xFFFFFFFF) // 160 for later in packets]
    assert steps == [0, 1, 2, 3, 24, 25, 26]
    assert [packet.marker for packet in packets] == [True, False, False, False, True, False, False]
    assert [(packet.sequence - packets[0].sequence) & 0xFFFF for packet in packets] == list(range(7))


async def test_after_a_hitch_some_silence_is_withheld_and_never_speech() -> None:
    late = [0.0, 0.02, 0.04, 0.075, 0.08]
    ticks = [*late, *(number / 50 for number in range(5, 60))]
    sent = ticked(ticks, *[voice(1)] * 10, None, None, None, *[voice(1)] * 10)
    assert None not in sent[:23], "between the words there was not silence enough"
    withheld = [number for number, packet in enumerate(sent) if packet is None]
    assert len(withheld) == 2
    assert min(withheld) > 23
    assert withheld[1] - withheld[0] >= 5
    packets = [packet for packet in sent if packet is not None]
    assert [(packet.sequence - packets[0].sequence) & 0xFFFF for packet in packets] == list(range(58))
    last = sent[-1]
    assert last is not None
    assert (last.timestamp - packets[0].timestamp & 0xFFFFFFFF) == 160 * 59
    assert sum(packet.marker for packet in packets) == 3, "of the first, and of those after a hole"


async def test_without_a_hitch_all_silence_is_sent() -> None:
    wavering = [number / 50 + (0.004 if number % 3 else 0) for number in range(50)]
    assert None not in ticked(wavering, voice(1))


@pytest.mark.parametrize(
    "check",
    [
        test_sound_flows_both_ways,
        test_strangers_are_not_heard,
        test_without_facts_whoever_sends_first_is_the_peer,
        test_a_peer_that_is_gone_is_noticed_at_once,
        test_a_port_withdrawn_while_it_waits_for_its_peer,
    ],
)
def test_a_door_on_uvloop(check: Callable[[Door], Awaitable[None]]) -> None:
    async def main() -> None:
        async with doors() as make_door:
            await check(make_door())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    "check",
    [
        test_a_withdrawn_invitation_gives_its_port_back,
        test_a_silent_leg_is_lost_once,
        test_after_close_nothing_is_sent_nor_heard,
        test_closing_the_transport_ends_everything,
        test_only_an_allowed_peer_can_be_the_first,
        test_sound_flows_over_ipv6,
    ],
)
def test_doors_on_uvloop(check: Callable[[type[Door]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with doors() as make_door:
            await check(make_door)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
