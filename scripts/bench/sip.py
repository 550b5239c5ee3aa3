"""Shape 2: SIP calls through the real Asterisk, wave after wave, and what is left of them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench import marks
from scripts.bench.capture import Capture
from scripts.bench.figures import Histogram
from scripts.bench.launch import BenchEngine
from scripts.bench.load import Tell, quantiles
from scripts.bench.sip_load import Outcome, SipLoad
from scripts.trial import asterisk
from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.measure import RtpPacket, frame_gaps, missing_packets
from scripts.trial.rootfs import TrialError

INSTANCE = "bench"

_GONE_SECONDS = 20.0
"""After its last call an engine may keep connections to ARI open for so long; everything else goes at once."""

_ENDPOINT = """
; sipp, which has no account: known by its address.
[bench]
type = identify
endpoint = bench
match = 127.0.0.1

[bench]
type = endpoint
transport = transport-udp
context = offhook
disallow = all
allow = ulaw
direct_media = no
rtp_symmetric = yes
media_address = @BIND@
bind_rtp_to_media_address = yes
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What there is of everything that a call takes."""

    channels: int
    bridges: int
    calls: int
    tasks: int
    descriptors: int
    asterisk_descriptors: int
    files: int
    """In the engine's media directory."""

    def beyond(self, before: "Left") -> dict[str, int]:
        """What there is more of than there was ``before``."""
        mine, theirs = asdict(self), asdict(before)
        return {name: mine[name] - theirs[name] for name in mine if mine[name] > theirs[name]}


@dataclass(slots=True)
class Heard:
    """What the phones received."""

    streams: int = 0
    packets: int = 0
    missing: int = 0
    """RTP sequence numbers that never came."""
    lost: int = 0
    """Pieces of answers that never came, though later ones of the same answer did."""
    pieces: int = 0
    dropped: int = 0
    """Packets the capture missed; what is missing above may be these."""
    gaps: Histogram = field(default_factory=Histogram)

    def add(self, packets: Sequence[RtpPacket]) -> None:
        """One stream."""
        self.streams += 1
        self.packets += len(packets)
        self.missing += missing_packets(packets)
        for gap in frame_gaps(packets):
            self.gaps.add(gap)
        expected = 0
        for mark in (marks.piece_of_ulaw(packet.payload) for packet in packets):
            if mark is None or not mark.number:
                continue
            # The first one that is seen of an answer may be any; a place that falls begins the next answer.
            if mark.place > expected > 0:
                self.lost += mark.place - expected
            expected = mark.place + 1
            self.pieces += 1


@dataclass(frozen=True, slots=True)
class Wave:
    """So many calls that came, talked and went."""

    outcome: Outcome
    heard: Heard
    engine_cpu: float
    """Share of one core while all of them talked; ``asterisk_cpu`` likewise."""
    asterisk_cpu: float
    skipped_frames: int
    left: dict[str, int]
    """What there was more of afterwards than before; empty when nothing is stuck and nothing leaks."""

    @property
    def clean(self) -> bool:
        return not self.left and not self.outcome.failed

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        heard = self.heard
        return {
            **asdict(self.outcome),
            "engine_cpu": round(self.engine_cpu, 4),
            "asterisk_cpu": round(self.asterisk_cpu, 4),
            "skipped_frames": self.skipped_frames,
            "left": self.left,
            "phones": {
                "streams": heard.streams,
                "packets": heard.packets,
                "missing": heard.missing,
                "pieces": heard.pieces,
                "lost": heard.lost,
                "dropped_by_capture": heard.dropped,
                "gap_ms": quantiles(heard.gaps),
                "gaps": heard.gaps.plain(),
            },
        }

    def line(self) -> str:
        """For a person."""
        outcome, gaps = self.outcome, quantiles(self.heard.gaps)
        return (
            f"{outcome.well} of {outcome.begun} calls well, set up in {outcome.setup_ms:g} ms"
            f" · {self.heard.streams} phones: {self.heard.missing} of {self.heard.packets} packets missing,"
            f" {self.heard.lost} of {self.heard.pieces} pieces lost, gap p50 {gaps['p50']} p99 {gaps['p99']}"
            f" max {gaps['max']} ms · engine {self.engine_cpu:.0%}, Asterisk {self.asterisk_cpu:.0%} of a core"
            f" · left: {', '.join(f'{count} {name}' for name, count in self.left.items()) or 'nothing'}"
        )


