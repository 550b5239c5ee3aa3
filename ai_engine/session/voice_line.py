"""The sound of one call, 20 ms at a time: from the line to ear and agent, and the agent's voice back."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf

from ai_engine.audio.energy import level_db
from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.level import LevelNormaliser, LevelSettings
from ai_engine.audio.playout import JitterSettings, Playout
from ai_engine.audio.resample import Resampler
from ai_engine.audio.turn_memory import TurnMemory
from ai_engine.audio.vad import Hesitated, News, Paused, Settled, Spoke, Stirred, VoiceActivity
from ai_engine.audio.voice import Voice
from ai_engine.call.events import (
    AgentFailed,
    AgentSpoke,
    CallerAnswered,
    CallerMuttered,
    CallerPaused,
    CallerSpoke,
    CallerStirred,
    CallEvent,
    FalseAlarm,
    MediaLost,
    PlayoutDrained,
    PlayoutHeld,
    PlayoutIdle,
    PlayoutResumed,
    ReplyCut,
    ReplyId,
)
from ai_engine.session.ports import Agent, Media, Observer
from ai_engine.session.turn_judge import TurnJudge

_QUIET_TICKS = 3
"""Asterisk sends nothing while the caller's phone sends nothing (hold, silence suppression): after so many ticks
without a frame the ear is given silence, so that a turn still ends."""

_MOST_WAITING = 5
"""Caller frames kept for the observers' 20 ms grid; more than that is a burst, and the oldest is dropped."""

