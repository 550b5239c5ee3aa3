"""A capture of our own packets on loopback: content, kernel time, live waits."""

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.measure import MARKER_HZ
from scripts.trial.wire import RtpCapture, parse_frame, read_pcap

TONE = pcm_to_ulaw((8000 * np.sin(2 * np.pi * MARKER_HZ / 8000 * np.arange(160))).astype(np.int16).tobytes())
QUIET = pcm_to_ulaw(bytes(320))


class Talker:
    """Sends RTP from one loopback port to another."""

    def __init__(self) -> None:
        self.source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.source.bind(("127.0.0.1", 0))
        self.target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.target.bind(("127.0.0.1", 0))
        self.sequence = 0

    @property
    def ports(self) -> range:
        port: int = self.target.getsockname()[1]
        return range(port, port + 1)

    def send(self, payload: bytes, payload_type: int = 0) -> None:
        header = struct.pack("!BBHII", 0x80, payload_type, self.sequence, self.sequence * 160, 7)
        self.source.sendto(header + payload, self.target.getsockname())
        self.sequence += 1

    async def stream(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.send(payload)
            await asyncio.sleep(0.02)


@pytest.fixture
def talker() -> Iterator[Talker]:
    talker = Talker()
    yield talker
    talker.source.close()
    talker.target.close()


async def test_every_packet_is_seen_once_with_its_time(talker: Talker, tmp_path: Path) -> None:
    began = time.time()
    async with RtpCapture(talker.ports, tmp_path / "c.pcap") as wire:
        await talker.stream(TONE, QUIET, TONE)
    assert [(p.sequence, p.timestamp, p.payload) for p in wire.packets] == [
        (0, 0, TONE),
        (1, 160, QUIET),
        (2, 320, TONE),
    ]
    assert all(began <= packet.at <= time.time() for packet in wire.packets)
    assert wire.dropped == 0
    assert wire.to(talker.ports).packets == wire.packets
    assert wire.sent_from(talker.ports).packets == []
    assert read_pcap(tmp_path / "c.pcap") == wire.packets


async def test_rtcp_and_other_datagrams_are_left_out(talker: Talker, tmp_path: Path) -> None:
    async with RtpCapture(talker.ports, tmp_path / "c.pcap") as wire:
        talker.send(b"sender report", payload_type=72)
        talker.source.sendto(b"x", talker.target.getsockname())
        talker.source.sendto(b"not rtp, yet long enough", talker.target.getsockname())
        talker.send(QUIET)
    assert [packet.payload for packet in wire.packets] == [QUIET]
    assert parse_frame(b"", 0) is None


async def test_live_waits_tell_when_it_happened(talker: Talker, tmp_path: Path) -> None:
    async with RtpCapture(talker.ports, tmp_path / "c.pcap") as wire, asyncio.TaskGroup() as group:
        heard = wire.to(talker.ports)
        voice = group.create_task(heard.wait_voice())
        tone = group.create_task(heard.wait_tone())
        quiet = group.create_task(heard.wait_quiet(0.2))
        await talker.stream(*[QUIET] * 5, *[TONE] * 15, *[QUIET] * 15)
        await asyncio.gather(voice, tone, quiet)
        at = [packet.at for packet in heard.packets]
    assert voice.result() == tone.result() == at[5]
    assert quiet.result() == pytest.approx(at[19] + 0.02)


async def test_quiet_is_noticed_when_packets_cease(talker: Talker, tmp_path: Path) -> None:
    async with RtpCapture(talker.ports, tmp_path / "c.pcap") as wire:
        await talker.stream(TONE)
        assert await wire.to(talker.ports).wait_quiet(0.2) == pytest.approx(wire.packets[0].at + 0.02)
        assert await wire.to(talker.ports).wait_quiet(0.2) == pytest.approx(wire.packets[0].at + 0.02), "as before"


async def test_waits_give_up_in_words(talker: Talker, tmp_path: Path) -> None:
    async with RtpCapture(talker.ports, tmp_path / "c.pcap") as wire:
        await talker.stream(TONE)
        heard = wire.to(talker.ports)
        with pytest.raises(TimeoutError, match="no voice within 0.1 s"):
            await heard.wait_voice(after=time.time(), timeout=0.1)
        with pytest.raises(TimeoutError, match="no 1004.0 Hz tone within 0.1 s"):
            await heard.wait_tone(timeout=0.1)
        with pytest.raises(TimeoutError, match="quiet within 0.1 s"):
            await heard.wait_quiet(after=time.time(), timeout=0.1)
