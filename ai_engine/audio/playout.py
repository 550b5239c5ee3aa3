"""The one queue where agent audio waits for its 20 ms on the line."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.audio.resample import Resampler

_FADE_MS = 5.0
"""Long enough to hear no click when a reply is cut, short enough to hear no word."""


_ENDLESS_MS = 600_000.0
"""No reply waits ten minutes to be heard: whoever sends more must not fill our memory."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply that was stopped after ``heard_ms`` of it had been fetched for the line."""

    reply: int
    heard_ms: float


class Playout:
    """Replies wait in the order they were begun; ``pull`` is called every 20 ms and is the only clock.

    A reply waits in the format it comes in and is converted frame by frame as it is fetched: however fast a provider
    delivers, every tick costs the same, and sound that is never heard costs nothing.

    ``on_started(reply)`` is called as the first frame of a reply is fetched, ``on_drained(reply)`` at the pull
    after its last frame, when that frame has had its 20 ms. Both are called inside ``pull`` and may use the playout.
    """

    def __init__(
        self,
        format: AudioFormat,
        prebuffer_ms: float = 0.0,
        on_started: Callable[[int], None] | None = None,
        on_drained: Callable[[int], None] | None = None,
    ) -> None:
        self.underruns = 0
        """Frames of silence in the middle of replies because audio came too late."""
        self._format = format
        self._prebuffer_ms = prebuffer_ms
        self._on_started = on_started or _nobody_asks
        self._on_drained = on_drained or _nobody_asks
        self._replies: deque[_Reply] = deque()
        self._highest: int | None = None
        self._fade: bytes | None = None

    @property
    def speaking(self) -> int | None:
        """The reply that is being heard now."""
        return self._replies[0].id if self._replies and self._replies[0].started else None

    @property
    def idle(self) -> bool:
        """Whether nothing is heard, waits, or is still being made."""
        return not self._replies

    @property
    def queued_ms(self) -> float:
        """How much agent audio waits, over all replies."""
        return sum(reply.queued_ms for reply in self._replies)

    def begin(self, reply: int, source: AudioFormat | None = None) -> bool:
        """Announce a reply whose audio comes in ``source`` (else in the line's own format).

        False if its id is not greater than that of every reply before it: it comes too late.
        """
        if self._highest is not None and reply <= self._highest:
            return False
        self._highest = reply
        self._replies.append(_Reply(reply, source or self._format, self._format))
        return True

    def push(self, reply: int, pcm: bytes) -> bool:
        """Add audio of any length to a reply. False if it was stopped, is finished, was never begun, or is endless."""
        waiting = self._open(reply)
        if waiting is None or waiting.queued_ms > _ENDLESS_MS:
            return False
        waiting.push(pcm)
        return True

    def finish(self, reply: int) -> None:
        """No more audio of this reply comes: its last frame is padded with silence."""
        waiting = self._open(reply)
        if waiting is not None:
            waiting.finish()

    def finish_all(self) -> None:
        """No more audio comes at all; what waits is still played."""
        for waiting in self._replies:
            waiting.finish()

    def is_open(self, reply: int) -> bool:
        """Whether ``push`` would take audio of this reply."""
        return self._open(reply) is not None

    def pull(self) -> bytes | None:
        """The frame due now, or None for silence."""
        if self._fade is not None:
            frame, self._fade = self._fade, None
            return frame
        while self._replies:
            reply = self._replies[0]
            if reply.finished and not reply.frames:
                self._replies.popleft()
                self._on_drained(reply.id)
            elif not reply.started:
                if not reply.finished and not (reply.frames and reply.queued_ms >= self._prebuffer_ms):
                    return None
                reply.started = True
                self._on_started(reply.id)
            elif reply.frames:
                return reply.take()
            else:
                # Speech goes on with the first late frame: the gap itself has made the buffer that was missing,
                # and to wait for more would only make the hole longer.
                self.underruns += 1
                return None
        return None

    def stop(self) -> tuple[Cut, ...]:
        """Drop everything that waits; audio of these replies is refused from now on.

        Returns one ``Cut`` per reply that had not drained, in order. The next ``pull`` gives a frame in which the
        sound dies away within 5 ms; it does not count as heard.
        """
        cuts = tuple(Cut(reply.id, reply.heard_ms) for reply in self._replies)
        if cuts and cuts[0].heard_ms:
            upcoming = self._replies[0].upcoming()
            self._fade = None if upcoming is None else self._faded(upcoming)
        self._replies.clear()
        return cuts

    def _open(self, reply: int) -> "_Reply | None":
        for waiting in self._replies:
            if waiting.id == reply:
                return None if waiting.finished else waiting
        return None

    def _faded(self, frame: bytes) -> bytes:
        samples = np.zeros(self._format.frame_samples, dtype="<i2")
        ramp = np.linspace(1.0, 0.0, int(_FADE_MS * self._format.rate / 1000))
        samples[: len(ramp)] = np.frombuffer(frame, dtype="<i2", count=len(ramp)) * ramp
        return samples.tobytes()


class _Reply:
    """One stretch of agent speech in the queue."""

    __slots__ = ("_audio_bytes", "_format", "_framer", "_resampler", "_taken", "finished", "frames", "id", "started")

    def __init__(self, id: int, source: AudioFormat, line: AudioFormat) -> None:
        self.id = id
        self.frames: deque[bytes] = deque()
        """In the format of the source."""
        self.started = False
        self.finished = False
        self._format = source
        self._framer = Framer(source)
        self._resampler = Resampler(source, line)
        self._audio_bytes = 0
        self._taken = 0

    @property
    def queued_ms(self) -> float:
        return len(self.frames) * FRAME_MS + self._format.ms(self._framer.waiting_bytes)

    @property
    def heard_ms(self) -> float:
        """Without the padding of the last frame."""
        return min(float(self._taken * FRAME_MS), self._format.ms(self._audio_bytes))

    def push(self, pcm: bytes) -> None:
        self._audio_bytes += len(pcm)
        self.frames.extend(self._framer.push(pcm))

    def finish(self) -> None:
        self.finished = True
        last = self._framer.flush()
        if last is not None:
            self.frames.append(last)

    def take(self) -> bytes:
        self._taken += 1
        return self._resampler.process(self.frames.popleft())

    def upcoming(self) -> bytes | None:
        """What would have been heard next, and now never will."""
        frame = self.frames[0] if self.frames else self._framer.flush()
        return None if frame is None else self._resampler.process(frame)


def _nobody_asks(reply: int) -> None:
    pass
