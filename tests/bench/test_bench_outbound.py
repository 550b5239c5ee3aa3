"""What the wire says of calls that are asked for."""

from dataclasses import replace
from pathlib import Path

import dpkt
import numpy as np
import pytest

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.bench.outbound import Outbound, Seen, idle_ms, percentile, read
from scripts.bench.report import Findings

PEER, ASTERISK, RTP, PHONE = 32001, 5160, 20004, 6000
TONE = pcm_to_ulaw((8000 * np.sin(np.arange(160) * 2 * np.pi * 440 / 8000)).astype("<i2").tobytes())
QUIET = b"\xff" * 160

GOOD = Outbound(
    first_dialled_ms=900.0,
    dialled_ms=[150.0] * 24,
    accepted_ms=[200.0] * 24,
    heard_ms=[20.0] * 25,
    settled_seconds=5.0,
    ideal_seconds=2.5,
    idle_ms=[200.0] * 15,
)


def _sip(line: str, call_id: str, cseq: str, body: str = "") -> bytes:
    return f"{line}\r\nVia: SIP/2.0/UDP x\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\r\n{body}".encode()


def _rtp(payload: bytes, number: int) -> bytes:
    return bytes(dpkt.rtp.RTP(version=2, pt=0, seq=number, ts=160 * number, ssrc=1, data=payload))


def _write(path: Path, packets: list[tuple[float, int, int, bytes]]) -> None:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at, source, target, data in packets:
            udp = dpkt.udp.UDP(sport=source, dport=target, data=data)
            udp.ulen = len(udp)
            ip = dpkt.ip.IP(src=b"\x7f\0\0\1", dst=b"\x7f\0\0\1", p=dpkt.ip.IP_PROTO_UDP, data=udp)
            ip.len = len(ip)
            writer.writepkt(bytes(dpkt.ethernet.Ethernet(type=dpkt.ethernet.ETH_TYPE_IP, data=ip)), ts=at)


def test_a_call_is_read_from_its_packets(tmp_path: Path) -> None:
    invite = _sip("INVITE sip:+1555@127.0.0.1:32001 SIP/2.0", "a", "7 INVITE", f"v=0\r\nm=audio {RTP} RTP/AVP 0\r\n")
    _write(
        tmp_path / "x.pcap",
        [
            (1.0, ASTERISK, PEER, invite),
            (1.5, ASTERISK, PEER, invite),  # sent again
            (1.6, PEER, ASTERISK, _sip("SIP/2.0 180 Ringing", "a", "7 INVITE")),
            (1.7, RTP, PHONE, _rtp(TONE, 1)),  # before anybody has answered
            (2.0, PEER, ASTERISK, _sip("SIP/2.0 200 OK", "a", "7 INVITE")),
            (2.1, RTP, PHONE, _rtp(QUIET, 2)),
            (2.2, RTP + 2, PHONE, _rtp(TONE, 1)),  # another call's
            (2.3, RTP, PHONE, _rtp(TONE, 3)),
            (2.4, RTP, PHONE, _rtp(TONE, 4)),
            (3.0, ASTERISK, PEER, _sip("BYE sip:peer@127.0.0.1 SIP/2.0", "a", "8 BYE")),
            (3.1, PEER, ASTERISK, _sip("SIP/2.0 200 OK", "a", "8 BYE")),
        ],
    )
    [call] = read(tmp_path / "x.pcap", [PEER])
    assert (call.number, call.rtp_port) == ("+1555", RTP)
    assert (call.invited, call.answered, call.voice, call.ended) == pytest.approx((1.0, 2.0, 2.3, 3.0))


def test_a_line_waits_from_one_call_to_the_next() -> None:
    times = [(0.0, 1.0), (0.1, 2.0), (1.2, 3.0), (2.5, 4.0)]
    calls = [Seen("", 0, invited, ended=ended) for invited, ended in times]
    assert idle_ms(calls, 2) == pytest.approx([200.0, 500.0])


def test_percentiles_are_among_what_was_measured() -> None:
    values = [float(value) for value in range(20, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 100)] == [10.0, 19.0, 20.0]
    assert percentile([], 50) == 0.0


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (GOOD, [True, True, True]),
        (replace(GOOD, dialled_ms=[1500.0] * 24), [False, True, True]),
        (replace(GOOD, dialled_ms=[]), [False, False, True]),
        (replace(GOOD, heard_ms=[20.0] * 20), [True, False, True]),
        (replace(GOOD, heard_ms=[900.0] * 25), [True, False, True]),
        (replace(GOOD, idle_ms=[1200.0] * 15), [True, True, False]),
        (replace(GOOD, lost=1), [True, True, False]),
    ],
)
def test_promises(found: Outbound, met: list[bool]) -> None:
    assert [bar.met for bar in Findings({}, outbound=found).bars()] == met
    assert Findings({}, outbound=found).plain()["outbound"]["lost"] == found.lost
