"""RTP packets as bytes, the way they stand on the wire."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.errors import PeerError
from ai_engine.protocol.rtp import RtpPacket, RtpWriter, is_rtcp, parse_rtp, swap_bytes

CAPTURED = bytes.fromhex("800a7cc3 00000140 63145241") + bytes(320)
"""The second packet of a real Asterisk 22.10.1 with ``format=slin`` (a snoop of a silent caller)."""

SENDER_REPORT = bytes.fromhex("80c80006 63145241") + bytes(20)


def test_what_asterisk_sends() -> None:
    packet = parse_rtp(CAPTURED)
    assert packet == RtpPacket(10, False, 0x7CC3, 320, 0x63145241, bytes(320))


def test_the_marker_is_no_part_of_the_payload_type() -> None:
    packet = parse_rtp(bytes.fromhex("808a0001 00000002 00000003"))
    assert (packet.payload_type, packet.marker, packet.payload) == (10, True, b"")


@pytest.mark.parametrize(
    ("datagram", "payload"),
    [
        ("820a0001 00000002 00000003 aaaaaaaa bbbbbbbb 0102", b"\1\2"),
        ("900a0001 00000002 00000003 bede0001 11223344 0102", b"\1\2"),
        ("900a0001 00000002 00000003 bede0000 0102", b"\1\2"),
        ("a00a0001 00000002 00000003 0102 0002", b"\1\2"),
        ("a00a0001 00000002 00000003 0102 01", b"\1\2"),
        ("b10a0001 00000002 00000003 aaaaaaaa bede0001 11223344 0102 00000004", b"\1\2"),
        ("a00a0001 00000002 00000003 00000004", b""),
    ],
    ids=["sources", "extension", "empty extension", "padding", "least padding", "all of them", "nothing but padding"],
)
def test_what_is_not_sound_is_taken_off(datagram: str, payload: bytes) -> None:
    assert parse_rtp(bytes.fromhex(datagram)) == RtpPacket(10, False, 1, 2, 3, payload)


@pytest.mark.parametrize(
    "datagram",
    [
        "",
        "80",
        "800a0001 00000002 000000",
        "000a0001 00000002 00000003",
        "400a0001 00000002 00000003",
        "c00a0001 00000002 00000003",
        "810a0001 00000002 00000003",
        "8f0a0001 00000002 00000003 00000000",
        "900a0001 00000002 00000003",
        "900a0001 00000002 00000003 bede",
        "900a0001 00000002 00000003 bedeffff 00000000",
        "a00a0001 00000002 00000003 0000",
        "a00a0001 00000002 00000003 03",
        "a00a0001 00000002 000000ff",
    ],
)
def test_what_is_no_rtp_is_refused(datagram: str) -> None:
    with pytest.raises(PeerError):
        parse_rtp(bytes.fromhex(datagram))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_an_error_of_the_peer(datagram: bytes) -> None:
    try:
        packet = parse_rtp(datagram)
    except PeerError:
        return
    assert packet.payload in datagram


def test_reports_are_told_from_sound() -> None:
    assert is_rtcp(SENDER_REPORT)
    assert is_rtcp(bytes.fromhex("81c90007"))
    assert not is_rtcp(CAPTURED)
    assert not is_rtcp(bytes.fromhex("808a0001"))
    assert not is_rtcp(b"")
    assert not is_rtcp(b"\x80")


def test_a_stream_begins_with_a_marker_and_counts_on() -> None:
    writer = RtpWriter(10, 0x63145241, 0xFFFF, 0xFFFFFFFF)
    assert writer.packet(b"\1\2", 160) == bytes.fromhex("808affff ffffffff 63145241 0102")
    assert writer.packet(b"", 160) == bytes.fromhex("800a0000 0000009f 63145241")
    assert writer.packet(b"", 160) == bytes.fromhex("800a0001 0000013f 63145241")


def test_after_a_pause_time_has_gone_by_and_no_packet_is_missing() -> None:
    writer = RtpWriter(10, 0, 7, 1000)
    writer.packet(b"", 160)
    writer.pause(320)
    packet = parse_rtp(writer.packet(b"", 160))
    assert (packet.marker, packet.sequence, packet.timestamp) == (True, 8, 1480)
    assert not parse_rtp(writer.packet(b"", 160)).marker


def test_sound_is_big_endian_on_the_wire() -> None:
    pcm = array("h", [1, -2, 256]).tobytes()
    assert swap_bytes(pcm) == bytes.fromhex("0001 fffe 0100")
    assert swap_bytes(swap_bytes(pcm)) == pcm
