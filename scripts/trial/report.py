"""What a call was like, from three witnesses: the engine's record, the wire, the phone's own recording."""

import json
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from scripts.trial.conversation import Line, Overheard
from scripts.trial.measure import (
    RATE,
    VOICE_DBFS,
    RtpPacket,
    Segment,
    frame_gaps,
    level_dbfs,
    missing_packets,
    voice_segments,
)

STAGES = ("end_of_turn", "transcript", "first_token", "first_audio", "first_frame", "wire", "phone")
TITLES = ("turn\nends", "STT\nfinal", "first\ntoken", "TTS\nbyte", "frame\nout", "on the\nwire", "in the\nphone")
FRAME_SAMPLES = RATE // 50


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer, in milliseconds since the caller's last voiced packet on the wire; None where there was none."""

    text: str
    end_of_turn: float | None
    transcript: float | None
    first_token: float | None
    first_audio: float | None
    first_frame: float | None
    wire: float | None
    """The agent's first voiced packet on its way to the phone."""
    phone: float | None
    """The agent's first voice in the phone's own recording."""
    barge_in: float | None
    """Caller's first voiced packet to the agent's last one, where the caller interrupted."""


@dataclass(frozen=True, slots=True)
class Report:
    """One call, measured."""

    folder: Path
    reason: str
    way: str
    """How sound travelled last: ``transport/downstream``."""
    transcript: list[dict[str, Any]]
    turns: list[Turn]
    worst_gap_ms: float
    """Longest time between two packets of the agent's stream at the phone."""
    frames: int
    missing: int
    goodbye_heard_ms: float | None
    """From the agent's last voice on the wire to the end of its stream; None without voice."""
    silenced_ms: list[float]
    """From each decision that the agent falls silent to its last voiced packet at the phone."""

    def answers(self) -> list[float]:
        """Caller's last voice to agent's first voice on the wire, every answered turn."""
        return [turn.wire for turn in self.turns if turn.wire is not None]

    def barge_ins(self) -> list[float]:
        return [turn.barge_in for turn in self.turns if turn.barge_in is not None]

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def read(folder: Path, overheard: Overheard) -> Report:
    """Put together the engine's ``folder`` of a call and what was overheard of it."""
    agent = overheard.agent
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    record = json.loads((folder / "turns.json").read_text())
    spoken, answered = voice_segments(overheard.caller), voice_segments(agent)
    recorded = _recorded_onsets(overheard.heard, agent)
    wall = _wall_clock(events)
    turns = [_turn(turn, wall, spoken, answered, recorded) for turn in record if turn["end_of_turn_ms"] is not None]
    last = answered[-1].end if answered else None
    return Report(
        folder=folder,
        reason=str(events[-1].get("reason", "")),
        way=next((event["transport"] for event in reversed(events) if event["event"] == "MediaAttached"), ""),
        transcript=json.loads((folder / "transcript.json").read_text()),
        turns=turns,
        worst_gap_ms=round(max(frame_gaps(agent), default=0.0), 1),
        frames=len(agent),
        missing=missing_packets(agent),
        goodbye_heard_ms=None if last is None else round((agent[-1].at - last) * 1000, 1),
        silenced_ms=_silenced(events, wall, answered),
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a call had to do."""

    what: str
    good: bool


def checks(measured: Report, lines: Sequence[Line], *, goodbye: bool = True) -> list[Check]:
    """What every conversation must do, whatever was said; with ``goodbye`` it is the agent who ends it."""
    said = [turn["text"] for turn in measured.transcript if turn["speaker"] == "agent"]
    understood = [turn["text"] for turn in measured.transcript if turn["speaker"] == "caller" and turn["text"]]
    interruptions = sum(line.interrupt_after is not None for line in lines)
    return [
        Check("the agent greeted first", bool(measured.transcript) and measured.transcript[0]["speaker"] == "agent"),
        Check(f"every turn of the caller was understood ({len(lines)})", len(understood) == len(lines)),
        Check("every turn was answered", len(measured.answers()) >= len(lines) < len(said)),
        Check(f"the agent could be interrupted ({interruptions})", len(measured.barge_ins()) == interruptions),
        Check(
            "the agent hung up after its last word" if goodbye else f"the call came to an end ({measured.reason})",
            measured.goodbye_heard_ms is not None
            and measured.reason
            in ({"agent_hung_up"} if goodbye else {"agent_hung_up", "transferred", "caller_hung_up"}),
        ),
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """Inclusive; of one value, that value."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def show(report: Report, console: Console) -> None:
    """The waterfall as a table, and one line of figures."""
    table = Table(title="milliseconds since the caller's last voice on the wire", title_style="dim", box=SIMPLE)
    table.add_column("the caller said", min_width=20)
    for title in TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("barge-\nin", justify="right", no_wrap=True)
    for turn in report.turns:
        table.add_row(
            turn.text or "(not understood)", *(_cell(getattr(turn, stage)) for stage in STAGES), _cell(turn.barge_in)
        )
    console.print(table)
    if answers := report.answers():
        console.print(
            f"answer p50 {percentile(answers, 50):.0f} ms, p95 {percentile(answers, 95):.0f} ms"
            f" · barge-in {', '.join(f'{ms:.0f} ms' for ms in report.barge_ins()) or 'none'}"
            f" · {report.frames} frames, {report.missing} missing, longest gap {report.worst_gap_ms:.1f} ms"
        )


def _turn(
    turn: dict[str, Any],
    offset: float,
    spoken: Sequence[Segment],
    answered: Sequence[Segment],
    recorded: Sequence[float],
) -> Turn:
    onset = turn["onset"] + offset
    engine_last = turn["last_voice"] + offset
    # The wire's own view of the same turn: the last stretch of voice that began before the engine saw it end.
    mine = [segment for segment in spoken if segment.start < engine_last + 0.1]
    last_voice = mine[-1].end if mine else engine_last

    def since(ms: float | None) -> float | None:
        return None if ms is None else round((engine_last - last_voice) * 1000 + ms, 1)

    return Turn(
        text=turn["text"],
        end_of_turn=since(turn["end_of_turn_ms"]),
        transcript=since(turn["transcript_ms"]),
        first_token=since(turn["first_token_ms"]),
        first_audio=since(turn["first_audio_ms"]),
        first_frame=since(turn["first_frame_ms"]),
        wire=_first_after(last_voice, [segment.start for segment in answered]),
        phone=_first_after(last_voice, recorded),
        barge_in=_barge_in(turn, onset, spoken, answered),
    )


def _barge_in(
    turn: dict[str, Any], onset: float, spoken: Sequence[Segment], answered: Sequence[Segment]
) -> float | None:
    if turn["barge_in_ms"] is None:
        return None
    began = min((segment.start for segment in spoken), key=lambda start: abs(start - onset), default=onset)
    # Whoever falls into a pause between two sentences has nothing to wait for.
    cut = [segment.end for segment in answered if segment.start < began + 0.3]
    return round(max(0.0, cut[-1] - began) * 1000, 1) if cut else None


def _silenced(events: Sequence[dict[str, Any]], offset: float, answered: Sequence[Segment]) -> list[float]:
    decided = [event["loop"] + offset for event in events if event["event"] == "PlayoutHeld"]
    ends = [next((segment.end for segment in answered if segment.end > at - 0.1), None) for at in decided]
    # Who falls into a pause between two sentences has nothing to wait for.
    return [
        round(max(0.0, end - at - FRAME_SAMPLES / RATE) * 1000, 1)  # its packet came when its sound began
        for at, end in zip(decided, ends, strict=True)
        if end is not None and end < at + 0.5
    ]


def _first_after(moment: float, starts: Sequence[float]) -> float | None:
    return next((round((start - moment) * 1000, 1) for start in starts if start > moment), None)


def _recorded_onsets(heard: Path, agent: Sequence[RtpPacket]) -> list[float]:
    """Where voice begins in the phone's recording, as epoch seconds.

    The recording has a sample for each sample received and no clock of its own: its first sample is the first packet's.
    """
    if not agent:
        return []
    with wave.open(str(heard)) as sound:
        pcm: NDArray[np.int16] = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
    onsets: list[float] = []
    quiet = FRAME_SAMPLES * 50
    for start in range(0, pcm.size - FRAME_SAMPLES, FRAME_SAMPLES):
        if level_dbfs(pcm[start : start + FRAME_SAMPLES]) < VOICE_DBFS:
            quiet += FRAME_SAMPLES
        else:
            if quiet >= 0.3 * RATE:
                onsets.append(agent[0].at + start / RATE)
            quiet = 0
    return onsets


def _wall_clock(events: Sequence[dict[str, Any]]) -> float:
    """Epoch seconds minus the engine's loop seconds."""
    first = events[0]
    return datetime.fromisoformat(first["wall"]).timestamp() - float(first["loop"])


def _cell(ms: float | None) -> str:
    return "–" if ms is None else f"{ms:.0f}"
