"""What the caller is owed by the agent: asked for, waited for, and paid by another one where the first is lost."""

from collections.abc import Callable, Mapping

import structlog

from ai_engine.call.actions import Prompt
from ai_engine.call.events import AgentFailed, AgentLost, PatienceElapsed, ReplyId, ToolAnswered, ToolAsked, TurnUnheard
from ai_engine.call.transcript import Transcript
from ai_engine.call.turns import Floor
from ai_engine.session.agent_seat import AgentSeat
from ai_engine.session.attachment import Spawn
from ai_engine.session.debt import Debt, Owed
from ai_engine.session.ports import Said
from ai_engine.session.settings import SessionSettings
from ai_engine.session.timers import Timers
from ai_engine.session.tool_desk import ToolDesk
from ai_engine.session.voice_line import VoiceLine

REPLY_DUE = (AgentFailed, TurnUnheard)
"""What will happen when nothing is heard of the agent."""

log = structlog.get_logger(__name__)


class AgentDesk:
    """Stands between the rules of a call and whoever sits in its agent's seat."""

    def __init__(
        self,
        call_id: str,
        seat: AgentSeat,
        line: VoiceLine,
        tools: ToolDesk,
        transcript: Transcript,
        timers: Timers,
        prompts: Mapping[Prompt, bytes],
        settings: SessionSettings,
        spawn: Spawn,
        floor: Callable[[], Floor],
        clock: Callable[[], float],
    ) -> None:
        self._seat = seat
        self._line = line
        self._tools = tools
        self._transcript = transcript
        self._timers = timers
        self._prompts = prompts
        self._settings = settings
        self._spawn = spawn
        self._floor = floor
        self._clock = clock
        self._debt = Debt()
        self._own_words: ReplyId | None = None
        """The engine's latest sentence of its own: it answers nothing."""
        self._asked_after: ReplyId = ReplyId(0)
        """The latest reply when the agent was asked for something."""
        self._turn_after: ReplyId = ReplyId(0)
        """The latest reply when the caller's turn began."""
        self._unheard = False
        """The caller's last turn was nothing to a provider with ears of its own; two in a row are no noise."""
        self._expiring = False
        self._replacing = False
        """The next agent is on its way."""
        self._unasked = False
        """It came in while the caller spoke, and was not asked yet for what is owed."""
        self._log = log.bind(call_id=call_id)

    @property
    def history(self) -> tuple[Said, ...]:
        """What was said and heard so far."""
        return tuple(Said(speaker, text) for speaker, text in self._transcript.history())

    @property
    def using_tools(self) -> bool:
        return self._tools.busy

    # -- the caller's turn ---------------------------------------------------------------------------------

    def listen(self) -> None:
        """The caller begins to speak."""
        self._line.memory.begin()
        self._debt.turn_began()
        self._turn_after = self._seat.latest
        self._seat.caller_spoke()

    def dismiss(self) -> None:
        """That was nothing."""
        self._line.memory.forget()
        self._seat.caller_dismissed()
        self.catch_up()

    def turn_over(self) -> None:
        """The caller is to be answered."""
        self._line.memory.end()
        if not self._debt.known_early:
            self._transcript.caller_paused(self._clock())
        self.ask(Owed.ANSWER)

    def understood(self, words: str) -> None:
        """What the caller said last."""
        self._unheard = False
        speaking = self._floor() in (Floor.CALLER, Floor.CONTESTED)
        # Without ears of its own it speaks of an earlier turn.
        self._debt.understood(words, early=speaking and self._seat.patience_seconds > 0)
        if words:
            self._line.memory.settle()

    def hummed(self) -> None:
        """What was said into our words asks for nothing."""
        self._line.memory.forget()
        self.catch_up()

    # -- asked for, and waited for -------------------------------------------------------------------------

    def ask(self, owed: Owed, *, last: bool = False) -> None:
        """Ask the agent to speak, and give it time to; ``last``: a nudge with which the call ends."""
        self._debt.asked(owed)
        self._unasked = False
        self._asked_after = self._seat.latest
        match owed:
            case Owed.GREETING:
                self._seat.greet()
            case Owed.ANSWER:
                self._seat.caller_paused()
            case Owed.NUDGE:
                self._seat.nudge(last=last)
        patience = self._seat.patience_seconds
        if owed is Owed.ANSWER and patience:
            self._asked_after = self._turn_after  # it may have begun to answer before we heard the pause
        if owed is Owed.ANSWER and patience and not self._line.held:
            self._timers.cancel(AgentFailed)
            self._timers.start(self._settings.reply_seconds + patience, TurnUnheard())
        else:
            self.await_reply()

    def await_reply(self) -> None:
        """AgentFailed happens unless something is heard in time."""
        # The caller is on hold: the reply is not heard, however soon it comes; or nobody is there yet to give one.
        if self._line.held or self._replacing:
            return
        self._timers.cancel(TurnUnheard)
        if self._seat.vacant:
            self._timers.start(0.0, AgentFailed("nobody is there to reply"))
        else:
            self._timers.start(self._settings.reply_seconds, self._no_reply())

    def await_again(self) -> None:
        """The caller is back from hold: what they are owed is late from now on."""
        if self._debt and self._line.idle and not self._tools.busy:
            self.await_reply()

    def turn_unheard(self) -> AgentFailed | None:
        """What it did not answer may have been noise to it: it is asked for something that needs no ears."""
        if self._debt.words or self._unheard:
            return self._no_reply()
        self._unheard = True
        self._transcript.caller_unheard()
        self.ask(Owed.NUDGE)
        return None

    def _no_reply(self) -> AgentFailed:
        return AgentFailed(f"{self._seat.provider} gave no reply within {self._settings.reply_seconds} s")

    def sounded(self, reply: ReplyId) -> None:
        """Something of ``reply`` was heard, or all there was."""
        if reply == self._own_words:
            return
        self._timers.cancel(*REPLY_DUE)
        if not self._tools.busy:
            self._timers.cancel(PatienceElapsed)

    def began(self, reply: ReplyId) -> None:
        """The agent begins to speak; with ears of its own it may answer before we have heard the pause."""
        self._unasked = False
        if self._floor() is Floor.CALLER and self._seat.patience_seconds:
            self._debt.asked(Owed.ANSWER)
            self._asked_after = self._turn_after

    def made(self, reply: ReplyId) -> None:
        """``reply`` was made to its end: one that was begun after the agent was asked pays."""
        if reply <= self._asked_after:
            return
        if self._debt.owed is Owed.ANSWER:
            self._line.memory.settle()
            self._seat.answered()
        self._debt.paid()

    def write_off(self) -> None:
        """The last words were said: whoever takes over has nothing to add."""
        self._debt.paid()
        self._unasked = False

    # -- tools ---------------------------------------------------------------------------------------------

    def use_tool(self, asked: ToolAsked) -> None:
        self._timers.cancel(*REPLY_DUE)  # it may have nothing to say before it knows what came of this
        if asked.goes_on:
            self._debt.goes_on()
            self._asked_after = self._seat.latest
            self._timers.start(self._settings.tool_patience_seconds, PatienceElapsed())
        self._tools.use(asked)

    def take_result(self, answer: ToolAnswered, now: float, *, talking: bool) -> None:
        """Tell whoever asked; ``talking``: there is still something to be said in this call."""
        asked = self._tools.answered(answer)
        self._transcript.tool_answered(asked.name, asked.arguments, answer.result, answer.ms, now)
        self._asked_after = self._seat.latest
        self._seat.answer_tool(answer.id, answer.result, last=not talking)
        if not (asked.goes_on and talking):
            return
        self._debt.goes_on()
        if not self._tools.busy and self._floor() in (Floor.NOBODY, Floor.AGENT_PENDING):
            self.await_reply()

    # -- taken over ----------------------------------------------------------------------------------------

    def let_go(self, event: AgentFailed | AgentLost) -> None:
        """The agent is lost: what it made is still played."""
        self._timers.cancel(*REPLY_DUE)
        self._line.send_away()
        self._line.finish_all()
        self._expiring = False
        if isinstance(event, AgentLost):
            self._replacing = False
        elif self._seat.vacate(event.reason, event.status):
            self._log.error("provider lost", provider=self._seat.provider, reason=event.reason)

    def replace(self) -> None:
        """Seat the next agent, unless it is on its way."""
        if self._replacing:
            return
        self._replacing = True
        self._timers.start(self._settings.patience_seconds, PatienceElapsed())
        self._spawn(self._seat_next())

    async def _seat_next(self) -> None:
        """What a tool does is done only once: whoever comes is told what came of it."""
        await self._tools.settled()
        history = self.history
        words = Said("caller", self._debt.words)
        if self._debt.owed is Owed.ANSWER and words in history:  # it is given them to answer
            last = len(history) - 1 - history[::-1].index(words)
            history = history[:last] + history[last + 1 :]
        await self._seat.fill(history)

    def came_in(self) -> None:
        """An agent sits down: one that takes over goes on where the other was lost."""
        self._replacing = False
        if not self._seat.taken_over:
            return
        if self._floor() in (Floor.CALLER, Floor.CONTESTED):
            self._seat.caller_spoke()
            self._line.replay()
            self._unasked = True
        else:
            self._ask_again()

    def catch_up(self) -> None:
        """The caller spoke as an agent came in, and said nothing: now it is asked for what is owed."""
        if self._unasked:
            self._unasked = False
            self._ask_again()

    def _ask_again(self) -> None:
        if self._debt.owed is Owed.ANSWER and self._debt.words:
            self._asked_after = self._seat.latest
            self._seat.respond(self._debt.words)
            self.await_reply()
        elif self._debt.owed is Owed.ANSWER:
            self._seat.caller_spoke()
            self._line.replay()
            self.ask(Owed.ANSWER)
        elif self._debt:
            self.ask(self._debt.owed)

    def expires(self) -> None:
        """The provider will end the session."""
        self._expiring = True

    def renew_if_quiet(self) -> None:
        """Open a session that will end anew while nobody would notice."""
        if not (self._expiring and self._quiet):
            return
        self._expiring = False
        history = self.history

        def still_quiet() -> bool:
            self._expiring = not (self._quiet and self.history == history)  # else it is tried again
            return not self._expiring

        self._spawn(self._seat.renew(history, still_quiet))

    @property
    def _quiet(self) -> bool:
        return self._floor() is Floor.NOBODY and self._line.idle and not (self._tools.busy or self._debt)

    # -- the engine's own words ----------------------------------------------------------------------------

    def ask_for_patience(self) -> None:
        """Say once that it takes a moment, if there is nothing else to hear."""
        if not (self._debt or self._tools.busy) or self._line.held:
            return
        if self._floor() in (Floor.AGENT_PENDING, Floor.NOBODY) and self._line.idle:
            self.say(Prompt.WAIT)
        else:
            self._timers.start(self._settings.patience_seconds, PatienceElapsed())

    def say(self, prompt: Prompt) -> None:
        """Say a recorded sentence."""
        self.say_words(prompt.words, self._prompts[prompt])

    def say_words(self, text: str, pcm: bytes) -> None:
        """Say ``text``, which sounds as ``pcm`` in the line's format."""
        self._own_words = self._seat.own_reply()
        self._line.play_prompt(self._own_words, pcm)
        if text:
            self._transcript.engine_said(self._own_words, text, self._clock())
