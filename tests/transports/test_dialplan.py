"""Calls without ARI, over real loopback sockets: what the dialplan's AudioSocket() gives, and what it cannot."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone, PeerError
from ai_engine.protocol.audiosocket import Audio, HungUp, Message, encode_audio
from ai_engine.session.ports import CallControl, Invitation, Media, Topology, Transport
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.dialplan import DialplanCall, DialplanInvitation, DialplanMedia, DialplanTransport
from tests.fakes.line import RecordingLine
from tests.transports.audiosocket_peer import DEADLINE, SILENCE, Door, Peer, uuid_message, voice
from tests.waiting import until

ID = UUID("12345678-9abc-def0-1122-334455667788")


def fits_its_ports(
    call: DialplanCall, transport: DialplanTransport, invitation: DialplanInvitation, media: DialplanMedia
) -> tuple[CallControl, Transport, Invitation, Media]:
    """For mypy."""
    return call, transport, invitation, media


class Reception:
    """An engine that takes every call nobody invited, or none."""

    def __init__(self) -> None:
        self.willing = True
        self.calls: list[DialplanCall] = []
        self.door = Door(self.take, dialplan_first=True)

    def take(self, connection: AudioSocketConnection) -> bool:
        if self.willing:
            self.calls.append(DialplanCall(connection))
        return self.willing

    async def next_call(self, peer: Peer, uuid: UUID = ID, first: bytes = b"") -> DialplanCall:
        """``peer`` introduces itself and says ``first``."""
        number = len(self.calls)
        peer.send(uuid_message(uuid) + first)
        await until(lambda: len(self.calls) > number, DEADLINE)
        return self.calls[-1]


@pytest.fixture
async def reception() -> AsyncIterator[Reception]:
    reception = Reception()
    async with reception.door:
        yield reception


async def media_of(call: DialplanCall, line: RecordingLine | None = None) -> Media:
    invitation = call.transport.invite(call.format)
    assert await call.create_leg(invitation.leg) == {}
    media = await invitation.connected({})
    await call.join(call.transport.topology)
    if line is not None:
        media.attach(line)
    return media


async def all_events(call: DialplanCall) -> list[CallEvent]:
    async with asyncio.timeout(DEADLINE):
        return [event async for event in call.events()]


def hello(number: int = 1) -> bytes:
    return encode_audio(8000, voice(number))


# -- a call -----------------------------------------------------------------------------------------------


async def test_a_connection_nobody_invited_is_a_call(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=hello())
        assert (call.channel_id, call.caller_number, call.dialled, dict(call.variables)) == (str(ID), "", "", {})
        assert call.format == SLIN8
        leg = call.transport.invite(SLIN8).leg
        assert (leg.uuid, leg.codec, leg.data) == (ID, "slin", str(ID))
        assert (call.transport.name, call.transport.topology) == ("audiosocket", Topology.BRIDGED)
        assert reception.door.count("uninvited") == 1


async def test_talk_goes_both_ways_and_keys_are_events(reception: Reception) -> None:
    line = RecordingLine(voice(5), voice(6))
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=hello())
        await call.answer()
        await call.keep_alive(15)
        await call.set_variables({"OFFHOOK_STATE": "talking"})
        await media_of(call, line)
        peer.send(hello(7) + b"\x03\x00\x015" + hello(8))
        await until(lambda: len(line.heard) == 2, DEADLINE)
        assert line.heard == [voice(7), voice(8)]
        got: list[Message | None] = []
        while len(got) < 2:
            message = await peer.message()
            if message != SILENCE:
                got.append(message)
        assert got == [Audio(8000, voice(5)), Audio(8000, voice(6))]
        peer.send(b"\0\0\0")
        assert await all_events(call) == [DigitReceived("5"), CallerHungUp()]
    assert (line.digits, line.lost) == ([], [])


@pytest.mark.parametrize("ending", ["0x00", "0xff", "fin", "rst"])
async def test_the_caller_hangs_up(reception: Reception, ending: str) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        await media_of(call, RecordingLine())
        match ending:
            case "0x00":
                peer.send(b"\0\0\0")
            case "0xff":
                peer.send(b"\xff\0\1\2")
            case "fin":
                peer.writer.write_eof()
            case "rst":
                peer.reset()
        assert await all_events(call) == [CallerHungUp()]
        for gone in (call.answer(), call.hang_up(), call.transfer("", ""), call.play("1", "sound:x")):
            with pytest.raises(CallGone):
                await gone
        await call.close()


async def test_the_engine_hangs_up(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        media = await media_of(call, line)
        await call.hang_up()
        media.close()
        await call.close()
        assert (await peer.until_closed())[-1] == HungUp()
        assert not peer.was_reset
    assert line.lost == []


async def test_handing_on_is_a_reset_without_a_goodbye(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        media = await media_of(call, line)
        await call.transfer("human", "s")
        media.close()
        await call.close()
        assert HungUp() not in await peer.until_closed()
        assert peer.was_reset
        assert await all_events(call) == []
    assert line.lost == []


async def test_a_call_that_is_only_released_goes_to_the_human_too(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        await call.close()
        await call.close()
        await peer.until_closed()
        assert peer.was_reset
        assert await all_events(call) == []


async def test_a_caller_can_be_handed_on_when_the_session_has_closed_its_media(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        invitation = call.transport.invite(SLIN8)
        media = await invitation.connected({})
        media.attach(line)
        media.close()
        invitation.withdraw()
        await call.drop_leg()
        asked = line.asked
        assert [await peer.message() for _ in range(20)][-1] == SILENCE
        assert line.asked == asked
        media.attach(line)
        assert [await peer.message() for _ in range(5)][-1] == SILENCE
        assert line.asked == asked
        await call.transfer("", "")
        await peer.until_closed()
        assert peer.was_reset


# -- what there is only one of, and what there is not -------------------------------------------------------


async def test_the_connection_can_be_had_once(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        media = await media_of(call)
        media.close()
        with pytest.raises(PeerError, match="one connection"):
            await call.transport.invite(SLIN8).connected({})


async def test_the_connection_has_one_format(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        with pytest.raises(PeerError, match="8000 Hz"):
            await call.transport.invite(SLIN16).connected({})


async def test_a_lost_connection_is_no_way_for_sound(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        peer.reset()
        await all_events(call)
        with pytest.raises(PeerError, match="gone"):
            await call.transport.invite(SLIN8).connected({})


async def test_what_needs_ari_says_so(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        for asked in (
            call.play("1", "sound:x"),
            call.pause_playback("1"),
            call.resume_playback("1"),
            call.stop_playback("1"),
            call.send_digits("1"),
        ):
            with pytest.raises(AsteriskError, match="needs ARI"):
                await asked
        assert await peer.message() == SILENCE


# -- the format is learned --------------------------------------------------------------------------------


async def test_the_first_sound_tells_that_it_is_wideband(reception: Reception) -> None:
    line = RecordingLine(voice(5) * 2)
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=encode_audio(16000, voice(1) * 2))
        assert call.format == SLIN16
        assert call.transport.invite(SLIN16).leg.codec == "slin16"
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, uuid4(), first=encode_audio(16000, voice(1) * 2))
        media = await media_of(call, line)
        assert media.format == SLIN16
        peer.send(encode_audio(16000, voice(2) * 2))
        await until(lambda: line.heard, DEADLINE)
        assert line.heard == [voice(2) * 2]
        got = [await peer.message() for _ in range(15)]
        assert Audio(16000, voice(5) * 2) in got


async def test_a_caller_who_sends_nothing_is_offered_before_long(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        began = asyncio.get_running_loop().time()
        call = await reception.next_call(peer)
        assert asyncio.get_running_loop().time() - began >= 0.1
        assert call.format == SLIN8


async def test_wideband_that_comes_too_late_to_be_agreed_is_converted(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        await media_of(call, line)
        for _ in range(10):
            peer.send(encode_audio(16000, b"\x00\x10" * 320))
        await until(lambda: len(line.heard) == 10, DEADLINE)
        assert {len(frame) for frame in line.heard} == {320}
        assert int.from_bytes(line.heard[5][100:102], "little") == pytest.approx(0x1000, abs=16)
        assert await peer.message() == SILENCE


# -- who is refused ---------------------------------------------------------------------------------------


async def test_rates_no_call_can_have_are_refused(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        peer.send(uuid_message(ID) + encode_audio(48000, bytes(1920)))
        await peer.until_closed()
        assert peer.was_reset
    assert (reception.calls, reception.door.count("protocol_errors")) == ([], 1)


async def test_an_engine_that_takes_no_calls_sends_the_caller_to_the_human(reception: Reception) -> None:
    reception.willing = False
    async with reception.door.peer() as peer:
        peer.send(uuid_message(ID) + hello())
        await peer.until_closed()
        assert peer.was_reset
    assert reception.door.count("refused_uninvited") == 1


@pytest.mark.parametrize("first", [b"", hello()], ids=["silent", "speaking"])
async def test_a_defect_in_taking_a_call_is_the_end_of_that_call(reception: Reception, first: bytes) -> None:
    def fail(connection: AudioSocketConnection) -> bool:
        raise RuntimeError("a bug")

    reception.door.listener.on_uninvited = fail
    async with reception.door.peer() as peer:
        peer.send(uuid_message(ID) + first)
        await peer.until_closed()
        assert peer.was_reset
    assert reception.door.count("faults") == 1


async def test_one_uuid_is_one_call_at_a_time(reception: Reception) -> None:
    async with reception.door.peer() as peer, reception.door.peer() as twin:
        call = await reception.next_call(peer, first=hello())
        twin.send(uuid_message(ID) + hello())
        await twin.until_closed()
        assert twin.was_reset
        assert reception.calls == [call]
        assert await peer.message() == SILENCE
        await call.hang_up()
        await peer.until_closed()
    await until(lambda: reception.door.listener.connections == 0, DEADLINE)
    async with reception.door.peer() as peer:
        await reception.next_call(peer)
    assert reception.door.count("refused_unknown_uuid") == 1


async def test_a_leg_that_comes_too_late_is_no_call(reception: Reception) -> None:
    invitation = reception.door.listener.invite(SLIN8)
    invitation.withdraw()
    async with reception.door.peer() as peer:
        peer.send(uuid_message(invitation.leg.uuid) + hello())
        await peer.until_closed()
    async with reception.door.peer() as first, reception.door.peer() as second:
        media = await reception.door.connected(first)
        second.send(uuid_message(media.uuid) + hello())
        await second.until_closed()
    assert reception.calls == []
    assert reception.door.count("refused_unknown_uuid") == 2


async def test_invited_connections_are_as_ever(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        await reception.door.connected(peer, line)
        peer.send(hello() + b"\x03\x00\x01#\0\0\0")
        await until(lambda: line.lost, DEADLINE)
    assert (line.heard, line.digits, reception.calls) == ([voice(1)], ["#"], [])


@pytest.mark.parametrize("switch", ["off", "nobody"])
async def test_dialplan_first_is_asked_for(switch: str) -> None:
    taken: list[AudioSocketConnection] = []

    def take(connection: AudioSocketConnection) -> bool:
        taken.append(connection)
        return True

    async with (
        Door(take if switch == "off" else None, dialplan_first=switch != "off") as door,
        door.peer() as peer,
    ):
        peer.send(uuid_message(ID) + hello())
        await peer.until_closed()
        assert peer.was_reset
        assert taken == []


# -- when it breaks ---------------------------------------------------------------------------------------


async def test_a_peer_that_breaks_the_rules_is_handed_back(reception: Reception) -> None:
    line = RecordingLine()
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=hello())
        await media_of(call, line)
        peer.send(b"\x02\x00\x00")
        await peer.until_closed()
        assert peer.was_reset
        assert await all_events(call) == [MediaLost("unknown kind 0x02"), TakenBack()]
    assert line.lost == []


async def test_a_session_that_breaks_loses_its_caller_to_the_human(reception: Reception) -> None:
    line = RecordingLine()

    def fail() -> bytes:
        raise RuntimeError("a bug")

    line.next_frame = fail  # type: ignore[method-assign]
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=hello())
        await media_of(call, line)
        await peer.until_closed()
        assert peer.was_reset
        *_, last = await all_events(call)
        assert last == TakenBack()


async def test_closing_the_door_hands_on_whoever_is_left(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer)
        await reception.door.listener.close()
        await peer.until_closed()
        assert peer.was_reset
        *_, last = await all_events(call)
        assert last == TakenBack()


async def test_keys_nobody_reads_do_not_pile_up(reception: Reception) -> None:
    async with reception.door.peer() as peer:
        call = await reception.next_call(peer, first=hello())
        peer.send(b"\x03\x00\x011" * 500 + b"\x03\x00\x012\0\0\0")
        await until(lambda: reception.door.listener.connections == 0, DEADLINE)
        events = await all_events(call)
        assert len(events) < 64
        assert events[-2:] == [DigitReceived("2"), CallerHungUp()]
