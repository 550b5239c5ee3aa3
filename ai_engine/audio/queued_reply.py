"""One stretch of agent speech while it waits to be heard."""

from collections import deque
from enum import Enum, auto
from itertools import islice

from ai_engine.audio.fade import faded_in
from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.audio.resample import Resampler
from ai_engine.audio.voice import Unheard


class Flow(Enum):
    """How the sound of a reply goes."""

    WAITING = auto()
    """For its turn, and until enough is gathered."""
    FLOWING = auto()
    STARVED = auto()
    """It stopped in its middle because nothing came, until enough is gathered anew."""


class QueuedReply:
    """Sound waits as it comes, in frames of its source's format, and is converted when it is asked for.

    However fast a provider delivers, every tick costs the same, and sound that is never heard costs nothing.
    """

    __slots__ = (
        "_audio_bytes",
        "_converted",
        "_framer",
        "_heard_before_ms",
        "_line",
        "_resampler",
        "_source",
        "_taken",
        "broken",
        "finished",
        "flow",
        "frames",
        "id",
        "started",
    )

    def __init__(self, id: int, source: AudioFormat, line: AudioFormat, heard_before_ms: float = 0.0) -> None:
        """``heard_before_ms`` of it was heard in another voice."""
        self.id = id
        self.frames: deque[bytes] = deque()
        """Not heard yet, in the format of the source."""
        self.flow = Flow.WAITING
        self.started = heard_before_ms > 0
        """Its maker knows that it is heard."""
        self.broken = self.started
        """It was interrupted: what comes next rises from silence."""
        self.finished = False
        self._source = source
        self._line = line
        self._framer = Framer(source)
        self._resampler = Resampler(source, line)
        self._converted: deque[bytes] = deque()
        """The first of ``frames`` in the format of the line, as far as somebody has asked what comes next."""
        self._audio_bytes = 0
        self._taken = 0
        self._heard_before_ms = heard_before_ms

    @property
    def left_ms(self) -> float:
        return len(self.frames) * FRAME_MS + self._source.ms(self._framer.waiting_bytes)

    @property
    def heard_ms(self) -> float:
        """Without the padding of the last frame."""
        return self._heard_before_ms + min(float(self._taken * FRAME_MS), self._source.ms(self._audio_bytes))

    def push(self, pcm: bytes) -> None:
        self._audio_bytes += len(pcm)
        self.frames.extend(self._framer.push(pcm))

    def finish(self) -> None:
        self.finished = True
        last = self._framer.flush()
        if last is not None:
            self.frames.append(last)

    def take(self) -> bytes:
        """The next frame, in the format of the line; there must be one."""
        self._taken += 1
        waiting = self.frames.popleft()
        frame = self._converted.popleft() if self._converted else self._resampler.process(waiting)
        if self.broken:
            self.broken = False
            return faded_in(frame, self._line)
        return frame

    def coming(self, count: int) -> list[bytes]:
        """What the next ``take``s will give, as far as it is there."""
        converted = self._converted
        for waiting in islice(self.frames, len(converted), count):
            converted.append(self._resampler.process(waiting))
        coming = list(islice(converted, count))
        if self.broken and coming:
            coming[0] = faded_in(coming[0], self._line)
        return coming

    def give_up(self) -> Unheard:
        """What is left of it; it is not used any more."""
        rest = self._framer.flush() or b""
        heard_bytes = self._taken * self._source.frame_bytes
        unpadded = max(0, self._audio_bytes - heard_bytes)
        pcm = (b"".join(self.frames) + rest)[:unpadded]
        return Unheard(self.id, self._source, pcm, self.finished, self.heard_ms)
