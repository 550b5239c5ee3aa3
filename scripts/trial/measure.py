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

TELEPHONE_EVENT = 101
"""RTP payload type of keys (RFC 4733) in every call here."""

PURE = 0.9
"""At least this part of a window's energy at one frequency makes it a tone."""

_VOICE_POWER = 10 ** (VOICE_DBFS / 10) * 32768**2
"""Mean square of the quietest voice."""


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


class Pitch(NamedTuple):
    """What is sung at one moment, seconds from the start of the sound."""

    at: float
    hz: float


class Tone(NamedTuple):
    """A stretch of one pitch, seconds from the start of the sound."""

    hz: float
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


def pitches(pcm: Pcm, rate: int = RATE) -> list[Pitch]:
    """What a pure tone's pitch is, every 10 ms, to a few Hz; nothing for moments that are silent or no pure tone."""
    window, step = rate // 50, rate // 100
    if pcm.size < window:
        return []
    pieces = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), window)[::step] * np.hanning(window)
    found: list[Pitch] = []
    for index, power in enumerate(np.square(np.abs(np.fft.rfft(pieces, 8 * window)))):
        peak = int(np.argmax(power))
        # The main lobe of the window reaches two of its own bins, sixteen of these, to either side.
        lobe = power[max(0, peak - 16) : peak + 17]
        if lobe.sum() > PURE * power.sum() and 2 * power.sum() / (3 * window**2) > _VOICE_POWER:
            found.append(Pitch((index * step + window / 2) / rate, _summit(power, peak) * rate / (8 * window)))
    return found


def tones(pcm: Pcm, rate: int = RATE, shortest: float = 0.05) -> list[Tone]:
    """Steady tones of at least ``shortest`` seconds, in order; their ends are found to 20 ms."""
    runs: list[list[Pitch]] = []
    for pitch in pitches(pcm, rate):
        if runs and pitch.at - runs[-1][-1].at < 0.015 and abs(pitch.hz - runs[-1][0].hz) < 25:
            runs[-1].append(pitch)
        else:
            runs.append([pitch])
    found = (Tone(float(np.median([p.hz for p in run])), run[0].at - 0.01, run[-1].at + 0.01) for run in runs)
    return [tone for tone in found if tone.end - tone.start >= shortest]


def keys(packets: Iterable[RtpPacket]) -> str:
    """The keys pressed in one stream, in order (RFC 4733: the packets of one press share its timestamp)."""
    presses = {packet.timestamp: packet.payload[0] for packet in packets if packet.payload_type == TELEPHONE_EVENT}
    return "".join("0123456789*#ABCD"[event] for event in presses.values())


def likeness(heard: Pcm, wanted: Pcm) -> float:
    """The highest normalised cross-correlation of ``wanted`` anywhere in ``heard``, 0 to 1."""
    margin = np.zeros(wanted.size, np.int16)  # what lies partly before the recording, or after it, fits too
    heard = np.concatenate((margin, heard, margin))
    size = heard.size + wanted.size
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(wanted.astype(float), size))
    peaks = np.fft.irfft(spectrum, size)[: heard.size - wanted.size]
    sums = np.concatenate(([0.0], np.cumsum(np.square(heard.astype(float)))))
    power = (sums[wanted.size :] - sums[: -wanted.size])[: peaks.size]
    return float(np.max(peaks / np.sqrt(power * np.sum(np.square(wanted.astype(float))) + 1.0)))


def _summit(power: NDArray[np.float64], peak: int) -> float:
    """Where between the bins the maximum lies, by the parabola through three of them."""
    if not 0 < peak < power.size - 1:
        return float(peak)
    left, middle, right = np.log(power[peak - 1 : peak + 2] + 1e-9)
    bend = left - 2 * middle + right
    return peak + (float((left - right) / (2 * bend)) if bend else 0.0)


def _signed(difference: int) -> int:
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
