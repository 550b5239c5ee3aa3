"""A live look at RTP on loopback, with the kernel's time for each packet, kept as a pcap file as well.

What travels as G.722 is shown as G.711 (µ-law) of its lower half, so that everything below works on either.

async with RtpCapture(trial.rtp_ports, directory / "call.pcap") as wire:
    heard = wire.to(phone.rtp_ports)              # Stream: what Asterisk sends to that phone
    spoken = wire.sent_from(phone.rtp_ports)      # Stream: what that phone sends
    at = await heard.wait_voice(timeout=5)        # epoch seconds of the first voiced packet
    at = await heard.wait_quiet(0.6, timeout=20)  # epoch seconds at which the last voice ended
    at = await heard.wait_tone(timeout=5)         # the caller has reached the human extension
    async for packet in heard.live(): ...         # each RtpPacket as it comes
heard.packets                                     # list[RtpPacket], for scripts.trial.measure
wire.dropped                                      # packets the capture itself missed; must be 0
"""

import asyncio
import re
import signal
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import dpkt

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.g722 import LowerBand
from scripts.trial.measure import MARKER_HZ, PCMU, RATE, RtpPacket, is_tone, is_voice
from scripts.trial.rootfs import TrialError, as_root

WAIT_SECONDS = 10.0
"""How long a wait lasts unless told, and how long tcpdump may take to begin and to end."""

TONE_PACKETS = 10
"""So many packets of pure tone in a row (200 ms) are a tone and not a vowel."""

CAPTURE_DELAY = 0.05
"""Seconds a packet may take from the kernel to us; silence is believed only after that."""

G722 = 9
"""RTP payload type."""

_FILE_HEADER_BYTES = 24
_RECORD_HEADER = struct.Struct("<IIII")
_RTCP_TYPES = range(72, 77)


