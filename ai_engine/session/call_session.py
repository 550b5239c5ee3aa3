"""One call from answer to goodbye: one task group, one way out, everything released once."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.turn_memory import TurnMemory
from ai_engine.audio.vad import VoiceActivity
from ai_engine.call.actions import EndReason, Prompt
from ai_engine.call.events import (
    CallerHungUp,
    CallEvent,
    HangupAsked,
    MediaExhausted,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.call.transcript import Transcript
from ai_engine.call.turns import Floor
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.agent_seat import AgentSeat
from ai_engine.session.attachment import Attachment
from ai_engine.session.consultation import Consultations
from ai_engine.session.conversation import Conversation, Farewell
from ai_engine.session.media_path import MediaPath, Way
from ai_engine.session.ports import Briefing, CallControl, Observer, SoundStore
from ai_engine.session.roster import Candidate, Roster
from ai_engine.session.settings import SessionSettings
from ai_engine.session.spoken import spoken
from ai_engine.session.toolbox import Toolbox
from ai_engine.session.turn_judge import TurnJudge
from ai_engine.session.upkeep import Upkeep
from ai_engine.session.voice_line import VoiceLine

log = structlog.get_logger(__name__)

_LAST_FRAMES_SECONDS = 0.25
"""The last frames written are still in the network and in the phone's jitter buffer; a BYE would overtake them."""


_ASK_AGAIN_SECONDS = 3.0


