"""Records calls into folders, behind the media path's back."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from ai_engine.audio.format import FRAME_MS
from ai_engine.call.events import CallEvent
from ai_engine.observe.folder import CallFolder
from ai_engine.observe.stereo_wav import StereoFrame

log = structlog.get_logger(__name__)

_CHUNK = 50
"""Frames (1 s) that are handed over together: the writer wakes once a second per call, not fifty times."""
_MOST_WAITING = 1000

Job = Callable[[], None]


@dataclass(slots=True)
class _Tape:
    """Sound of one call that is not yet handed over."""

    rate: int = 0
    lost: int = 0
    """Frames that found no room since the last that did; their place in the recording is kept."""
    lost_ever: int = 0
    frames: list[StereoFrame] = field(default_factory=list)


class Recorder:
    """Implements ``Observer``. When the disk is slow, sound is lost and counted; the call is never held back.

    What waits for the disk is bounded, even where the disk never comes back: a call that begins without room is not
    recorded, and one that is recorded takes no more than two pieces of work beyond the limit to its end.

    ``directory/<UTC time>-<call id>/`` gets ``call.wav`` (stereo: caller left, agent right), ``events.jsonl``,
    ``transcript.json``, ``turns.json`` (see ``latency``), and ``usage.json`` where providers count anything.
    """

    def __init__(self, directory: Path, most_waiting: int = _MOST_WAITING) -> None:
        """``most_waiting`` is how many pieces of work may wait for the disk."""
        self.dropped_calls = 0
        self.dropped_frames = 0
        self.dropped_events = 0
        self._directory = directory
        self._most_waiting = most_waiting
        self._tapes: dict[str, _Tape] = {}
        self._jobs: queue.SimpleQueue[tuple[str, Job] | None] = queue.SimpleQueue()
        self._open: dict[str, CallFolder] = {}
        self._troubled: set[str] = set()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    # -- on the call loop ------------------------------------------------------------------------------------

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        if not self._has_room():
            self.dropped_calls += 1
            log.error("no room to record the call", call_id=call_id)
            return
        self._tapes[call_id] = _Tape()
        wall = datetime.now(UTC)
        self._jobs.put((call_id, lambda: self._begin(call_id, facts, now, wall)))

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if call_id not in self._tapes:
            return
        if self._has_room():
            self._jobs.put((call_id, lambda: self._folder(call_id).happened(event, now)))
        else:
            self.dropped_events += 1

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        if (tape := self._tapes.get(call_id)) is None:
            return
        tape.rate = rate
        tape.frames.append((caller, agent))
        if len(tape.frames) >= _CHUNK:
            self._hand_over(call_id, tape)

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        if call_id in self._tapes:
            self._jobs.put((call_id, lambda: self._folder(call_id).transcript(lines)))

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        if (tape := self._tapes.pop(call_id, None)) is None:
            return
        self._hand_over(call_id, tape)
        self._jobs.put((call_id, lambda: self._end(call_id, reason, now, tape.lost_ever)))

    def close(self, seconds: float = 10.0) -> None:
        """Write what is waiting and make every folder valid. Blocks, up to ``seconds``; not for the call loop."""
        self._jobs.put(None)
        self._thread.join(seconds)

    def _has_room(self) -> bool:
        return self._jobs.qsize() < self._most_waiting

    def _hand_over(self, call_id: str, tape: _Tape) -> None:
        frames, tape.frames = tape.frames, []
        if not frames:
            return
        if not self._has_room():
            tape.lost += len(frames)
            tape.lost_ever += len(frames)
            self.dropped_frames += len(frames)
            return
        lost, tape.lost = tape.lost, 0
        rate = tape.rate
        self._jobs.put((call_id, lambda: self._folder(call_id).sound(lost, frames, rate)))

    # -- on the writer's thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        while (entry := self._jobs.get()) is not None:
            self._try(*entry)
        for call_id in list(self._open):
            self._close(call_id)

    def _try(self, call_id: str, job: Job) -> None:
        try:
            job()
        except (OSError, ValueError) as error:
            if call_id not in self._troubled:
                self._troubled.add(call_id)
                log.error("recording is incomplete", call_id=call_id, error=str(error))

    def _begin(self, call_id: str, facts: Mapping[str, str], now: float, wall: datetime) -> None:
        folder = self._open[call_id] = CallFolder(self._directory, call_id, now, wall)
        folder.note("CallStarted", facts, now)

    def _folder(self, call_id: str) -> CallFolder:
        if (folder := self._open.get(call_id)) is None:
            raise FileNotFoundError("the folder of the call could not be made")
        return folder

    def _end(self, call_id: str, reason: str, now: float, lost: int) -> None:
        self._try(call_id, lambda: self._folder(call_id).note("CallEnded", {"reason": reason}, now))
        if lost:
            log.warning("the disk was too slow for the recording", call_id=call_id, lost_ms=lost * FRAME_MS)
        self._close(call_id)

    def _close(self, call_id: str) -> None:
        if (folder := self._open.pop(call_id, None)) is not None:
            self._try(call_id, partial(self._save, call_id, folder))
        self._troubled.discard(call_id)

    def _save(self, call_id: str, folder: CallFolder) -> None:
        folder.close()
        log.info("recording saved", call_id=call_id, folder=str(folder.path))