class RtpCapture:
    """All RTP on loopback from or to ``ports``, from entering the block until leaving it."""

    def __init__(self, ports: range, pcap_path: Path) -> None:
        self.ports = ports
        self.pcap_path = pcap_path
        self.packets: list[RtpPacket] = []
        """Everything seen so far, both ways, all calls."""
        self.dropped = 0
        """Known after stop()."""
        self._wideband: dict[tuple[int, int], LowerBand] = {}
        self._news = asyncio.Event()
        self._ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; packets sent after this returns are seen. Raises TrialError when tcpdump cannot capture."""
        wanted = f"udp portrange {self.ports.start}-{self.ports.stop - 1}"
        command = as_root(["tcpdump", "-i", "lo", "--immediate-mode", "-U", "-w", "-", wanted])
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except FileNotFoundError as error:
            raise TrialError("tcpdump is missing: run scripts/setup (or apt-get install tcpdump)") from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        complaints = await _until_listening(self._process.stderr)
        if complaints:
            raise TrialError(f"tcpdump cannot capture on loopback: {complaints}")
        self._tasks = [
            asyncio.create_task(self._read(self._process.stdout)),
            asyncio.create_task(self._count_drops(self._process.stderr)),
        ]

    async def stop(self) -> None:
        """End, with every packet up to now in ``packets`` and in the file; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            await asyncio.sleep(CAPTURE_DELAY)
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(asyncio.gather(*self._tasks, process.wait()), WAIT_SECONDS)
        self._ended = True
        self._announce()

    def to(self, ports: range) -> "Stream":
        """What is sent to one phone's ports."""
        return Stream(self, lambda packet: packet.dst in ports)

    def sent_from(self, ports: range) -> "Stream":
        """What one phone sends."""
        return Stream(self, lambda packet: packet.src in ports)

    async def has_more(self, index: int, seconds: float | None = None) -> bool:
        """Wait until packet number ``index`` is there; False if the capture ended or ``seconds`` passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.packets) <= index and not self._ended:
                    await self._news.wait()
        return len(self.packets) > index

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _read(self, pipe: asyncio.StreamReader) -> None:
        with self.pcap_path.open("wb") as file, suppress(asyncio.IncompleteReadError):
            file.write(await pipe.readexactly(_FILE_HEADER_BYTES))
            while True:
                await self._read_record(pipe, file)

    async def _read_record(self, pipe: asyncio.StreamReader, file: IO[bytes]) -> None:
        header = await pipe.readexactly(_RECORD_HEADER.size)
        seconds, microseconds, length, _ = _RECORD_HEADER.unpack(header)
        frame = await pipe.readexactly(length)
        file.write(header + frame)
        if packet := parse_frame(frame, seconds + microseconds / 1e6):
            self.packets.append(self._narrowed(packet))
            self._announce()

    def _narrowed(self, packet: RtpPacket) -> RtpPacket:
        if packet.payload_type != G722:
            return packet
        decoder = self._wideband.setdefault((packet.src, packet.dst), LowerBand())
        ulaw = pcm_to_ulaw(decoder.decode(packet.payload).tobytes())
        return replace(packet, payload_type=PCMU, payload=ulaw)

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _count_drops(self, pipe: asyncio.StreamReader) -> None:
        said = (await pipe.read()).decode(errors="replace")
        if found := re.search(r"(\d+) packets? dropped by kernel", said):
            self.dropped = int(found.group(1))


class Stream:
    """The packets of a capture that go one way for one phone, and waits for what can be heard in them."""

    def __init__(self, capture: RtpCapture, chosen: Callable[[RtpPacket], bool]) -> None:
        self._capture = capture
        self._chosen = chosen

    @property
    def packets(self) -> list[RtpPacket]:
        """All so far, in the order seen."""
        return [packet for packet in self._capture.packets if self._chosen(packet)]

    async def live(self, after: float = 0.0) -> AsyncIterator[RtpPacket]:
        """Each audio packet seen after epoch second ``after``, then each new one, until the capture ends."""
        index = 0
        while await self._capture.has_more(index):
            packet = self._capture.packets[index]
            index += 1
            if packet.at > after and packet.payload_type == PCMU and self._chosen(packet):
                yield packet

    async def wait_voice(self, after: float = 0.0, timeout: float = WAIT_SECONDS) -> float:
        """When the first voice after epoch second ``after`` began; raises TimeoutError."""
        return await self._wait_run(is_voice, 1, after, timeout, "voice")

    async def wait_tone(self, hz: float = MARKER_HZ, after: float = 0.0, timeout: float = WAIT_SECONDS) -> float:
        """When a steady tone began; raises TimeoutError."""
        return await self._wait_run(lambda packet: is_tone(packet, hz), TONE_PACKETS, after, timeout, f"{hz} Hz tone")

    async def wait_quiet(self, seconds: float = 0.6, after: float = 0.0, timeout: float = WAIT_SECONDS) -> float:
        """When the voice ended that was then followed by ``seconds`` without any; raises TimeoutError.

        Voice before epoch second ``after`` does not count; it waits for some voice first.
        """
        deadline = time.time() + timeout
        index, ended = 0, 0.0
        while time.time() < deadline:
            if await self._capture.has_more(index, CAPTURE_DELAY):
                packet = self._capture.packets[index]
                index += 1
                if packet.at > after and self._chosen(packet) and is_voice(packet):
                    ended = packet.at + len(packet.payload) / RATE
                # While we read what was captured before we were called, time is the packets' own.
                if ended and packet.at - ended >= seconds:
                    return ended
            elif ended and time.time() - ended >= seconds + CAPTURE_DELAY:
                return ended
        raise TimeoutError(f"no voice followed by {seconds} s of quiet within {timeout} s")

    async def _wait_run(
        self, wanted: Callable[[RtpPacket], bool], length: int, after: float, timeout: float, name: str
    ) -> float:
        run: list[float] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async for packet in self.live(after):
                    run = [*run, packet.at] if wanted(packet) else []
                    if len(run) == length:
                        return run[0]
        raise TimeoutError(f"no {name} within {timeout} s")


def parse_frame(frame: bytes, at: float) -> RtpPacket | None:
    """The RTP packet in an Ethernet frame, or None if it holds something else, such as RTCP."""
    try:
        udp = dpkt.ethernet.Ethernet(frame).data.data
        rtp = dpkt.rtp.RTP(udp.data)
    except (dpkt.UnpackError, AttributeError):
        return None
    if not isinstance(udp, dpkt.udp.UDP) or rtp.version != 2 or rtp.pt in _RTCP_TYPES:
        return None
    return RtpPacket(at, udp.sport, udp.dport, rtp.seq, rtp.ts, rtp.pt, bytes(rtp.data))


def read_pcap(path: Path) -> list[RtpPacket]:
    """The RTP packets of a capture file, for looking at a call again."""
    with path.open("rb") as file:
        packets = (parse_frame(frame, float(at)) for at, frame in dpkt.pcap.Reader(file))
        return [packet for packet in packets if packet is not None]


async def _until_listening(pipe: asyncio.StreamReader) -> str:
    # Empty when tcpdump listens; what it said when it ended or fell silent instead.
    said = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while line := await pipe.readline():
                if b"listening on" in line:
                    return ""
                said += line
    return said.decode(errors="replace").strip() or "it said nothing"
