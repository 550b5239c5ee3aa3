"""One call from answer to goodbye: events in, actions out, everything released once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.vad import VoiceActivity
from ai_engine.call import actions as do
from ai_engine.call.actions import Action, EndReason, Prompt
from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import (
    AgentLost,
    AgentSpoke,
    CallerHeld,
    CallerHummed,
    CallerHungUp,
    CallerMeant,
    CallerSaid,
    CallerSpoke,
    CallEvent,
    DigitReceived,
    DigitsAsked,
    DoubtElapsed,
    HangupAsked,
    MediaAttached,
    MediaExhausted,
    MediaLost,
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
    ToolAsked,
    TransferAsked,
)
from ai_engine.call.lifecycle import Lifecycle, Phase
from ai_engine.call.transcript import Transcript
from ai_engine.call.turns import Floor, Turns
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.agent_link import AgentLink
from ai_engine.session.attachment import Attachment
from ai_engine.session.media_path import MediaPath, Way
from ai_engine.session.ports import Agent, Briefing, CallControl, Observer, SoundStore, Tool
from ai_engine.session.settings import SessionSettings
from ai_engine.session.timers import Timers
from ai_engine.session.turn_judge import TurnJudge
from ai_engine.session.upkeep import Upkeep
from ai_engine.session.voice_line import VoiceLine

log = structlog.get_logger(__name__)

_LAST_FRAMES_SECONDS = 0.25
"""The last frames written are still in the network and in the phone's jitter buffer; a BYE would overtake them."""

_PROMPT_REPLY = ReplyId(2**32)
"""The engine's own sentence comes after every reply an agent can have made: their ids have 32 bits."""


