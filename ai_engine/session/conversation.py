"""What is decided in a call, and done about it: events in, actions out."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

import structlog

from ai_engine.call import actions as do
from ai_engine.call.actions import Action, EndReason, Prompt
from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import (
    AgentExpiring,
    AgentFailed,
    AgentLost,
    AgentSpoke,
    AgentStarted,
    CallerAnswered,
    CallerHeld,
    CallerHummed,
    CallerMeant,
    CallerSaid,
    CallerSpoke,
    CallerUnheld,
    CallEvent,
    DigitReceived,
    DigitsAsked,
    DoubtElapsed,
    HangupAsked,
    MediaAttached,
    MediaExhausted,
    MediaLost,
    PatienceElapsed,
    PlaybackEnded,
    PlayoutDrained,
    PlayoutFailed,
    PlayoutIdle,
    ReplyAudio,
    ReplyBegan,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ReplyText,
    SilenceElapsed,
    TimeRanOut,
    ToolAnswered,
    ToolAsked,
    TransferAsked,
)
from ai_engine.call.lifecycle import Lifecycle, Phase
from ai_engine.call.transcript import Transcript
from ai_engine.call.turns import Floor, Turns
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.agent_seat import AgentSeat
from ai_engine.session.attachment import Attachment, Spawn
from ai_engine.session.debt import Debt, Owed
from ai_engine.session.ports import CallControl, Observer, Said
from ai_engine.session.settings import SessionSettings
from ai_engine.session.timers import Timers
from ai_engine.session.toolbox import Toolbox
from ai_engine.session.upkeep import Upkeep
from ai_engine.session.voice_line import VoiceLine

log = structlog.get_logger(__name__)

_LAST_WORDS = (Phase.CLOSING, Phase.HANDING_OVER, Phase.RESCUING)


class Farewell(Enum):
    """What a caller who is still there is left with."""

    HANG_UP = auto()
    TO_HUMAN = auto()


class Conversation:
    """The two tables of one call, its books and its timers; also what a tool may do to it (``ToolContext``)."""

    def __init__(
        self,
        call_id: str,
        facts: Mapping[str, str],
        seat: AgentSeat,
        line: VoiceLine,
        attachment: Attachment,
        tools: Toolbox,
        control: CallControl,
        upkeep: Upkeep,
        observers: Sequence[Observer],
        prompts: Mapping[Prompt, bytes],
        settings: SessionSettings,
        clock: Callable[[], float],
        spawn: Spawn,
    ) -> None:
        """``prompts`` is PCM in the line's format; ``clock`` is the loop's, in seconds."""
        self.call_id = call_id
        self.facts = facts
        self.transcript = Transcript()
        self.ended: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
        self.farewell: Farewell | None = None
        """None when the caller has left us already; meaningful once ``ended``."""
        self._seat = seat
        self._line = line
        self._attachment = attachment
        self._tools = tools
        self._control = control
        self._upkeep = upkeep
        self._observers = observers
        self._prompts = prompts
        self._settings = settings
        self._clock = clock
        self._spawn = spawn
        self._lifecycle = Lifecycle()
        self._turns = Turns()
        self._timers = Timers(self.happened)
        self._nudges = 0
        self._debt = Debt()
        self._own_words: ReplyId | None = None
        """The engine's latest sentence of its own: it answers nothing."""
        self._asked_tools: dict[str, ToolAsked] = {}
        """Those that are being used."""
        self._tools_settled = asyncio.Event()
        self._tools_settled.set()
        self._expiring = False
        self._log = log.bind(call_id=call_id)

    @property
    def phase(self) -> Phase:
        return self._lifecycle.phase

    @property
    def floor(self) -> Floor:
        return self._turns.floor

    @property
    def caller_speaking(self) -> bool:
        return self.floor is Floor.CALLER

    @property
    def history(self) -> tuple[Said, ...]:
        return tuple(Said(speaker, text) for speaker, text in self.transcript.history())

    def close(self) -> None:
        """The call is over: no timer rings any more, and what was not heard is struck from the transcript."""
        self._timers.cancel_all()
        for cut in self._line.stop():
            self.transcript.reply_cut(cut.reply, cut.heard_ms)

    # -- events in -----------------------------------------------------------------------------------------

    def happened(self, event: CallEvent) -> None:
        """The one point every event of the call passes."""
        if self.ended.done():
            return
        if isinstance(event, ReplyAudio):
            self._take_audio(event)
            return
        if isinstance(event, MediaLost) and self._attachment.reopening:
            return  # the socket and Asterisk both report one loss
        now = self._clock()
        for observer in self._observers:
            observer.happened(self.call_id, event, now)
        before = self._lifecycle.phase, self._turns.floor
        actions = self._lifecycle.handle(event)
        if self._lifecycle.phase is not before[0]:
            self._enter(self._lifecycle.phase)
        if self._lifecycle.conversing or isinstance(event, CallerHeld | CallerUnheld):
            actions += self._turns.handle(event)
        for action in actions:
            self._act(action, event)
        self._note(event, now, before[1])

    def _note(self, event: CallEvent, now: float, floor: Floor) -> None:
        """What an event means to the books and to the agent, whatever the rules decide; it came while ``floor`` was."""
        match event:
            case AgentStarted(provider):
                self._upkeep.tell("OFFHOOK_PROVIDER", provider)
                if self._seat.taken_over:
                    self._take_over()
            case ReplyBegan(reply):
                self._line.begin(reply, self._seat.output_format)
                if floor in (Floor.CONTESTED, Floor.WEIGHED):
                    self._timers.cancel(DoubtElapsed)
                    self._await_reply()
            case ReplyText(reply, text) if self._line.is_open(reply):
                self._line.end_sentence(reply)
                self.transcript.agent_said(reply, text, now, self._seat.provider)
            case ReplyEnded(reply):
                self._line.finish(reply)
                self._debt.paid()
            case ReplyCut(reply, heard_ms):
                self.transcript.reply_cut(reply, heard_ms)
            case AgentSpoke(reply) | PlayoutDrained(reply) if reply != self._own_words:
                self._timers.cancel(AgentFailed, PatienceElapsed)
            case CallerHeld():
                self._timers.cancel(AgentFailed, TimeRanOut)
            case CallerUnheld():
                self._line.listen_anew()
                self._time_last_words()
            case PlayoutIdle() if self._nudges > self._settings.no_input_limit:
                self.happened(HangupAsked())
            case PlaybackEnded():
                self._attachment.playback_ended(event)
            case MediaAttached(way):
                self._upkeep.tell("OFFHOOK_MEDIA", way)
                if self._lifecycle.conversing and self._turns.floor is Floor.AGENT_PENDING:
                    self._await_reply()
            case CallerSpoke() | CallerMeant() | CallerAnswered():
                self._nudges = 0
                self._timers.cancel(AgentFailed, DoubtElapsed, PatienceElapsed)
            case CallerSaid(text, True):
                self._take_words(text, now, floor)
            case ToolAsked():
                self._use_tool(event)
            case ToolAnswered():
                self._take_result(event, now)
            case AgentExpiring():
                self._expiring = True
            case PatienceElapsed():
                self._ask_for_patience()
            case DigitReceived(digit):
                self._take_digit(digit)
            case DigitsAsked(digits):
                self._spawn(self._press(digits))
            case AgentFailed(reason) | AgentLost(reason):
                self._let_go(reason)
            case MediaLost(reason) | MediaExhausted(reason) | PlayoutFailed(reason):
                self._timers.cancel(AgentFailed)  # what nobody can hear is not late
                self._log.warning("sound does not travel", reason=reason)
        if self._expiring and self.floor is Floor.NOBODY and self._tools_settled.is_set() and not self._debt:
            self._expiring = False
            self._spawn(self._seat.renew(self.history))

    def _take_audio(self, event: ReplyAudio) -> None:
        if self._line.play(event.reply, event.pcm):
            self.transcript.agent_sounded(event.reply, self._seat.output_format.ms(len(event.pcm)))

    def _take_words(self, text: str, now: float, floor: Floor) -> None:
        if text or floor is not Floor.WEIGHED:
            self.transcript.caller_said(text, now)
        self._debt.understood(text)
        if floor is Floor.WEIGHED:
            self._timers.cancel(DoubtElapsed)
            self.happened(CallerHummed() if asks_for_nothing(text) else CallerMeant())

    def _take_digit(self, digit: str) -> None:
        if digit == self._settings.human_digit:
            self._stop_playout()
            self.happened(TransferAsked(f"the caller pressed {digit}"))
        elif self._lifecycle.conversing:
            self._nudges = 0
            self._seat.digit(digit)

    # -- actions out ---------------------------------------------------------------------------------------

    def _act(self, action: Action, event: CallEvent) -> None:
        """Do ``action``, which ``event`` asked for."""
        match action:
            case do.StartAgent():
                self._spawn(self._seat.fill())
            case do.ReplaceAgent():
                assert isinstance(event, AgentFailed)
                self._let_go(event.reason)
                self._spawn(self._change_over())
            case do.Greet():
                self._ask(Owed.GREETING)
            case do.Listen():
                self._line.memory.begin()
                self._seat.caller_spoke()
            case do.Dismiss():
                self._line.memory.forget()
                self._seat.caller_dismissed()
            case do.AskAgent():
                self._line.memory.end()
                self._ask(Owed.ANSWER)
            case do.AskWhatItWas():
                self._line.memory.end()
                self._timers.start(self._settings.doubt_seconds, DoubtElapsed())
                self._seat.caller_paused(brief=True)
            case do.HoldPlayout():
                self._line.hold()
            case do.ResumePlayout():
                self._line.resume()
            case do.StopPlayout():
                self._stop_playout()
            case do.Nudge():
                self._nudges += 1
                self._ask(Owed.NUDGE)
            case do.StartSilenceTimer():
                self._timers.start(self._settings.no_input_seconds, SilenceElapsed())
            case do.StopSilenceTimer():
                self._timers.cancel(SilenceElapsed)
            case do.PlayPrompt(prompt):
                self._say(prompt)
            case do.Reattach():
                assert isinstance(event, MediaLost | PlayoutFailed)
                self._attachment.reopen(event)
            case do.HangUp():
                self.farewell = Farewell.HANG_UP
            case do.TransferToHuman():
                self.farewell = Farewell.TO_HUMAN
            case do.EndCall(reason):
                self.ended.set_result(reason)
            case _:
                raise AssertionError(f"no way to do {action}")

    def _stop_playout(self) -> None:
        for cut in self._line.stop():
            self.happened(cut)
            self._seat.interrupt(cut.reply, cut.heard_ms)

    # -- what the agent owes -------------------------------------------------------------------------------

    def _ask(self, owed: Owed) -> None:
        """Ask the agent to speak, and give it time to."""
        self._debt.asked(owed)
        match owed:
            case Owed.GREETING:
                self._seat.greet()
            case Owed.ANSWER:
                self._seat.caller_paused()
            case Owed.NUDGE:
                self._seat.nudge(last=self._nudges > self._settings.no_input_limit)
        self._await_reply(self._seat.patience_seconds if owed is Owed.ANSWER else 0.0)

    def _await_reply(self, patience_seconds: float = 0.0) -> None:
        if self._line.held:  # the caller is on hold: the reply is not heard, however soon it comes
            return
        seconds = self._settings.reply_seconds + patience_seconds
        self._timers.start(seconds, AgentFailed(f"{self._seat.provider} gave no reply within {seconds} s"))

    def _let_go(self, reason: str) -> None:
        """The agent is lost: what it made is still played."""
        self._timers.cancel(AgentFailed)
        self._line.send_away()
        self._line.finish_all()
        if self._seat.vacate(reason):
            self._log.error("provider lost", provider=self._seat.provider, reason=reason)

    async def _change_over(self) -> None:
        """Seat the next agent. What a tool does is done only once: whoever comes is told what came of it."""
        self._timers.start(self._settings.patience_seconds, PatienceElapsed())
        await self._tools_settled.wait()
        history = self.history
        words = Said("caller", self._debt.words)
        if self._debt.owed is Owed.ANSWER and words in history:  # it is given them to answer
            last = len(history) - 1 - history[::-1].index(words)
            history = history[:last] + history[last + 1 :]
        await self._seat.fill(history)

    def _take_over(self) -> None:
        """A new agent sits there: let it go on where the other one was lost."""
        if self.floor in (Floor.CALLER, Floor.CONTESTED):
            self._seat.caller_spoke()
            self._line.replay()
        elif self._debt.owed is Owed.ANSWER and self._debt.words:
            self._seat.respond(self._debt.words)
            self._await_reply()
        elif self._debt.owed is Owed.ANSWER:
            self._seat.caller_spoke()
            self._line.replay()
            self._ask(Owed.ANSWER)
        elif self._debt:
            self._ask(self._debt.owed)

    def _ask_for_patience(self) -> None:
        """Say once that it takes a moment, if there is nothing else to hear."""
        if not (self._debt or self._asked_tools) or self._lifecycle.phase is not Phase.TALKING or self._line.held:
            return
        if self.floor not in (Floor.AGENT_PENDING, Floor.NOBODY) or not self._line.idle:
            self._timers.start(self._settings.patience_seconds, PatienceElapsed())
            return
        self._say(Prompt.WAIT)

    def _say(self, prompt: Prompt) -> None:
        self._own_words = self._seat.own_reply()
        self._line.play_prompt(self._own_words, self._prompts[prompt])

    # -- tools ---------------------------------------------------------------------------------------------

    def _use_tool(self, asked: ToolAsked) -> None:
        self._asked_tools[asked.id] = asked
        self._tools_settled.clear()
        if asked.goes_on:
            self._debt.goes_on()
            self._timers.start(self._settings.patience_seconds, PatienceElapsed())
        self._spawn(self._run_tool(asked))

    async def _run_tool(self, asked: ToolAsked) -> None:
        result, ms = await self._tools.use(asked.name, asked.arguments, self)
        self.happened(ToolAnswered(asked.id, asked.name, result, ms))

    def _take_result(self, answered: ToolAnswered, now: float) -> None:
        asked = self._asked_tools.pop(answered.id)
        self.transcript.tool_answered(asked.name, asked.arguments, answered.result, answered.ms, now)
        if not self._asked_tools:
            self._tools_settled.set()
        self._seat.answer_tool(answered.id, answered.result)
        if (
            asked.goes_on
            and self._lifecycle.phase is Phase.TALKING
            and self.floor in (Floor.NOBODY, Floor.AGENT_PENDING)
        ):
            self._await_reply()

    async def _press(self, digits: str) -> None:
        try:
            await self._control.send_digits(digits)
        except CallGone:
            pass
        except AsteriskError as error:
            self._log.warning("keys could not be pressed", error=str(error))

    # ------------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        if phase in _LAST_WORDS:
            self._timers.cancel(AgentFailed, SilenceElapsed, PatienceElapsed)
            self._time_last_words()
            if self._line.idle:  # there are no last words to wait for; the line says so only when it falls silent
                asyncio.get_running_loop().call_soon(self._check_idle)
        elif phase is Phase.TALKING:
            self._timers.cancel(TimeRanOut)
        self._upkeep.entered(phase)

    def _time_last_words(self) -> None:
        if self._lifecycle.phase in _LAST_WORDS and self.floor is not Floor.AWAY:
            self._timers.start(self._settings.last_words_seconds, TimeRanOut())

    def _check_idle(self) -> None:
        if self._line.idle:
            self.happened(PlayoutIdle())