def waves(directory: Path, count: int, calls: int, hold_seconds: float, tell: Tell) -> list[Wave]:
    """``count`` times ``calls`` calls, ten more per second, each of ``hold_seconds``.

    Raises TrialError when Asterisk or sipp do not run.
    """
    trial = asterisk.start(INSTANCE, overlay={"pjsip.conf": (TEMPLATES / "pjsip.conf").read_text() + _ENDPOINT})
    try:
        with BenchEngine(directory, environment=ari_of(trial)) as engine:
            until(lambda: bool(engine.state().health["ari"]["up"]), "the engine did not reach ARI")
            # The first calls load and cache what then stays.
            _wave(trial, engine, directory / "wave-0", 5, 3.0)
            found = []
            for number in range(1, count + 1):
                found.append(_wave(trial, engine, directory / f"wave-{number}", calls, hold_seconds))
                tell(f"wave {number:2d}: {found[-1].line()}")
            return found
    finally:
        asterisk.stop(INSTANCE)


def _wave(trial: Trial, engine: BenchEngine, directory: Path, calls: int, hold_seconds: float) -> Wave:
    before, skipped = _left(trial, engine), engine.state().skipped_frames
    per_second = 10.0
    with SipLoad(trial, directory, calls, per_second, calls / per_second + hold_seconds) as load:
        load.wait_up()
        began, engine_cpu, asterisk_cpu = time.monotonic(), engine.cpu_seconds(), _cpu_seconds(trial.pid)
        with Capture(trial.rtp_ports, directory / "phones.pcap") as capture:
            time.sleep(hold_seconds - 2.0)
        seconds = time.monotonic() - began
        engine_cpu, asterisk_cpu = engine.cpu_seconds() - engine_cpu, _cpu_seconds(trial.pid) - asterisk_cpu
        outcome = load.wait()
    heard = Heard(dropped=capture.dropped)
    for stream in capture.streams():
        heard.add(stream)
    return Wave(
        outcome,
        heard,
        engine_cpu / seconds,
        asterisk_cpu / seconds,
        engine.state().skipped_frames - skipped,
        _left_over(trial, engine, before),
    )


def _left(trial: Trial, engine: BenchEngine) -> Left:
    state = engine.state()
    return Left(
        channels=_count(trial.ari("GET", "/channels")),
        bridges=_count(trial.ari("GET", "/bridges")),
        calls=len(state.health["calls"]["now"]),
        tasks=state.tasks,
        descriptors=state.descriptors,
        asterisk_descriptors=len(os.listdir(f"/proc/{trial.pid}/fd")),
        files=sum(len(files) for _, _, files in os.walk(engine.directory / "media")),
    )


def _left_over(trial: Trial, engine: BenchEngine, before: Left) -> dict[str, int]:
    """After as much time as everything may need to go."""
    deadline = time.monotonic() + _GONE_SECONDS
    while (left := _left(trial, engine).beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.25)
    return left


def _count(listed: object) -> int:
    assert isinstance(listed, list)
    return len(listed)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ari_of(trial: Trial) -> Mapping[str, str]:
    """Environment of an engine that is to find it."""
    return {
        "ASTERISK_ARI_PORT": str(trial.http_port),
        "ASTERISK_ARI_USERNAME": trial.username,
        "ASTERISK_ARI_PASSWORD": trial.password,
    }


def until(condition: Callable[[], bool], otherwise: str, seconds: float = 15.0) -> None:
    """Return as soon as ``condition`` holds. Raises TrialError, which says ``otherwise``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TrialError(otherwise)
        time.sleep(0.1)