class CallSession:
    """Runs one call; ``run`` returns when the call has left the engine and nothing of it remains."""

    def __init__(
        self,
        *,
        control: CallControl,
        ways: Sequence[Way],
        format: AudioFormat,
        agent: Agent,
        briefing: Briefing,
        tools: Mapping[str, Tool],
        observers: Sequence[Observer],
        prompts: Mapping[Prompt, bytes],
        ear: VoiceActivity,
        settings: SessionSettings,
        clock: Callable[[], float],
        store: SoundStore | None = None,
        judge: TurnJudge | None = None,
    ) -> None:
        """``format`` is the line's, and that of ``prompts``; ``clock`` is the loop's, in seconds; ``store`` is needed
        where one of ``ways`` plays files."""
        self.call_id = briefing.call_id
        self._control = control
        self._agent = agent
        self._briefing = briefing
        self._observers = observers
        self._prompts = prompts
        self._settings = settings
        self._clock = clock
        self._lifecycle = Lifecycle()
        self._turns = Turns()
        self.transcript = Transcript()
        self._line = VoiceLine(
            self.call_id,
            format,
            ear,
            observers,
            self.happened,
            jitter=settings.jitter,
            stall_seconds=settings.reply_seconds,
            barge_in=settings.barge_in,
            level=settings.level,
            judge=judge,
        )
        self._attachment = Attachment(
            self.call_id,
            self._line,
            MediaPath(control, ways, format, settings.media_seconds, self.happened),
            control,
            format,
            store,
            self._spawn,
            self.happened,
        )
        self._link = AgentLink(agent, tools, self.happened)
        self._group: asyncio.TaskGroup | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()
        self._farewell: Callable[[], Awaitable[None]] | None = None
        self._timers = Timers(self.happened)
        self._nudges = 0
        self._upkeep = Upkeep(
            control,
            settings.dead_man_seconds,
            {
                "OFFHOOK_CALL_ID": self.call_id,
                "OFFHOOK_AGENT": briefing.agent_name,
                "OFFHOOK_PROVIDER": agent.provider,
            },
        )
        self._log = log.bind(call_id=self.call_id)

    @property
    def phase(self) -> Phase:
        return self._lifecycle.phase

    @property
    def floor(self) -> Floor:
        return self._turns.floor

    # -- one call, one task group, one way out -------------------------------------------------------------

    async def run(self) -> EndReason:
        """Answer, attach, talk, say goodbye, release. Raises only what is a defect of ours."""
        facts = {
            "agent": self._briefing.agent_name,
            "provider": self._agent.provider,
            "caller": self._briefing.caller_number,
            "dialled": self._briefing.dialled,
            "channel": self._control.channel_id,
        }
        for observer in self._observers:
            observer.call_started(self.call_id, facts, self._clock())
        reason = EndReason.RESCUED
        try:
            async with asyncio.TaskGroup() as self._group:
                self._spawn(self._follow_control())
                self._upkeep.entered(self.phase)
                self._spawn(self._upkeep.stay_alive())
                self._spawn(self._upkeep.show())
                self._spawn(self._arrive())
                reason = await self._ended
                await self._say_farewell()
                for job in self._jobs:
                    job.cancel()
            return reason
        except BaseException:
            # A defect of ours, or the engine's own end: the caller must not be left in silence.
            self._farewell = self._transfer_to_human
            await self._say_farewell()
            raise
        finally:
            self._group = None
            await self._release(reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """None once the call is being released: nothing is begun any more."""
        if self._group is None:
            work.close()
            return None
        job = self._group.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def _arrive(self) -> None:
        try:
            await self._control.answer()
            await self._control.keep_alive(self._settings.dead_man_seconds)
        except CallGone:
            self.happened(CallerHungUp())
        except AsteriskError as error:
            self.happened(MediaExhausted(str(error)))
        else:
            await self._attachment.open()

    async def _start_agent(self) -> None:
        if await self._link.start(self._briefing, self._settings.provider_start_seconds):
            self._line.bring_in(self._agent)
            self._log.info("provider session started", provider=self._agent.provider)
            await self._link.follow()

    async def _follow_control(self) -> None:
        async for event in self._control.events():
            self.happened(event)

    async def _say_farewell(self) -> None:
        if self._farewell is None:
            return
        try:
            await self._farewell()
        except CallGone:
            pass
        except AsteriskError as error:
            self._log.error("could not hand the caller on; the dead-man switch will", error=str(error))

    async def _release(self, reason: EndReason) -> None:
        """Every part once, whatever the others do; last come the observers."""
        self._timers.cancel_all()
        self._line.send_away()
        async with AsyncExitStack() as parts:
            parts.callback(self._report_end, reason)
            parts.push_async_callback(self._agent.close)
            parts.push_async_callback(self._release_channel)
            parts.callback(self._strike_unheard)
            parts.callback(self._attachment.close)

    def _strike_unheard(self) -> None:
        for cut in self._line.stop():
            self.transcript.reply_cut(cut.reply, cut.heard_ms)

    async def _release_channel(self) -> None:
        with suppress(AsteriskError, CallGone):
            await self._control.close()

    def _report_end(self, reason: EndReason) -> None:
        for observer in self._observers:
            observer.transcript(self.call_id, self.transcript.lines())
            observer.call_ended(self.call_id, reason, self._clock())

    # -- events in -----------------------------------------------------------------------------------------

    def happened(self, event: CallEvent) -> None:
        """The one point every event of the call passes."""
        if self._ended.done():
            return
        if isinstance(event, ReplyAudio):
            self._take_audio(event)
            return
        now = self._clock()
        for observer in self._observers:
            observer.happened(self.call_id, event, now)
        before = self._lifecycle.phase, self._turns.floor
        actions = self._lifecycle.handle(event)
        if self._lifecycle.phase is not before[0]:
            self._enter(self._lifecycle.phase)
        if self._lifecycle.conversing:
            actions += self._turns.handle(event)
        for action in actions:
            self._act(action, event)
        self._note(event, now, before[1])

    def _note(self, event: CallEvent, now: float, floor: Floor) -> None:
        """What an event means to the books and to the agent, whatever the rules decide; it came while ``floor`` was."""
        match event:
            case ReplyBegan(reply):
                self._line.begin(reply, self._agent.output_format)
            case ReplyText(reply, text) if self._line.is_open(reply):
                self._line.end_sentence(reply)
                self.transcript.agent_said(reply, text, now)
            case ReplyEnded(reply):
                self._line.finish(reply)
            case ReplyCut(reply, heard_ms):
                self.transcript.reply_cut(reply, heard_ms)
            case AgentSpoke() | PlayoutDrained() | CallerHeld():
                self._timers.cancel(AgentLost)
            case PlayoutIdle() if self._nudges > self._settings.no_input_limit:
                self.happened(HangupAsked())
            case PlaybackEnded():
                self._attachment.playback_ended(event)
            case MediaAttached(way):
                self._upkeep.tell("OFFHOOK_MEDIA", way)
            case CallerSpoke() | CallerMeant():
                self._nudges = 0
                self._timers.cancel(AgentLost, DoubtElapsed)
            case CallerSaid(text, True):
                self._take_words(text, now, floor)
            case ToolAsked():
                self._spawn(self._link.use_tool(event, self))
            case DigitReceived(digit):
                self._take_digit(digit)
            case DigitsAsked(digits):
                self._spawn(self._send_digits(digits))
            case AgentLost(reason):
                self._line.send_away()
                self._line.finish_all()
                self._log.error("provider lost", provider=self._agent.provider, reason=reason)
            case MediaLost(reason) | MediaExhausted(reason) | PlayoutFailed(reason):
                self._log.warning("sound does not travel", reason=reason)

    def _take_audio(self, event: ReplyAudio) -> None:
        if self._line.play(event.reply, event.pcm):
            self.transcript.agent_sounded(event.reply, self._agent.output_format.ms(len(event.pcm)))

    def _take_words(self, text: str, now: float, floor: Floor) -> None:
        if text or floor is not Floor.WEIGHED:
            self.transcript.caller_said(text, now)
        if floor is Floor.WEIGHED:
            self._timers.cancel(DoubtElapsed)
            self.happened(CallerHummed() if asks_for_nothing(text) else CallerMeant())

    def _take_digit(self, digit: str) -> None:
        if digit == self._settings.human_digit:
            self._stop_playout()
            self.happened(TransferAsked(f"the caller pressed {digit}"))
        elif self._lifecycle.conversing:
            self._nudges = 0
            self._agent.digit(digit)

    async def _send_digits(self, digits: str) -> None:
        try:
            await self._control.send_digits(digits)
        except CallGone:
            pass
        except AsteriskError as error:
            self._log.warning("keys could not be pressed", digits=digits, error=str(error))

    # -- actions out ---------------------------------------------------------------------------------------

    def _act(self, action: Action, event: CallEvent) -> None:
        """Do ``action``, which ``event`` asked for."""
        match action:
            case do.StartAgent():
                self._spawn(self._start_agent())
            case do.Greet():
                self._await_reply()
                self._agent.greet()
            case do.Listen():
                self._agent.caller_spoke()
            case do.Dismiss():
                self._agent.caller_dismissed()
            case do.AskAgent():
                self._await_reply()
                self._agent.caller_paused()
            case do.AskWhatItWas():
                self._timers.start(self._settings.doubt_seconds, DoubtElapsed())
                self._agent.caller_paused(brief=True)
            case do.HoldPlayout():
                self._line.hold()
            case do.ResumePlayout():
                self._line.resume()
            case do.StopPlayout():
                self._stop_playout()
            case do.Nudge():
                self._nudge()
            case do.StartSilenceTimer():
                self._timers.start(self._settings.no_input_seconds, SilenceElapsed())
            case do.StopSilenceTimer():
                self._timers.cancel(SilenceElapsed)
            case do.PlayPrompt(prompt):
                self._line.play_prompt(_PROMPT_REPLY, self._prompts[prompt])
            case do.Reattach():
                assert isinstance(event, MediaLost | PlayoutFailed)
                self._attachment.reopen(event)
            case do.HangUp():
                self._farewell = self._hang_up
            case do.TransferToHuman():
                self._farewell = self._transfer_to_human
            case do.EndCall(reason):
                self._ended.set_result(reason)
            case _:
                raise AssertionError(f"no way to do {action}")

    def _stop_playout(self) -> None:
        for cut in self._line.stop():
            self.happened(cut)
            if self._lifecycle.phase is not Phase.RESCUING:
                self._agent.interrupt(cut.reply, cut.heard_ms)

    def _nudge(self) -> None:
        self._nudges += 1
        self._await_reply()
        self._agent.nudge(last=self._nudges > self._settings.no_input_limit)

    def _await_reply(self) -> None:
        if self._line.held:  # the caller is on hold: the reply is not heard, however soon it comes
            return
        seconds = self._settings.reply_seconds
        self._timers.start(seconds, AgentLost(f"{self._agent.provider} gave no reply within {seconds} s"))

    def _enter(self, phase: Phase) -> None:
        if phase in (Phase.CLOSING, Phase.HANDING_OVER, Phase.RESCUING):
            self._timers.cancel(AgentLost, SilenceElapsed, DoubtElapsed)
            self._timers.start(self._settings.last_words_seconds, TimeRanOut())
            if self._line.idle:  # there are no last words to wait for; the line says so only when it falls silent
                asyncio.get_running_loop().call_soon(self._check_idle)
        elif phase is Phase.TALKING:
            self._timers.cancel(TimeRanOut)
        self._upkeep.entered(phase)

    def _check_idle(self) -> None:
        if self._line.idle:
            self.happened(PlayoutIdle())

    async def _hang_up(self) -> None:
        await asyncio.sleep(_LAST_FRAMES_SECONDS)
        await self._control.hang_up()

    async def _transfer_to_human(self) -> None:
        await self._control.transfer(self._settings.human_context, self._settings.human_extension)
