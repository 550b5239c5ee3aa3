"""A folder per call, filled behind the media path's back."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from ai_engine.call.events import CallEvent
from ai_engine.observe.folder import CallFolder, StereoFrame

log = structlog.get_logger(__name__)

_CHUNK = 50
"""Frames (1 s) that are handed over together: the writer wakes once a second per call, not fifty times."""
_MOST_WAITING = 1000

Job = Callable[["_Writer"], None]


@dataclass(slots=True)
class _Tape:
    """What the call loop keeps of one call until the next chunk."""

    rate: int = 0
    frames: list[StereoFrame] = field(default_factory=list)


class Recorder:
    """Implements ``Observer``. When the disk is slow, sound is lost and counted; the call is never held back.

    ``directory/<UTC time>-<call id>/`` gets ``call.wav`` (stereo: caller left, agent right), ``events.jsonl``,
    ``transcript.json`` and ``turns.json`` (see ``latency``).
    """

    def __init__(self, directory: Path, most_waiting: int = _MOST_WAITING) -> None:
        self.dropped_frames = 0
        self.dropped_events = 0
        self._tapes: dict[str, _Tape] = {}
        self._jobs: queue.Queue[Job | None] = queue.Queue(most_waiting)
        self._writer = _Writer(directory)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    # -- on the call loop ------------------------------------------------------------------------------------

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        self._tapes[call_id] = _Tape()
        wall = datetime.now(UTC)
        self._put_event(lambda writer: writer.start(call_id, dict(facts), now, wall))

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        self._put_event(lambda writer: writer.event(call_id, event, now))

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        tape = self._tapes.get(call_id)
        if tape is None:
            return
        tape.rate = rate
        tape.frames.append((caller, agent))
        if len(tape.frames) >= _CHUNK:
            self._put_frames(call_id, tape)

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """What was said and heard, as ``Transcript.lines()`` has it; before ``call_ended``."""
        self._put_event(lambda writer: writer.transcript(call_id, list(lines)))

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        tape = self._tapes.pop(call_id, None)
        if tape is not None and tape.frames:
            self._put_frames(call_id, tape)
        self._put_event(lambda writer: writer.end(call_id, reason, now))

    def close(self, seconds: float = 10.0) -> None:
        """Write what is waiting and make every open folder valid. Blocks up to ``seconds``."""
        self._jobs.put(None, timeout=seconds)
        self._thread.join(seconds)

    def _put_event(self, job: Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self.dropped_events += 1

    def _put_frames(self, call_id: str, tape: _Tape) -> None:
        frames, rate = tape.frames, tape.rate
        tape.frames = []
        try:
            self._jobs.put_nowait(lambda writer: writer.sound(call_id, frames, rate))
        except queue.Full:
            self.dropped_frames += len(frames)
            # The place of the lost second stays: what follows must not slide to the left.
            ...

    # -- on the writer's thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job(self._writer)
        self._writer.close()
