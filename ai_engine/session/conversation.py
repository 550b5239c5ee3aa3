"""What is decided in a call, and done about it: events in, actions out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, auto

import structlog

from ai_engine.call import actions as do
from ai_engine.call.actions import Action, EndReason, Prompt
from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import (
    AgentAdvised,
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
    ConsultationBegan,
    ConsultationEnded,
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
    ReplyText,
    SilenceElapsed,
    TimeRanOut,
    ToolAnswered,
    ToolAsked,
    TransferAsked,
    TurnUnheard,
)
from ai_engine.call.lifecycle import Lifecycle, Phase
from ai_engine.call.transcript import Transcript
from ai_engine.call.turns import Floor, Turns
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.agent_desk import REPLY_DUE, AgentDesk
from ai_engine.session.agent_seat import AgentSeat
from ai_engine.session.attachment import Attachment, Spawn
from ai_engine.session.consultation import Consultations
from ai_engine.session.debt import Owed
from ai_engine.session.message import Message
from ai_engine.session.ports import CallControl, Consultation, Observer, Said
from ai_engine.session.settings import SessionSettings
from ai_engine.session.timers import Timers
from ai_engine.session.tool_desk import ToolDesk
from ai_engine.session.toolbox import Toolbox
from ai_engine.session.upkeep import Upkeep
from ai_engine.session.voice_line import VoiceLine
from ai_engine.switchboard.ports import Refused

log = structlog.get_logger(__name__)

_AN_OPERATOR = "an operator asked for it"

_LAST_WORDS = (Phase.CLOSING, Phase.HANDING_OVER, Phase.RESCUING, Phase.LEAVING_MESSAGE)


_WITH_AGENT = (Phase.ARRIVING, Phase.STARTING, Phase.TALKING, Phase.CLOSING)


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
        consultations: Consultations,
        control: CallControl,
        upkeep: Upkeep,
        observers: Sequence[Observer],
        prompts: Mapping[Prompt, bytes],
        settings: SessionSettings,
        clock: Callable[[], float],
        spawn: Spawn,
        speak: Callable[[str], Awaitable[bytes]],
        message: str = "",
    ) -> None:
        """``prompts`` is PCM in the line's format; ``clock`` is the loop's, in seconds. ``speak`` makes PCM of a text
        in the agent's voice; ``message`` is left where it is known already that an answering machine has answered."""
        self.call_id = call_id
        self.facts = facts
        self.transcript = Transcript()
        self.ended: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
        self.farewell: Farewell | None = None
        """None when the caller has left us already; meaningful once ``ended``."""
        self.destination = (settings.human_context, settings.human_extension)
        """Context and extension of the human the caller is to get."""
        self._seat = seat
        self._line = line
        self._attachment = attachment
        self._consultations = consultations
        self._control = control
        self._upkeep = upkeep
        self._observers = observers
        self._settings = settings
        self._clock = clock
        self._spawn = spawn
        self._speak = speak
        self._message = Message(message, speak, self.happened)
        self._lifecycle = Lifecycle(reaches_human=control.reaches_human)
        self._turns = Turns()
        self._timers = Timers(self.happened)
        self._nudges = 0
        self._desk = AgentDesk(
            call_id,
            seat,
            line,
            ToolDesk(tools, self, spawn),
            self.transcript,
            self._timers,
            prompts,
            settings,
            spawn,
            lambda: self._turns.floor,
            clock,
        )
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
    def reaches_human(self) -> bool:
        return self._control.reaches_human

    @property
    def history(self) -> tuple[Said, ...]:
        return self._desk.history

    async def consult(self, consultation: Consultation) -> str:
        if self.phase is not Phase.TALKING:
            return "failed: the call is ending"
        return await self._consultations.hold(consultation)

    async def press(self, digits: str) -> str:
        self.happened(DigitsAsked(digits))
        try:
            await self._control.send_digits(digits)
        except (AsteriskError, CallGone) as error:
            self._log.warning("keys could not be pressed", error=str(error))
            return str(error)
        return ""

    def leave_message(self, text: str) -> None:
        """An answering machine has answered: say ``text`` to it, and hang up."""
        if self._message.text:  # it is known already
            return
        self._message = Message(text, self._speak, self.happened)
        self._spawn(self._message.make())

    # -- what an operator does -----------------------------------------------------------------------------

    def transfer(self, context: str = "", extension: str = "") -> None:
        """Send the caller there, or to the human, in the middle of a word. Raises Refused."""
        if not self.reaches_human:
            raise Refused("not-capable", "nobody can be reached from this call: it does not come through ARI")
        if self.phase in (Phase.LEAVING_MESSAGE, Phase.ENDED):
            raise Refused("refused", f"the call cannot be transferred any more: it is {self.phase}")
        where = ",".join((context, extension) if extension else self.destination)
        self.transcript.operator_did(f"transferred the caller to {where}", self._clock())
        self._stop_playout()
        self.happened(TransferAsked(_AN_OPERATOR, context, extension))

    def advise(self, text: str) -> None:
        """Let the agent know ``text``, which the caller does not hear. Raises Refused."""
        if self.phase not in _WITH_AGENT:
            raise Refused("refused", f"nobody is there to be told: the call is {self.phase}")
        if why_not := self._seat.advise(text):
            raise Refused("not-capable", why_not)
        self.happened(AgentAdvised(text))

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
        if self._passes_over(event):
            return
        now = self._clock()
        for observer in self._observers:
            observer.happened(self.call_id, event, now)
        before = self._lifecycle.phase, self._turns.floor
        actions = self._lifecycle.handle(event)
        if self._lifecycle.phase is not before[0]:
            self._enter(self._lifecycle.phase)
        if self._lifecycle.conversing or isinstance(event, CallerHeld | CallerUnheld):
            actions += self._turns.handle(event)
            self._line.covered = self.floor in (Floor.AWAY, Floor.WAITING)
        for action in actions:
            self._act(action, event)
        self._note(event, now, before[1])

    def _passes_over(self, event: CallEvent) -> bool:
        """Whether an event means nothing now."""
        match event:
            case MediaLost():  # the socket and Asterisk both report one loss
                return self._attachment.reopening
            case HangupAsked():  # a human is being asked to take the call
                return self.floor is Floor.WAITING
            case SilenceElapsed() if self._desk.using_tools:  # it is the caller who waits
                self._timers.start(self._settings.no_input_seconds, event)
                return True
        return False

    def _note(self, event: CallEvent, now: float, floor: Floor) -> None:
        """What an event means to the books and to the agent, whatever the rules decide; it came while ``floor`` was."""
        match event:
            case AgentStarted(provider):
                self._upkeep.tell("OFFHOOK_PROVIDER", provider)
                self._desk.came_in()
            case ReplyBegan(reply):
                self._line.begin(reply, self._seat.output_format)
                self._desk.began(reply)
                if floor in (Floor.CONTESTED, Floor.WEIGHED):
                    self._timers.cancel(DoubtElapsed)
                    self._desk.await_reply()
            case ReplyText(reply, text) if self._line.is_open(reply):
                self._line.end_sentence(reply)
                self.transcript.agent_said(reply, text, now, self._seat.provider)
            case ReplyEnded(reply):
                self._line.finish(reply)
                self._desk.made(reply)
            case ReplyCut(reply, heard_ms):
                self.transcript.reply_cut(reply, heard_ms)
            case AgentSpoke(reply) | PlayoutDrained(reply):
                self._desk.sounded(reply)
            case CallerHeld():
                self._timers.cancel(*REPLY_DUE, TimeRanOut)
            case CallerUnheld() if floor is Floor.AWAY:
                self._line.listen_anew()
                self._time_last_words()
                self._desk.await_again()
            case ConsultationBegan():
                self._nudges = 0
                self._timers.cancel(*REPLY_DUE, DoubtElapsed, PatienceElapsed)
                asyncio.get_running_loop().call_soon(self._check_idle)
            case ConsultationEnded():
                self._line.listen_anew()
            case PlayoutIdle() if floor is Floor.WAITING:
                self._consultations.last_word_played()
            case PlayoutIdle() if self._nudges > self._settings.no_input_limit:
                self.happened(HangupAsked())
            case PlaybackEnded():
                self._attachment.playback_ended(event)
            case MediaAttached(way):
                self._upkeep.tell("OFFHOOK_MEDIA", way)
                if self._lifecycle.conversing and self.floor is Floor.AGENT_PENDING and not self._desk.using_tools:
                    self._desk.await_reply()
            case CallerSpoke() | CallerMeant():
                self._nudges = 0
                self._timers.cancel(*REPLY_DUE, DoubtElapsed, PatienceElapsed)
            case CallerAnswered():
                self._nudges = 0
                self._timers.cancel(DoubtElapsed, PatienceElapsed)
            case CallerHummed() | DoubtElapsed():
                self._desk.hummed()
            case CallerSaid(text, True):
                self._take_words(text, now, floor)
            case ToolAsked():
                self._desk.use_tool(event)
            case ToolAnswered():
                self._desk.take_result(event, now, talking=self._lifecycle.phase is Phase.TALKING)
            case AgentExpiring():
                self._desk.expires()
            case TurnUnheard() if (failed := self._desk.turn_unheard()) is not None:
                self.happened(failed)
            case PatienceElapsed() if self._lifecycle.phase is Phase.TALKING:
                self._desk.ask_for_patience()
            case DigitReceived(digit):
                self._take_digit(digit)
            case AgentAdvised(text):
                self.transcript.operator_said(text, now)
            case TransferAsked(_, context, extension) if extension:
                self.destination = (context, extension)
            case AgentFailed() | AgentLost():
                self._desk.let_go(event)
            case MediaLost(reason) | MediaExhausted(reason) | PlayoutFailed(reason):
                self._timers.cancel(*REPLY_DUE)  # what nobody can hear is not late
                self._log.warning("sound does not travel", reason=reason)
        self._desk.renew_if_quiet()

    def _take_audio(self, event: ReplyAudio) -> None:
        if self._line.play(event.reply, event.pcm):
            self.transcript.agent_sounded(event.reply, self._seat.output_format.ms(len(event.pcm)))

    def _take_words(self, text: str, now: float, floor: Floor) -> None:
        if text or floor is not Floor.WEIGHED:
            self.transcript.caller_said(text, now)
        hummed = floor is Floor.WEIGHED and asks_for_nothing(text)
        if not hummed:
            self._desk.understood(text)
        if floor is Floor.WEIGHED:
            self._timers.cancel(DoubtElapsed)
            self.happened(CallerHummed() if hummed else CallerMeant())

    def _take_digit(self, digit: str) -> None:
        if digit == self._settings.human_digit and self.reaches_human:
            self._stop_playout()
            self.happened(TransferAsked(f"the caller pressed {digit}"))
        elif self._lifecycle.conversing and self.floor is not Floor.WAITING:
            self._nudges = 0
            self._seat.digit(digit)

    # -- actions out ---------------------------------------------------------------------------------------

    def _act(self, action: Action, event: CallEvent) -> None:
        """Do ``action``, which ``event`` asked for."""
        match action:
            case do.StartAgent() if self._message.text:
                self._spawn(self._message.make())
            case do.StartAgent():
                self._spawn(self._seat.fill())
            case do.ReplaceAgent():
                self._desk.replace()
            case do.Greet():
                self._desk.ask(Owed.GREETING)
            case do.Listen():
                self._desk.listen()
            case do.Dismiss():
                self._desk.dismiss()
            case do.AskAgent():
                self._desk.turn_over()
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
                self._desk.ask(Owed.NUDGE, last=self._nudges > self._settings.no_input_limit)
            case do.StartSilenceTimer():
                self._timers.start(self._settings.no_input_seconds, SilenceElapsed())
            case do.StopSilenceTimer():
                self._timers.cancel(SilenceElapsed)
            case do.PlayPrompt(prompt):
                self._desk.say(prompt)
            case do.LeaveMessage():
                self._seat.vacate()
                self._desk.say_words(self._message.text, self._message.pcm)
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

    # ------------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        if phase in _LAST_WORDS:
            self._timers.cancel(*REPLY_DUE, SilenceElapsed, PatienceElapsed)
            self._desk.write_off()
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
