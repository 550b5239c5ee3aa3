"""The sound of one call, 20 ms at a time: from the line to ear and agent, and the agent's voice back."""

from collections import deque
from collections.abc import Callable, Sequence

from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.playout import Playout
from ai_engine.audio.resample import Resampler
from ai_engine.audio.vad import Spoke, VoiceActivity
from ai_engine.call.events import (
    AgentLost,
    AgentSpoke,
    CallerPaused,
    CallerSpoke,
    CallEvent,
    MediaLost,
    PlayoutDrained,
    PlayoutIdle,
    ReplyCut,
    ReplyId,
)
from ai_engine.session.ports import Agent, Observer

_QUIET_TICKS = 3
"""Asterisk sends nothing while the caller's phone sends nothing (hold, silence suppression): after so many ticks
without a frame the ear is given silence, so that a turn still ends."""

_MOST_WAITING = 5
"""Caller frames kept for the observers' 20 ms grid; more than that is a burst, and the oldest is dropped."""


class VoiceLine:
    """Implements ``Line``; everything it notices is told to ``happened`` at once, in the call loop."""

    def __init__(
        self,
        call_id: str,
        format: AudioFormat,
        ear: VoiceActivity,
        observers: Sequence[Observer],
        happened: Callable[[CallEvent], None],
        *,
        jitter_buffer_ms: float,
        stall_seconds: float,
        barge_in: bool,
    ) -> None:
        self._call_id = call_id
        self._format = format
        self._ear = ear
        self._playout = Playout(format, jitter_buffer_ms, self._started, self._drained)
        self._observers = observers
        self._happened = happened
        self._barge_in = barge_in
        self._stall_ticks = int(stall_seconds * 1000 / FRAME_MS)
        self._starved_ticks = 0
        self._silence = format.silence()
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._ticks_without_frame = 0
        self._agent: Agent | None = None
        self._to_agent: Resampler | None = None

    # -- the transport's side ------------------------------------------------------------------------------

    def next_frame(self) -> bytes | None:
        frame = self._playout.pull()
        self._watch_for_stall(starved=frame is None and self._playout.speaking is not None)
        caller = self._waiting.popleft() if self._waiting else None
        for observer in self._observers:
            observer.frames(self._call_id, caller, frame, self._format.rate)
        if caller is None:
            self._ticks_without_frame += 1
            if self._ticks_without_frame >= _QUIET_TICKS:
                self._hear(self._silence)
        return frame

    def frame_received(self, pcm: bytes) -> None:
        self._ticks_without_frame = 0
        self._waiting.append(pcm)
        self._hear(pcm)

    def digit_received(self, digit: str) -> None:
        """Nothing: ARI reports the same key at the same instant, and one key is one event."""

    def media_lost(self, reason: str) -> None:
        self._happened(MediaLost(reason))

    # -- the session's side --------------------------------------------------------------------------------

    def bring_in(self, agent: Agent) -> None:
        """``agent`` hears every frame from now on; its formats are known."""
        self._agent = agent
        self._to_agent = Resampler(self._format, agent.input_format)

    def send_away(self) -> None:
        """The agent hears no more."""
        self._agent = None

    def begin(self, reply: ReplyId, format: AudioFormat) -> bool:
        """Open a reply whose audio comes in ``format``; False when its id was stopped before."""
        return self._playout.begin(reply, format)

    def play(self, reply: ReplyId, pcm: bytes) -> bool:
        """Queue audio of an open reply; False when it is refused."""
        return self._playout.push(reply, pcm)

    def finish(self, reply: ReplyId) -> None:
        """All audio of the reply is queued."""
        self._playout.finish(reply)

    def finish_all(self) -> None:
        """No more audio comes of any reply; what is queued is played."""
        self._playout.finish_all()

    def is_open(self, reply: ReplyId) -> bool:
        """Whether audio of ``reply`` is still taken."""
        return self._playout.is_open(reply)

    def stop(self) -> tuple[ReplyCut, ...]:
        """Silence the line at once; one event per reply that was cut."""
        return tuple(ReplyCut(ReplyId(cut.reply), cut.heard_ms) for cut in self._playout.stop())

    @property
    def idle(self) -> bool:
        """Whether nothing is played, waits, or is still being made."""
        return self._playout.idle

    def _started(self, reply: int) -> None:
        self._happened(AgentSpoke(ReplyId(reply)))

    def _drained(self, reply: int) -> None:
        self._happened(PlayoutDrained(ReplyId(reply)))
        if self._playout.idle:
            self._happened(PlayoutIdle())

    def _watch_for_stall(self, *, starved: bool) -> None:
        """A reply that stands still in its middle for too long: whoever makes it is lost."""
        self._starved_ticks = self._starved_ticks + 1 if starved else 0
        if self._starved_ticks == self._stall_ticks:
            self._happened(AgentLost(f"the reply stood still for {self._stall_ticks * FRAME_MS / 1000:g} s"))

    def _hear(self, pcm: bytes) -> None:
        agent, to_agent = self._agent, self._to_agent
        if agent is not None and to_agent is not None:
            agent.hear(to_agent.process(pcm))
        guarded = self._playout.speaking is not None
        if guarded and not self._barge_in:
            self._ear.forget()
            return
        edge = self._ear.process(pcm, guarded)
        if edge is None:
            return
        if isinstance(edge, Spoke):
            self._happened(CallerSpoke(edge.confirmed_ms))
        else:
            self._happened(CallerPaused(edge.silence_ms, edge.forced))
