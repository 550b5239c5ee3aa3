"""The sound that Asterisk is sent before it is due, on the media WebSocket, where Asterisk keeps the time."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from ai_engine.audio.format import FRAME_MS
from ai_engine.protocol.chan_websocket import encode_command

_MOST_REPEATED = 2
"""Frames. Asterisk that is further behind than this when it is told to flush skips what it owes: silence is urgent."""

_MARK_FRAMES = 100 // FRAME_MS
"""From one mark to the next."""


class Source(Protocol):
    """Where frames come from; see ``session.ports.Line``."""

    def next_frame(self) -> bytes | None: ...

    def upcoming(self, frames: int) -> Sequence[bytes]: ...


@dataclass(frozen=True, slots=True)
class Commands:
    """What a peer who plays sound in its own time is told, in its own words."""

    flush: str
    """Forget what is queued."""
    mark: Callable[[str], str] | None
    """Say when the queue has come to the mark of this name; None where the peer knows no marks."""


@dataclass(slots=True)
class _Mark:
    number: int
    position: int
    """It stands before this frame, counted from the start of the connection."""
    due: float | None
    """When that frame was given by ``next_frame``, in seconds; None while it is not."""


class Lookahead:
    """Decides every 20 ms what Asterisk is sent, so that its queue never runs dry in the middle of speech.

    What ``tick`` and ``flush`` return is to be sent in order: ``str`` is a command, ``bytes`` whole frames of sound.
    The frame due now and the next ``ahead_ms`` leave at once when speech begins, and from then on each frame leaves
    that long before it is due. Silence goes frame by frame, so that a reply has nothing to wait for.
    """

    def __init__(
        self, ahead_ms: int, silence: bytes, *, is_json: bool = True, commands: Commands | None = None
    ) -> None:
        """``silence`` is one frame, or empty for a peer that plays silence by itself; in plain text no marks are set,
        and ``lag_ms`` stays 0. ``commands`` are for a peer that is no Asterisk."""
        commands = commands or _of_asterisk(is_json)
        self.lag_ms = 0.0
        """How much later than ``next_frame`` gave it a frame is played, never below 0. Half of it is the latest
        measurement in this stretch of speech, so that one late message does not weigh too much."""
        self._ahead = ahead_ms // FRAME_MS
        self._silence = silence
        self._mark_command = commands.mark
        self._flush = commands.flush
        self._sent = 0
        self._given = 0
        """Frames of speech that Asterisk was sent, and those of them that ``next_frame`` has given."""
        self._owed = 0
        """Frames that Asterisk has played although ``next_frame`` has not given them: we stood still, it did not."""
        self._latest: deque[bytes] = deque(maxlen=_MOST_REPEATED)
        """The last that ``next_frame`` gave: Asterisk may not have come to them yet."""
        self._given_at = 0.0
        """When it gave the very last, in seconds."""
        self._asking = False
        """``next_frame`` has not returned yet."""
        self._ending: bytes | None = None
        """The one frame that followed a flush early: the sound as it dies away."""
        self._sounding = False
        self._quiet_ms = 0.0
        """Since the last sound."""
        self._marks: deque[_Mark] = deque()
        self._mark_number = 0
        self._mark_next = 0
        """The position from which on another mark is due."""
        self._measured = False
        """Whether this stretch of speech had a mark come back."""

    @property
    def early(self) -> int:
        """Frames Asterisk was sent that ``next_frame`` has yet to give."""
        return self._sent - self._given

    def tick(self, source: Source | None, now: float) -> list[str | bytes]:
        """The 20 ms that begin at ``now`` (seconds). ``source`` is asked once, and once for each frame it is behind."""
        if source is None:
            return self._silent(now)
        steps, self._owed = 1 + min(self._owed, self.early), 0
        fresh: list[bytes] = []
        for _ in range(steps):
            frame = self._ask(source)
            if frame is None:
                break
            if self._sent > self._given:
                self._note_due(now)
                self._given += 1
            else:
                fresh.append(frame)
            self._latest.append(frame)
        if not fresh and frame is None:
            return self._silent(now)
        self._given_at = now
        return self._speak(fresh, source, now)

    def flush(self, source: Source | None = None, now: float = 0.0) -> list[str | bytes]:
        """Take back what was sent early; ``next_frame`` gives it again, or something else.

        What ``source`` has for its next frame, the sound as it dies away, is sent at once: Asterisk may be about to
        play it. Before it goes what was given, but which Asterisk has hardly played by ``now`` (seconds): the flush
        takes that too, and without it the sound would jump.
        """
        coming = () if source is None or self._asking else source.upcoming(1)
        if self._ending is not None and coming and coming[0] == self._ending:
            return []  # nothing else was sent early
        taken_back = self.early > 0
        self._sent, self._owed, self._ending = self._given, 0, None
        self._marks.clear()
        self._sounding, self._quiet_ms = False, 0.0
        if not taken_back:
            return []
        out: list[str | bytes] = [self._flush]
        if coming:
            out.append(b"".join([*self._not_played(now), coming[0]]))
            self._ending = coming[0]
            self._sent += 1
            self._sounding, self._mark_next = True, self._sent
        return out

    def mark_processed(self, id: str, now: float) -> None:
        """Measure how late we are. Marks that were flushed, or never set, are nothing."""
        number = int(id) if id.isascii() and id.isdigit() and len(id) < 10 else 0
        mark = None
        while self._marks and self._marks[0].number <= number:
            mark = self._marks.popleft()
        if mark is None or mark.number != number:
            return
        if mark.due is None:
            self._owed = mark.position - self._given
        lag_ms = 0.0 if mark.due is None else max(0.0, (now - mark.due) * 1000)
        self.lag_ms = (self.lag_ms + lag_ms) / 2 if self._measured else lag_ms
        self._measured = True

    def _ask(self, source: Source) -> bytes | None:
        self._asking = True
        try:
            frame = source.next_frame()  # which may call flush()
        finally:
            self._asking = False
        if self._ending is not None:
            if frame != self._ending:  # it went on instead of dying away; Asterisk has had both
                self._sent = self._given
            self._ending = None
        return frame

    def _silent(self, now: float) -> list[str | bytes]:
        out = self.flush() if self.early else []  # frames that were announced are not coming
        if self._sounding:
            self._mark(out, now)
            self._sounding = False
            self._quiet_ms = 0.0
            self._latest.clear()
        self._quiet_ms += FRAME_MS
        if self._silence:
            out.append(self._silence)
        return out

    def _speak(self, fresh: list[bytes], source: Source, now: float) -> list[str | bytes]:
        batch = fresh
        if fresh or self.early <= self._ahead - 2:  # two frames at a time are half the messages
            batch = [*fresh, *source.upcoming(self._ahead)[self.early :]]
        if not batch:
            return []
        out = [] if self._sounding else self._begin()
        if self._sent >= self._mark_next:
            self._mark(out, now if fresh else None)
        self._sent += len(batch)
        self._given += len(fresh)
        out.append(b"".join(batch))
        return out

    def _begin(self) -> list[str | bytes]:
        """Speech begins: what waits before it is silence, unless the end of the last speech may still be among it."""
        self._sounding, self._measured = True, False
        self._mark_next = self._sent
        if self._quiet_ms <= self.lag_ms + FRAME_MS:
            return []
        self._marks.clear()
        return [self._flush] if self._silence else []

    def _not_played(self, now: float) -> list[bytes]:
        """Of the latest frames those that Asterisk, as late as it is, has not come to; none if they are too many."""
        waiting = ceil((self.lag_ms - (now - self._given_at) * 1000) / FRAME_MS)
        return list(self._latest)[-waiting:] if 0 < waiting <= len(self._latest) else []

    def _mark(self, out: list[str | bytes], due: float | None) -> None:
        if self._mark_command is None:
            return
        self._mark_number += 1
        self._mark_next = self._sent + _MARK_FRAMES
        self._marks.append(_Mark(self._mark_number, self._sent, due))
        out.append(self._mark_command(str(self._mark_number)))

    def _note_due(self, now: float) -> None:
        for mark in self._marks:
            if mark.position == self._given:
                mark.due = now


def _of_asterisk(is_json: bool) -> Commands:
    flush = encode_command("FLUSH_MEDIA", is_json=is_json)
    return Commands(flush, (lambda name: encode_command("MARK_MEDIA", name)) if is_json else None)