_LAST_WORDS_MS = 1000
"""A word into the last second of what the agent has to say is an early answer, and no remark: it asks "Shall I book
it?", and "yes" comes a moment too soon."""


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
        jitter: JitterSettings,
        stall_seconds: float,
        barge_in: bool,
        level: LevelSettings | None,
        judge: TurnJudge | None = None,
        memory: TurnMemory,
    ) -> None:
        """``level`` None leaves the agent's voice as loud as it comes."""
        self._call_id = call_id
        self._format = format
        self._ear = ear
        self._observers = observers
        self._happened = happened
        self._jitter = jitter
        self._barge_in = barge_in
        self._level_settings = level
        self._judge = judge
        self.memory = memory
        """What the caller said last."""
        self._stall_ticks = int(stall_seconds * 1000 / FRAME_MS)
        self._starved_ticks = 0
        self._silence = format.silence()
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._ticks_without_frame = 0
        self._sent_db = -inf
        self._voice: Voice = self._playout()
        self._audible = True
        self._underruns = 0
        """Of the voices before this one."""
        self._media: Media | None = None
        self._agent: Agent | None = None
        self._to_agent: Resampler | None = None
        self._level: LevelNormaliser | None = None
        self.covered = False
        """Whether what the caller says is nobody's business: the agent hears silence, the ear nothing."""

    # -- the transport's side ------------------------------------------------------------------------------

    def next_frame(self) -> bytes | None:
        voice = self._voice
        frame = voice.pull()
        self._watch_for_stall(starved=frame is None and voice.speaking is not None and not voice.held)
        self._sent_db = -inf if frame is None else level_db(frame)
        caller = self._waiting.popleft() if self._waiting else None
        for observer in self._observers:
            observer.frames(self._call_id, caller, frame, self._format.rate)
        if caller is None:
            self._ticks_without_frame += 1
            if self._ticks_without_frame >= _QUIET_TICKS:
                self._hear(self._silence)
        return frame if self._audible else None

    def upcoming(self, frames: int) -> Sequence[bytes]:
        return self._voice.upcoming(frames) if self._audible else ()

    def frame_received(self, pcm: bytes) -> None:
        self._ticks_without_frame = 0
        self._waiting.append(pcm)
        self._hear(pcm)

    def digit_received(self, digit: str) -> None:
        """Nothing: the call's own control reports the same key at the same instant, and one key is one event."""

    def media_lost(self, reason: str) -> None:
        self._happened(MediaLost(reason))

    # -- the session's side --------------------------------------------------------------------------------

    def stream(self) -> None:
        """Put the agent's voice onto the line frame by frame, as it is in the beginning."""
        self._speak_with(self._playout(), audible=True)

    def speak_with(self, voice: Voice) -> None:
        """Let ``voice`` speak by other means; its frames are only counted here."""
        self._speak_with(voice, audible=False)

    def _playout(self) -> Playout:
        return Playout(self._format, self._jitter, self.started, self.drained)

    def _speak_with(self, voice: Voice, *, audible: bool) -> None:
        before, self._voice, self._audible = self._voice, voice, audible
        self._underruns += before.underruns
        if before.held:
            voice.hold()
        for unheard in before.surrender():
            voice.adopt(unheard)

    def carried_by(self, media: Media) -> None:
        """``media`` carries the sound from now on; at once."""
        self._media = media
        media.attach(self)

    def bring_in(self, agent: Agent) -> None:
        """``agent`` hears every frame from now on; its formats are known."""
        self._agent = agent
        self._to_agent = Resampler(self._format, agent.input_format)
        if self._level_settings is not None:
            self._level = LevelNormaliser(agent.output_format, self._level_settings)

    def replay(self) -> None:
        """Let the agent hear what the caller said before it came in."""
        if self._agent is not None and self._to_agent is not None:
            for frame in self.memory.frames():
                self._agent.hear(self._to_agent.process(frame))

    def send_away(self) -> None:
        """The agent hears no more."""
        self._agent = None

    def begin(self, reply: ReplyId, format: AudioFormat) -> bool:
        """Open a reply whose audio comes in ``format``; False when its id was stopped before."""
        if self._level is not None:
            self._level.forget_rest()
        return self._voice.begin(reply, format)

    def play(self, reply: ReplyId, pcm: bytes) -> bool:
        """Queue audio the agent made for an open reply, at our level; False when it is refused."""
        if not self._voice.is_open(reply):
            return False
        return self._voice.push(reply, pcm if self._level is None else self._level.process(pcm))

    def play_prompt(self, reply: ReplyId, pcm: bytes) -> None:
        """Say a whole recorded sentence, in the line's format."""
        if self._voice.begin(reply, self._format):
            self._voice.push(reply, pcm)
            self._voice.finish(reply)

    def end_sentence(self, reply: ReplyId) -> None:
        """What was queued so far ends a sentence."""
        self._voice.end_sentence(reply)

    def finish(self, reply: ReplyId) -> None:
        """All audio of the reply is queued."""
        self._voice.finish(reply)

    def finish_all(self) -> None:
        """No more audio comes of any reply; what is queued is played."""
        self._voice.finish_all()

    def is_open(self, reply: ReplyId) -> bool:
        """Whether audio of ``reply`` is still taken."""
        return self._voice.is_open(reply)

    def hold(self) -> None:
        """Fall silent where we are; a reply that was being heard is reported as held."""
        if self._voice.held:
            return
        self._voice.hold()
        self._take_back()
        if (reply := self._voice.speaking) is not None:
            self._happened(PlayoutHeld(ReplyId(reply)))

    def resume(self) -> None:
        """Go on; a reply that is in its middle is reported as resumed."""
        if not self._voice.held:
            return
        self._voice.resume()
        if (reply := self._voice.speaking) is not None:
            self._happened(PlayoutResumed(ReplyId(reply)))

    def stop(self) -> tuple[ReplyCut, ...]:
        """Silence the line at once; one event per reply that was cut."""
        lag_ms = 0.0 if self._media is None else self._media.lag_ms
        cuts = self._voice.stop()
        self._voice.resume()
        self._take_back()
        return tuple(ReplyCut(ReplyId(cut.reply), max(0.0, cut.heard_ms - lag_ms)) for cut in cuts)

    def listen_anew(self) -> None:
        """As if nothing had been heard yet: what came so far was not the caller."""
        self._ear.forget()

    def summary(self) -> Mapping[str, float]:
        """How sound fared, for the log: late frames, and what the call has shown of its echo."""
        return {
            "underruns": self._underruns + self._voice.underruns,
            "echo_return_loss_db": round(self._ear.echo_return_loss_db, 1),
        }

    @property
    def idle(self) -> bool:
        """Whether nothing is played, waits, or is still being made."""
        return self._voice.idle

    @property
    def held(self) -> bool:
        return self._voice.held

    # -- what a voice tells --------------------------------------------------------------------------------

    def started(self, reply: int) -> None:
        self._happened(AgentSpoke(ReplyId(reply)))

    def drained(self, reply: int) -> None:
        self._happened(PlayoutDrained(ReplyId(reply)))
        if self._voice.idle:
            self._happened(PlayoutIdle())

    # ------------------------------------------------------------------------------------------------------

    def _take_back(self) -> None:
        if self._media is not None:
            self._media.flush()

    def _watch_for_stall(self, *, starved: bool) -> None:
        """A reply that stands still in its middle for too long: whoever makes it is lost."""
        self._starved_ticks = self._starved_ticks + 1 if starved else 0
        if self._starved_ticks == self._stall_ticks:
            self._happened(AgentFailed(f"the reply stood still for {self._stall_ticks * FRAME_MS / 1000:g} s"))

    def _hear(self, pcm: bytes) -> None:
        if self.covered:
            pcm = self._silence
            self._ear.forget()
        self.memory.push(pcm)
        agent, to_agent = self._agent, self._to_agent
        if agent is not None and to_agent is not None:
            agent.hear(to_agent.process(pcm))
        if self._judge is not None:
            self._judge.hear(pcm)
        guarded = self._voice.speaking is not None
        if guarded and not self._barge_in:
            self._ear.forget()
            return
        news = self._ear.process(pcm, guarded, self._sent_db)
        if news is not None:
            self._tell(news)

    def _tell(self, news: News) -> None:
        match news:
            case Stirred(confirmed_ms):
                self._happened(CallerStirred(confirmed_ms))
            case Spoke(confirmed_ms):
                self._happened(CallerSpoke(confirmed_ms))
            case Settled(word=True, echo=False) if self._voice.left_ms <= _LAST_WORDS_MS:
                self._happened(CallerAnswered())
            case Settled(word=True, echo=False):
                self._happened(CallerMuttered())
            case Settled(echo=echo):
                self._happened(FalseAlarm(echo))
            case Paused(silence_ms, forced):
                self._happened(CallerPaused(silence_ms, forced))
            case Hesitated() if self._judge is not None:
                self._judge.ask(self._ear.judge)
            case _:
                pass