class CallSession:
    """Runs one call; ``run`` returns when the call has left the engine and nothing of it remains."""

    def __init__(
        self,
        *,
        control: CallControl,
        ways: Sequence[Way],
        format: AudioFormat,
        candidates: Sequence[Candidate],
        briefing: Briefing,
        tools: Toolbox,
        observers: Sequence[Observer],
        prompts: Mapping[Prompt, bytes],
        ear: VoiceActivity,
        settings: SessionSettings,
        clock: Callable[[], float],
        store: SoundStore | None = None,
        judge: TurnJudge | None = None,
        max_seconds: float | None = None,
        message: str = "",
    ) -> None:
        """``format`` is the line's, and that of ``prompts``; ``clock`` is the loop's, in seconds; ``store`` is needed
        where one of ``ways`` plays files, and to ask a human. The first of ``candidates`` holds the call, the others
        where it fails. After ``max_seconds`` of conversation the agent hangs up; ``message`` is left on the answering
        machine that has answered, in place of a conversation."""
        self.call_id = briefing.call_id
        self.channel_id = control.channel_id
        self._control = control
        self._format = format
        self._briefing = briefing
        self._candidates = candidates
        self._observers = observers
        self._settings = settings
        self._clock = clock
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
            memory=TurnMemory(format, settings.preroll_ms, settings.vad.max_turn_ms),
        )
        self._seat = AgentSeat(
            Roster(candidates),
            briefing,
            settings.provider_start_seconds,
            clock,
            self._line.bring_in,
            self.happened,
        )
        self._facts = {
            "agent": briefing.agent_name,
            "provider": self._seat.provider,
            "caller": briefing.caller_number,
            "dialled": briefing.dialled,
            "channel": control.channel_id,
            **briefing.facts,
        }
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
        self._group: asyncio.TaskGroup | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._upkeep = Upkeep(
            control,
            settings.dead_man_seconds,
            {
                "OFFHOOK_CALL_ID": self.call_id,
                "OFFHOOK_AGENT": briefing.agent_name,
                "OFFHOOK_PROVIDER": self._seat.provider,
            },
        )
        self._conversation = Conversation(
            self.call_id,
            self._facts,
            self._seat,
            self._line,
            self._attachment,
            tools,
            Consultations(self.call_id, control, self._speak_aside, store, prompts, format, self._spawn, self.happened),
            control,
            self._upkeep,
            observers,
            prompts,
            settings,
            clock,
            self._spawn,
            self._speak_aside,
            message,
        )
        self._max_seconds = max_seconds
        self._log = log.bind(call_id=self.call_id)

    @property
    def phase(self) -> Phase:
        return self._conversation.phase

    @property
    def floor(self) -> Floor:
        return self._conversation.floor

    @property
    def transcript(self) -> Transcript:
        return self._conversation.transcript

    def happened(self, event: CallEvent) -> None:
        """The one point every event of the call passes."""
        self._conversation.happened(event)

    def leave_message(self, text: str) -> None:
        """An answering machine has answered: say ``text`` to it, and hang up."""
        self._conversation.leave_message(text)

    def transfer(self, context: str = "", extension: str = "") -> None:
        """An operator sends the caller there, or to the human, in the middle of a word. Raises Refused."""
        self._conversation.transfer(context, extension)

    def advise(self, text: str) -> None:
        """An operator tells the agent ``text``, which the caller does not hear. Raises Refused."""
        self._conversation.advise(text)

    # -- one call, one task group, one way out -------------------------------------------------------------

    async def run(self) -> EndReason:
        """Answer, attach, talk, say goodbye, release. Raises only what is a defect of ours."""
        for observer in self._observers:
            observer.call_started(self.call_id, self._facts, self._clock())
        reason = EndReason.RESCUED if self._control.reaches_human else EndReason.GIVEN_UP
        try:
            async with asyncio.TaskGroup() as self._group:
                self._spawn(self._follow_control())
                self._upkeep.entered(self.phase)
                chores = (self._upkeep.stay_alive(), self._upkeep.show(), self._watch_the_time())
                upkeep = [self._group.create_task(work) for work in chores]
                self._spawn(self._arrive())
                reason = await self._conversation.ended
                for job in upkeep:
                    job.cancel()  # a human must not be cut off by our dead-man switch
                if not await self._say_farewell(self._conversation.farewell):
                    reason = EndReason.GIVEN_UP
                for job in self._jobs:
                    job.cancel()
            return reason
        except BaseException:
            # A defect of ours, or the engine's own end: the caller must not be left in silence.
            await self._say_farewell(Farewell.TO_HUMAN)
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

    async def _speak_aside(self, text: str) -> bytes:
        """``text`` in the voice of whoever holds the call, unheard by the caller."""
        make = next(candidate.make for candidate in self._candidates if candidate.name == self._seat.provider)
        briefing = replace(self._briefing, greeting=text, prompt="", history=(), tools=())
        return await spoken(make, briefing, self._format)

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

    async def _watch_the_time(self) -> None:
        if self._max_seconds is None:
            return
        await asyncio.sleep(self._max_seconds)
        self._log.info("the conversation has lasted long enough", max_seconds=self._max_seconds)
        while True:  # somebody who speaks into a goodbye calls it off
            self.happened(HangupAsked())
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _follow_control(self) -> None:
        async for event in self._control.events():
            self.happened(event)

    async def _say_farewell(self, farewell: Farewell | None) -> bool:
        """False for a caller who was to get a human, and gets none."""
        try:
            match farewell:
                case Farewell.TO_HUMAN if self._control.reaches_human:
                    await self._control.transfer(*self._conversation.destination)
                case Farewell.HANG_UP | Farewell.TO_HUMAN:
                    await asyncio.sleep(_LAST_FRAMES_SECONDS)
                    await self._control.hang_up()
        except CallGone:
            pass
        except AsteriskError as error:
            self._log.error("could not take leave of the caller", farewell=farewell, error=str(error))
        return farewell is not Farewell.TO_HUMAN or self._control.reaches_human

    async def _release(self, reason: EndReason) -> None:
        """Every part once, whatever the others do; last come the observers."""
        self._line.send_away()
        async with AsyncExitStack() as parts:
            parts.callback(self._report_end, reason)
            parts.push_async_callback(self._seat.close)
            parts.push_async_callback(self._release_channel)
            parts.callback(self._conversation.close)
            parts.callback(self._attachment.close)

    async def _release_channel(self) -> None:
        with suppress(AsteriskError, CallGone):
            await self._control.close()

    def _report_end(self, reason: EndReason) -> None:
        self._log.info("sound of the call", **self._line.summary())
        for observer in self._observers:
            observer.transcript(self.call_id, self.transcript.lines())
            observer.call_ended(self.call_id, reason, self._clock())
