"""An agent that takes no time: whoever asks with a mark is answered in the same call of ``hear``.

So what is measured between question and answer is the engine's own. It costs next to nothing itself.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.call.events import CallerSaid, CallEvent, ReplyAudio, ReplyBegan, ReplyEnded, ReplyId, ReplyText
from ai_engine.session.ports import Briefing
from scripts.bench import marks

GREETING_FRAMES = 25

_CHUNK_FRAMES = 10
"""Sound leaves us in chunks of 200 ms, as it leaves a text to speech."""

_TONE_HZ = 440.0
_TONE_DBFS = -20.0

_ENOUGH = 100_000
"""Stops noted per call; an hour of interruptions."""


def tone(format: AudioFormat) -> bytes:
    """20 ms of the agent's voice: unchanged by G.711."""
    time_axis = np.arange(format.frame_samples) / format.rate
    peak = 32768 * math.sqrt(2) * 10 ** (_TONE_DBFS / 20)
    pcm = (peak * np.sin(2 * np.pi * _TONE_HZ * time_axis)).astype("<i2").tobytes()
    return ulaw_to_pcm(pcm_to_ulaw(pcm))


class BenchAgent:
    """Implements ``Agent``. Writes a line into ``journal`` as it closes: when, by the monotonic clock, it was told that
    the caller interrupts."""

    provider = "local"
    patience_seconds = 0.0

    def __init__(self, format: AudioFormat, journal: Path | None = None) -> None:
        """Marks are read and written at 8 kHz only; at any other rate the agent just greets."""
        self.input_format = self.output_format = format
        self._journal = journal
        self._sound = tone(format)
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue()
        self._replies = 0
        self._heard = 0
        self._call_id = ""
        self._stops: list[float] = []

    async def start(self, briefing: Briefing) -> None:
        self._call_id = briefing.call_id

    def greet(self) -> None:
        self._reply(0, GREETING_FRAMES, 0)

    def respond(self, text: str) -> None: ...

    def hear(self, pcm: bytes) -> None:
        self._heard += 1
        mark = marks.asked(pcm)
        if mark is not None:
            self._reply(mark.number, mark.frames, max(0, mark.heard - self._heard) if mark.heard else 0)
            self._heard = 0

    def caller_spoke(self) -> None:
        if self._journal is not None and len(self._stops) < _ENOUGH:
            self._stops.append(time.monotonic())

    def caller_paused(self, *, brief: bool = False) -> None:
        """A short sound is taken for "mm-hm", whatever it was; anything else is answered when a mark asks for it."""
        if brief:
            self._inbox.put_nowait(CallerSaid("mm-hm"))

    def caller_dismissed(self) -> None: ...

    def digit(self, digit: str) -> None: ...

    def nudge(self, *, last: bool = False) -> None:
        self._reply(0, GREETING_FRAMES, 0)

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None: ...

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None: ...

    def advise(self, text: str) -> str:
        return "it has no mind"

    async def events(self) -> AsyncIterator[CallEvent]:
        while (event := await self._inbox.get()) is not None:
            yield event

    async def close(self) -> None:
        self._inbox.put_nowait(None)
        if self._journal is not None and self._stops:
            line = json.dumps({"call": self._call_id, "stops": self._stops})
            with self._journal.open("a") as journal:  # noqa: ASYNC230 - at the end of a call that is no longer measured
                journal.write(line + "\n")

    def _reply(self, number: int, frames: int, missed: int) -> None:
        """Everything at once: how fast it is heard is for the engine to say."""
        self._replies += 1
        reply = ReplyId(self._replies)
        put = self._inbox.put_nowait
        put(ReplyBegan(reply))
        put(ReplyText(reply, "a tone"))
        pieces = marks.answer(number, frames, missed, self._sound)
        for start in range(0, frames, _CHUNK_FRAMES):
            put(ReplyAudio(reply, b"".join(pieces[start : start + _CHUNK_FRAMES])))
        put(ReplyEnded(reply))
