"""The one queue where agent audio waits for its 20 ms on the line."""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf

from ai_engine.audio.fade import faded_out, trailing_off
from ai_engine.audio.format import AudioFormat
from ai_engine.audio.jitter_depth import JitterDepth, JitterSettings
from ai_engine.audio.queued_reply import Flow, QueuedReply
from ai_engine.audio.voice import Cut, Unheard

__all__ = ["JitterSettings", "Playout"]

_ENDLESS_MS = 600_000.0
"""No reply waits ten minutes to be heard: whoever sends more must not fill our memory."""


class Playout:
    """Implements ``Voice``, frame by frame.

    ``on_started(reply)`` is called as the first frame of a reply is fetched, ``on_drained(reply)`` at the pull
    after its last frame, when that frame has had its 20 ms. Both are called inside ``pull`` and may use the playout.

    A reply begins when enough of it has been gathered, and goes on so after a hole (see ``JitterDepth``). Wherever
    its sound breaks off it dies away within 5 ms, and rises again as quickly; none of that counts as heard.
    """

    def __init__(
        self,
        format: AudioFormat,
        jitter: JitterSettings | None = None,
        on_started: Callable[[int], None] | None = None,
        on_drained: Callable[[int], None] | None = None,
    ) -> None:
        self.underruns = 0
        """Frames that were missing in the middle of replies because audio came too late."""
        self._format = format
        self._depth = JitterDepth(jitter or JitterSettings())
        self._on_started = on_started or _nobody_asks
        self._on_drained = on_drained or _nobody_asks
        self._replies: deque[QueuedReply] = deque()
        self._highest: int | None = None
        self._held = False
        self._fade: bytes | None = None
        """Given at the next pull: the end of a sound that breaks off."""
        self._last: bytes | None = None
        """What the last pull gave, if it was the first reply's sound."""

    @property
    def speaking(self) -> int | None:
        return self._replies[0].id if self._replies and self._replies[0].started else None

    @property
    def idle(self) -> bool:
        return not self._replies

    @property
    def held(self) -> bool:
        return self._held

    @property
    def queued_ms(self) -> float:
        """How much agent audio waits, over all replies."""
        return sum(reply.queued_ms for reply in self._replies)

    @property
    def left_ms(self) -> float:
        return self.queued_ms if all(reply.finished for reply in self._replies) else inf

    @property
    def prebuffer_ms(self) -> float:
        """What a reply has to gather before it begins, as this call has taught."""
        return self._depth.prebuffer_ms

    # -- replies come in -----------------------------------------------------------------------------------

    def begin(self, reply: int, source: AudioFormat | None = None) -> bool:
        if self._highest is not None and reply <= self._highest:
            return False
        self._highest = reply
        self._replies.append(QueuedReply(reply, source or self._format, self._format))
        return True

    def push(self, reply: int, pcm: bytes) -> bool:
        waiting = self._open(reply)
        if waiting is None or waiting.queued_ms > _ENDLESS_MS:
            return False
        waiting.push(pcm)
        return True

    def end_sentence(self, reply: int) -> None:
        """Nothing: a stream has no use for sentences."""

    def finish(self, reply: int) -> None:
        """No more audio of this reply comes: its last frame is padded with silence."""
        waiting = self._open(reply)
        if waiting is not None:
            waiting.finish()

    def finish_all(self) -> None:
        for waiting in self._replies:
            waiting.finish()

    def is_open(self, reply: int) -> bool:
        return self._open(reply) is not None

    # -- frames go out -------------------------------------------------------------------------------------

    def pull(self) -> bytes | None:
        """The frame due now, or None for silence."""
        if self._fade is not None:
            return self._break_off()
        while self._replies and not self._held:
            reply = self._replies[0]
            if reply.frames:
                if reply.flow is Flow.FLOWING:
                    self._last = frame = reply.take()
                    return frame
                if not self._may_flow(reply):
                    return self._missing(reply)
                self._let_flow(reply)
            elif reply.finished:
                self._drain()
            else:
                return self._missing(reply)
        return None

    def upcoming(self, frames: int) -> Sequence[bytes]:
        """What the next pulls will give, up to the first that something may still change; held, how it dies away."""
        coming = [] if self._fade is None else [self._fade]
        if self._held:
            return coming[:frames]
        for reply in self._replies:
            if not self._may_flow(reply):
                break
            coming += reply.coming(frames - len(coming))
            # A hole teaches the next reply to gather more as soon as it ends.
            if len(coming) >= frames or not reply.finished or reply.flow is Flow.STARVED:
                break
        return coming[:frames]

    # -- and stop going out --------------------------------------------------------------------------------

    def hold(self) -> None:
        """The next pull gives a frame in which the sound dies away; the same 20 ms is heard again after ``resume``."""
        if not self._held:
            self._held = True
            self._fade = self._fade or self._dying()

    def resume(self) -> None:
        if self._held:
            self._held = False
            if self.speaking is not None:
                self._fade = None  # nobody has heard yet that it was held

    def stop(self) -> tuple[Cut, ...]:
        """The next pull gives a frame in which the sound dies away, unless it has done so already."""
        cuts = tuple(Cut(reply.id, reply.heard_ms) for reply in self._replies)
        self._fade = self._fade or self._dying()
        self._clear()
        return cuts

    def surrender(self) -> tuple[Unheard, ...]:
        """Nothing of them is heard here any more, and nothing is held."""
        left = tuple(reply.give_up() for reply in self._replies)
        self._fade = None
        self._clear()
        return left

    def adopt(self, unheard: Unheard) -> None:
        reply = QueuedReply(unheard.reply, unheard.source, self._format, unheard.heard_ms)
        reply.push(unheard.pcm)
        if unheard.finished:
            reply.finish()
        self._replies.append(reply)
        self._highest = max(unheard.reply, self._highest or unheard.reply)

    # ------------------------------------------------------------------------------------------------------

    def _open(self, reply: int) -> QueuedReply | None:
        for waiting in self._replies:
            if waiting.id == reply:
                return None if waiting.finished else waiting
        return None

    def _may_flow(self, reply: QueuedReply) -> bool:
        if reply.finished or reply.flow is Flow.FLOWING:
            return True
        needed_ms = self._depth.low_water_ms if reply.flow is Flow.STARVED else self._depth.prebuffer_ms
        return reply.queued_ms >= needed_ms

    def _let_flow(self, reply: QueuedReply) -> None:
        if reply.flow is Flow.STARVED:
            self._depth.went_on()
        else:
            self._depth.began(reply.queued_ms, whole=reply.finished)
        reply.flow = Flow.FLOWING
        if not reply.started:
            reply.started = True
            self._on_started(reply.id)

    def _missing(self, reply: QueuedReply) -> bytes | None:
        """The reply cannot go on: before its beginning that is no fault, in its middle the sound dies away."""
        if reply.flow is Flow.WAITING:
            return None
        reply.flow = Flow.STARVED
        reply.broken = True
        self.underruns += 1
        self._depth.missed(empty=not reply.frames)
        last, self._last = self._last, None
        return None if last is None else trailing_off(last, self._format)

    def _drain(self) -> None:
        reply = self._replies.popleft()
        self._last = None
        self._depth.drained()
        self._on_drained(reply.id)

    def _dying(self) -> bytes | None:
        """How the sound dies away that is heard now; None if none is."""
        if self._last is None:
            return None
        reply = self._replies[0]
        coming = reply.coming(1)
        if coming:
            return faded_out(coming[0], self._format)
        return None if reply.finished else trailing_off(self._last, self._format)

    def _break_off(self) -> bytes | None:
        frame, self._fade, self._last = self._fade, None, None
        if self._held and self._replies:
            self._replies[0].broken = True
        return frame

    def _clear(self) -> None:
        self._replies.clear()
        self._last = None
        self._held = False


def _nobody_asks(reply: int) -> None:
    pass
