"""Shape 5: calls that are asked for: how soon a telephone rings, how soon its agent is heard, how well lines are used.

The telephones are sipp's, called by the real Asterisk; what happened when is read from the packets on the wire.
"""

import asyncio
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dpkt

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.web.client import EngineClient
from scripts.bench.capture import Capture
from scripts.bench.launch import BenchEngine
from scripts.bench.load import Tell
from scripts.bench.sip import INSTANCE, ari_of, until
from scripts.trial import asterisk
from scripts.trial.asterisk import Trial
from scripts.trial.measure import is_voice
from scripts.trial.programs import free_port
from scripts.trial.rootfs import TrialError
from scripts.trial.sip_peer import SipPeer
from scripts.trial.wire import parse_frame

CALLS, QUICK_CALLS = 25, 8
QUEUED, LINES = 20, 5

_ONE, _FIVE = "one", "five"
"""Trunks: a line, whose telephone is answered; five, whose telephone hangs up half a second later."""

_CALL_SECONDS = 30.0
_LOOK_SECONDS, _LOOK_AT_ALL_SECONDS = 0.05, 0.5
_VOICE_SECONDS = 0.7
"""Beyond its answer a call goes on for so long, to be heard."""


@dataclass(slots=True)
class Seen:
    """One call as the wire saw it; epoch seconds, 0 for what never came."""

    number: str
    rtp_port: int
    """From which Asterisk sends its sound."""
    invited: float
    answered: float = 0.0
    voice: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Outbound:
    """What was found; milliseconds, in the order of the calls."""

    first_dialled_ms: float
    """Of the first call after the start: from the request sent to the INVITE."""
    dialled_ms: Sequence[float]
    """The same of the others."""
    accepted_ms: Sequence[float]
    """From the request sent to its answer."""
    heard_ms: Sequence[float]
    """From 200 OK to the agent's first voiced packet."""
    settled_seconds: float
    """From the first of many requests to the moment at which the last of their calls was settled."""
    ideal_seconds: float
    """What the same calls take on the same lines when each begins as another ends."""
    idle_ms: Sequence[float]
    """From the BYE that frees a line to the INVITE of the next call on it, while calls wait."""
    lost: int = 0
    """Calls that did not come to what they should."""
    queued: int = QUEUED
    lines: int = LINES

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "first_dialled_ms": round(self.first_dialled_ms, 1),
            "dialled_ms": [round(ms, 1) for ms in self.dialled_ms],
            "accepted_ms": [round(ms, 1) for ms in self.accepted_ms],
            "heard_ms": [round(ms, 1) for ms in self.heard_ms],
            "queued": self.queued,
            "lines": self.lines,
            "settled_seconds": round(self.settled_seconds, 2),
            "ideal_seconds": round(self.ideal_seconds, 2),
            "idle_ms": [round(ms, 1) for ms in self.idle_ms],
            "lost": self.lost,
        }

    def line(self) -> str:
        """For a person."""
        return (
            f"request → INVITE {both(self.dialled_ms)} of {len(self.dialled_ms)}"
            f" (the first after the start {self.first_dialled_ms:.0f})"
            f" · request → answer to it {both(self.accepted_ms)} · 200 OK → agent heard {both(self.heard_ms)}"
            f" · {self.queued} calls on {self.lines} lines settled in {self.settled_seconds:.1f} s,"
            f" ideal {self.ideal_seconds:.1f} s · a line waits {both(self.idle_ms)} for its next call"
        )


def both(values: Sequence[float]) -> str:
    """p50, p95 and the longest."""
    return (
        f"p50 {percentile(values, 50):.0f}, p95 {percentile(values, 95):.0f}, longest {percentile(values, 100):.0f} ms"
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest of ``values``; 0 when there is none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)] if ranked else 0.0


def measure(directory: Path, calls: int, tell: Tell) -> Outbound:
    """``calls`` one after another, then ``QUEUED`` at once. Raises TrialError when Asterisk or sipp do not run."""
    trial = asterisk.start(INSTANCE)
    port = free_port()
    one = SipPeer("answer", directory=directory / "one")
    five = SipPeer("answer_bye", directory=directory / "five")
    try:
        with BenchEngine(directory, _changes(directory, port, one, five), _environment(trial)) as engine:
            until(lambda: bool(engine.state().health["ari"]["up"]), "the engine did not reach ARI")
            until(lambda: bool(engine.state().health["call_agent"]["up"]), "the engine does not take requests")
            found = asyncio.run(_measure(trial, directory, port, one, five, calls))
    finally:
        asterisk.stop(INSTANCE)
    tell(found.line())
    return found


def _changes(directory: Path, port: int, one: SipPeer, five: SipPeer) -> Mapping[str, Mapping[str, Any]]:
    trunks = {_ONE: {"dial": one.dial_string}, _FIVE: {"dial": five.dial_string, "calls": LINES}}
    return {
        "call_agent": {
            "enabled": True,
            "server": {"port": port},
            "telephony": {"provider": "asterisk"},
            "asterisk": {"trunks": trunks},
            "manners": {"windows": [], "calls_per_hour": 10_000},
            "retry": {"max_attempts": 1},
            "calendar": {"directory": str(directory / "calendar")},
            "store": {"path": str(directory / "calls.sqlite")},
        }
    }


def _environment(trial: Trial) -> Mapping[str, str]:
    """Whatever the machine's own says: no other agent than ours, and nobody but us may ask."""
    return {**ari_of(trial), "OPENAI_API_KEY": "", "CALL_AGENT_TOKEN": "", "CALL_AGENT_DATABASE_URL": ""}


