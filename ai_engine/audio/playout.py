"""The one queue where agent audio waits for its 20 ms on the line."""

from collections.abc import Callable, Sequence

from ai_engine.audio.fade import faded_out, trailing_off
from ai_engine.audio.format import AudioFormat
from ai_engine.audio.jitter_depth import JitterDepth, JitterSettings
from ai_engine.audio.queued_reply import Flow, QueuedReply
from ai_engine.audio.reply_queue import ReplyQueue
from ai_engine.audio.voice import Cut, Unheard

__all__ = ["JitterSettings", "Playout"]


class Playout(ReplyQueue[QueuedReply]):
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
        super().__init__(format)
        self._depth = JitterDepth(jitter or JitterSettings())
        self._on_started = on_started or _nobody_asks
        self._on_drained = on_drained or _nobody_asks
        self._fade: bytes | None = None
        """Given at the next pull: the end of a sound that breaks off."""
        self._last: bytes | None = None
        """What the last pull gave, if it was the first reply's sound."""

    @property
    def prebuffer_ms(self) -> float:
        """What a reply has to gather before it begins, as this call has taught."""
        return self._depth.prebuffer_ms

    def end_sentence(self, reply: int) -> None:
        """Nothing: a stream has no use for sentences."""

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

    # ------------------------------------------------------------------------------------------------------

    def _queued(self, reply: int, source: AudioFormat, heard_ms: float = 0.0) -> QueuedReply:
        return QueuedReply(reply, source, self._format, heard_ms)

    def _may_flow(self, reply: QueuedReply) -> bool:
        if reply.finished or reply.flow is Flow.FLOWING:
            return True
        needed_ms = self._depth.low_water_ms if reply.flow is Flow.STARVED else self._depth.prebuffer_ms
        return reply.left_ms >= needed_ms

    def _let_flow(self, reply: QueuedReply) -> None:
        if reply.flow is Flow.STARVED:
            self._depth.went_on()
        else:
            self._depth.began(reply.left_ms, whole=reply.finished)
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
