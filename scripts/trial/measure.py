"""What a listener with a stopwatch would say about captured RTP: gaps, stretches of voice, marker tones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.g711 import ulaw_to_pcm

Pcm = NDArray[np.int16]
"""PCM16 mono at 8000 samples per second."""

RATE = 8000
PCMU = 0
"""RTP payload type of G.711 µ-law."""

VOICE_DBFS = -42.0
"""A packet at or above this level counts as voice; line noise and comfort noise lie well below it."""

MARKER_HZ = 1004.0
"""The tone of the trial's ``human`` extension."""

PURE = 0.9
"""At least this part of a window's energy at one frequency makes it a tone."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet as the kernel saw it."""

    at: float
    """Seconds since the epoch, by the kernel's clock."""
    src: int
    """UDP port it came from."""
    dst: int
    """UDP port it went to."""
    sequence: int
    timestamp: int
    """Media clock, 8000 per second."""
    payload_type: int
    payload: bytes


class Segment(NamedTuple):
    """A stretch of voice; seconds since the epoch, from the first voiced sample's packet to the last one's end."""

    start: float
    end: float


def frame_gaps(packets: Sequence[RtpPacket]) -> list[float]:
    """Milliseconds between each audio packet of one stream and the next; 20 is perfect."""
    times = [packet.at for packet in packets if packet.payload_type == PCMU]
    return [(later - earlier) * 1000 for earlier, later in pairwise(times)]


def missing_packets(packets: Sequence[RtpPacket]) -> int:
    """How many sequence numbers between the lowest and the highest of one stream never came."""
    numbers = [0]
    for earlier, later in pairwise(packets):
        step = (later.sequence - earlier.sequence + 0x8000 & 0xFFFF) - 0x8000
        numbers.append(numbers[-1] + step)
    return max(numbers) - min(numbers) + 1 - len(set(numbers))


def voice_segments(
    packets: Iterable[RtpPacket], threshold_dbfs: float = VOICE_DBFS, join_seconds: float = 0.3
) -> list[Segment]:
    """Stretches of voice in one stream; pauses shorter than ``join_seconds`` do not divide them."""
    segments: list[Segment] = []
    for packet in packets:
        if not is_voice(packet, threshold_dbfs):
            continue
        end = packet.at + len(packet.payload) / RATE
        if segments and packet.at - segments[-1].end < join_seconds:
            segments[-1] = Segment(segments[-1].start, end)
        else:
            segments.append(Segment(packet.at, end))
    return segments


def audio(packets: Iterable[RtpPacket]) -> Pcm:
    """The sound of one stream, laid out by its media clock: what was never sent is silence."""
    wanted = [packet for packet in packets if packet.payload_type == PCMU]
    if not wanted:
        return np.zeros(0, np.int16)
    offsets = [_signed(packet.timestamp - wanted[0].timestamp) for packet in wanted]
    start = min(offsets)
    length = max(offset - start + len(packet.payload) for offset, packet in zip(offsets, wanted, strict=True))
    pcm = np.zeros(length, np.int16)
    for offset, packet in zip(offsets, wanted, strict=True):
        pcm[offset - start : offset - start + len(packet.payload)] = decode(packet.payload)
    return pcm


def is_voice(packet: RtpPacket, threshold_dbfs: float = VOICE_DBFS) -> bool:
    """Whether a packet is loud enough to be voice."""
    return packet.payload_type == PCMU and level_dbfs(decode(packet.payload)) >= threshold_dbfs


def is_tone(packet: RtpPacket, hz: float = MARKER_HZ) -> bool:
    """Whether nearly all of a packet's sound lies at ``hz``."""
    return is_voice(packet) and tone_level(decode(packet.payload), hz) > PURE


def decode(ulaw: bytes) -> Pcm:
    """G.711 µ-law bytes as PCM16."""
    return np.frombuffer(ulaw_to_pcm(ulaw), "<i2")


def level_dbfs(pcm: Pcm) -> float:
    """Root mean square level; a full-scale square wave is 0, silence is -96."""
    if not pcm.size:
        return -96.0
    rms = float(np.sqrt(np.mean(np.square(pcm.astype(np.float64))))) / 32768
    return max(-96.0, 20 * float(np.log10(rms))) if rms else -96.0


def tone_level(pcm: Pcm, hz: float, rate: int = RATE) -> float:
    """Which part of the sound's energy lies at ``hz`` (Goertzel), 0 to 1; 0 for silence."""
    samples = pcm.astype(np.float64)
    energy = float(np.sum(np.square(samples)))
    if not energy:
        return 0.0
    phase = np.exp(-2j * np.pi * hz / rate * np.arange(samples.size))
    return min(1.0, 2 * float(abs(np.dot(samples, phase))) ** 2 / (samples.size * energy))


def tone_starts(pcm: Pcm, hz: float = MARKER_HZ, seconds: float = 0.2, rate: int = RATE) -> float | None:
    """Where a pure tone of at least ``seconds`` begins, in seconds from the start to 20 ms; None if nowhere.

    Speech has no such stretch: its energy moves between harmonics and is never nearly all at one frequency.
    """
    window = rate // 50
    needed = round(seconds * rate / window)
    run = 0
    for index in range(pcm.size // window):
        piece = pcm[index * window : (index + 1) * window]
        pure = level_dbfs(piece) >= VOICE_DBFS and tone_level(piece, hz, rate) > PURE
        run = run + 1 if pure else 0
        if run == needed:
            return (index + 1 - needed) * window / rate
    return None


def _signed(difference: int) -> int:
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
