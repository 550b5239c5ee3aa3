"""Shape 3: one call with a real phone, for every way sound can travel: the waterfall of each answer, gaps, barge-in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench.figures import Histogram, histogram
from scripts.bench.load import quantiles
from scripts.trial import asterisk, conversation, report
from scripts.trial.asterisk import Trial
from scripts.trial.conversation import Line
from scripts.trial.demo import line_of
from scripts.trial.measure import frame_gaps
from scripts.trial.programs import Programs
from scripts.trial.report import Report

INSTANCE = "bench-detail"

WAYS: Mapping[str, Mapping[str, str]] = {
    "audiosocket": {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "stream"},
    "websocket": {"AUDIO_TRANSPORT": "websocket", "DOWNSTREAM_MODE": "stream"},
    "legacy": {"AUDIO_TRANSPORT": "legacy", "DOWNSTREAM_MODE": "stream"},
    "file": {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "file"},
}

SCRIPT = (
    "what are your opening hours",
    "what can you do for me",
    "!where are you located",
    "what can you do for me",
    "!what are your opening hours",
    "what can you do for me",
    "!where are you located",
    "what can you do for me",
    "!what are your opening hours",
    "no that's all goodbye",
)
"""As of the demo: a leading ``!`` interrupts."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One call that went one way."""

    way: str
    report: Report
    gaps: Histogram
    """At the phone. Where files are played Asterisk sends nothing between two of them."""
    attached: str
    """The way it really went, as the engine counted it: ``transport/downstream``, with what it fell back from."""

    @property
    def streams(self) -> bool:
        return self.way != "file"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"attached": self.attached, "gap_ms": quantiles(self.gaps), **self.report.plain()}


def call(way: str, folder: Path) -> Detail:
    """Place the call. Raises TrialError, or TimeoutError when the agent keeps silent."""
    trial = asterisk.start(INSTANCE)
    try:
        lines = [line_of(text, "rms") for text in SCRIPT]
        return asyncio.run(_call(trial, way, lines, folder))
    finally:
        asterisk.stop(INSTANCE)


async def _call(trial: Trial, way: str, lines: Sequence[Line], folder: Path) -> Detail:
    async with Programs(trial, folder, {**WAYS[way], "LOG_FORMAT": "json"}) as programs:
        overheard = await conversation.place(trial, folder, lines)
        recorded = await programs.recorded()
        calls = (await asyncio.to_thread(programs.health))["calls"]
    measured = await asyncio.to_thread(report.read, recorded, overheard)
    went = [*calls["attached"], *(f"after {failed} failed" for failed in calls["fell_back"])]
    return Detail(way, measured, histogram(frame_gaps(overheard.agent)), ", ".join(went))