async def _measure(trial: Trial, directory: Path, port: int, one: SipPeer, five: SipPeer, calls: int) -> Outbound:
    async with one, five, EngineClient(f"http://127.0.0.1:{port}") as engine:
        with Capture(trial.rtp_ports, directory / "calls.pcap", (one.port, five.port)) as capture:
            asked = [await _single(engine, f"+15550{number:03}") for number in range(calls)]
            began = time.time()
            queued = await _queued(engine, [f"+15551{number:03}" for number in range(QUEUED)])
    if capture.dropped:
        raise TrialError(f"the capture missed {capture.dropped} packets: keep the machine quiet")
    seen = {call.number: call for call in read(directory / "calls.pcap", (one.port, five.port))}
    return _result(asked, began, queued, seen)


@dataclass(frozen=True, slots=True)
class Asked:
    number: str
    sent: float
    accepted: float


async def _single(engine: EngineClient, number: str) -> Asked:
    """A call that we end once its agent must have been heard."""
    sent = time.time()
    record = await engine.call_agent(CallRequest(to=number, prompt="Say hello.", trunk=_ONE))
    asked = Asked(number, sent, time.time())
    await _until(engine, record.id, answered=True)
    await asyncio.sleep(_VOICE_SECONDS)
    await engine.cancel(record.id)
    await _until(engine, record.id)
    return asked


async def _queued(engine: EngineClient, numbers: Sequence[str]) -> Sequence[CallRecord]:
    """All asked for at once, most of which wait for a line. Whoever asks too often how it goes is measured, too."""
    requests = (CallRequest(to=number, prompt="Say hello.", trunk=_FIVE) for number in numbers)
    await asyncio.gather(*map(engine.call_agent, requests))
    async with asyncio.timeout(_CALL_SECONDS * len(numbers) / LINES):
        while True:
            records = await engine.calls(limit=len(numbers))
            if all(record.settled for record in records):
                return records
            await asyncio.sleep(_LOOK_AT_ALL_SECONDS)


async def _until(engine: EngineClient, call_id: str, *, answered: bool = False) -> CallRecord:
    """Settled, or answered at least. Raises TimeoutError."""
    async with asyncio.timeout(_CALL_SECONDS):
        while True:
            record = await engine.status(call_id)
            if record is not None and (record.settled or (answered and record.status == "in_progress")):
                return record
            await asyncio.sleep(_LOOK_SECONDS)


def _result(asked: Sequence[Asked], began: float, queued: Sequence[CallRecord], seen: Mapping[str, Seen]) -> Outbound:
    pairs = [(one, seen[one.number]) for one in asked if one.number in seen]
    if not pairs:
        raise TrialError("no telephone was called; see the engine's log")
    dialled = [(call.invited - one.sent) * 1000 for one, call in pairs]
    heard = [(call.voice - call.answered) * 1000 for _, call in pairs if call.voice and call.answered]
    lines = [seen[record.request.to] for record in queued if record.request.to in seen]
    well = [record for record in queued if record.status == "completed"]
    settled = max(record.completed_at.timestamp() for record in queued if record.completed_at is not None)
    return Outbound(
        first_dialled_ms=dialled[0],
        dialled_ms=dialled[1:],
        accepted_ms=[(one.accepted - one.sent) * 1000 for one, _ in pairs[1:]],
        heard_ms=heard,
        settled_seconds=settled - began,
        ideal_seconds=sum(call.ended - call.invited for call in lines if call.ended) / LINES,
        idle_ms=idle_ms(lines, LINES),
        lost=len(asked) - len(heard) + len(queued) - len(well),
    )


def idle_ms(calls: Sequence[Seen], lines: int) -> list[float]:
    """Whichever line it was: the first that is freed is the first to be used again."""
    freed = sorted(call.ended for call in calls if call.ended)
    used = sorted(call.invited for call in calls)[lines:]
    return [(invited - ended) * 1000 for ended, invited in zip(freed, used, strict=False)]


# -- the wire --------------------------------------------------------------------------------------------------


def read(path: Path, peers: Iterable[int]) -> list[Seen]:
    """Every call to the telephones on the ports ``peers``, in order."""
    wire = _Wire(frozenset(peers))
    with path.open("rb") as file:
        for at, frame in dpkt.pcap.Reader(file):
            wire.take(frame, float(at))
    return list(wire.calls.values())


@dataclass(slots=True)
class _Wire:
    peers: frozenset[int]
    calls: dict[str, Seen] = field(default_factory=dict)
    """By Call-ID."""
    _sounding: dict[int, Seen] = field(default_factory=dict)
    """By the port their sound comes from."""

    def take(self, frame: bytes, at: float) -> None:
        udp = dpkt.ethernet.Ethernet(frame).data.data
        if {udp.sport, udp.dport} & self.peers:
            self._take_sip(bytes(udp.data).decode(errors="replace"), at)
        elif (call := self._sounding.get(udp.sport)) is not None and call.answered and not call.voice:
            packet = parse_frame(frame, at)
            if packet is not None and is_voice(packet):
                call.voice = at

    def _take_sip(self, message: str, at: float) -> None:
        line, _, rest = message.partition("\r\n")
        headers = {
            name.lower(): value for name, value in re.findall(r"^([\w-]+):[ \t]*([^\r]*)\r?$", rest, re.MULTILINE)
        }
        call = self.calls.get(headers.get("call-id", ""))
        if call is None and (found := re.match(r"INVITE sip:([^@]+)@", line)):
            port = re.search(r"^m=audio (\d+)", rest, re.MULTILINE)
            call = Seen(found[1], int(port[1]) if port else 0, at)
            self.calls[headers["call-id"]] = self._sounding[call.rtp_port] = call
        elif call is not None and line.startswith("SIP/2.0 200") and headers.get("cseq", "").endswith("INVITE"):
            call.answered = call.answered or at
        elif call is not None and line.startswith("BYE "):
            call.ended = call.ended or at
