"""The agent's seat in a call: who sits there, and who takes over when it fails."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.call.events import (
    AgentFailed,
    AgentLost,
    AgentStarted,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAsked,
)
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Agent, Briefing, Said
from ai_engine.session.roster import Candidate, Roster


class AgentSeat:
    """Passes on what the session tells the agent and what the agent says; whatever it fails to do becomes an event.

    Replies and tools of all agents that sit here in a call are numbered as one row.
    """

    def __init__(
        self,
        roster: Roster,
        briefing: Briefing,
        start_seconds: float,
        clock: Callable[[], float],
        came_in: Callable[[Agent], None],
        happened: Callable[[CallEvent], None],
    ) -> None:
        """``start_seconds`` is for each candidate; ``came_in`` is told of everybody who sits down."""
        self._roster = roster
        self._briefing = briefing
        self._start_seconds = start_seconds
        self._clock = clock
        self._came_in = came_in
        self._happened = happened
        self._candidate: Candidate | None = None
        self._agent: Agent | None = None
        self._generation = 0
        self.latest = ReplyId(0)
        """The number of the reply that was begun last."""
        self._ours: dict[ReplyId, ReplyId] = {}
        """Number in the call of each reply of the present agent."""
        self._untold: list[str] = []
        """Advice that came while nobody sat here."""
        self._closing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger(__name__).bind(call_id=briefing.call_id)

    @property
    def provider(self) -> str:
        """Who sits here, or is to."""
        return (self._candidate or self._roster.first).name

    @property
    def output_format(self) -> AudioFormat:
        return SLIN8 if self._agent is None else self._agent.output_format

    @property
    def patience_seconds(self) -> float:
        return 0.0 if self._agent is None else self._agent.patience_seconds

    @property
    def vacant(self) -> bool:
        return self._agent is None

    def own_reply(self) -> ReplyId:
        """A number for a sentence of the engine's own, after every reply so far and before those to come."""
        self.latest = ReplyId(self.latest + 1)
        return self.latest

    # -- who sits here ---------------------------------------------------------------------------------------

    async def fill(self, history: tuple[Said, ...] = ()) -> None:
        """Let the next candidate sit down who can, AgentStarted, and follow it until AgentFailed; or AgentLost."""
        reason = "every provider is left alone after its failures"
        briefing = replace(self._briefing, history=history)
        self._untold = [text for text in self._untold if Said("operator", text) not in history]
        for candidate in self._roster.round(self._clock):
            try:
                agent = await self._open(candidate, briefing)
            except ProviderError as error:
                reason = str(error)
                candidate.breaker.failed(self._clock(), reason, error.status)
                self._log.warning("provider did not start", provider=candidate.name, reason=reason)
                continue
            self._sit_down(candidate, agent)
            await self._follow(agent)
            return
        self._happened(AgentLost(reason))

    async def renew(self, history: tuple[Said, ...], still_quiet: Callable[[], bool]) -> None:
        """Open the present provider's session anew and change over; where that fails, the present one goes on.

        So it does when the new one is ready and it is not ``still_quiet``: what was said since is not in ``history``.
        """
        candidate, present = self._candidate, self._agent
        if candidate is None or present is None:
            return
        try:
            agent = await self._open(candidate, replace(self._briefing, history=history))
        except ProviderError as error:
            self._log.warning("session could not be renewed", provider=candidate.name, reason=str(error))
            return
        if self._agent is not present or not still_quiet():
            self._close_behind(agent)
            return
        self.vacate()
        self._sit_down(candidate, agent)
        await self._follow(agent)

    @property
    def taken_over(self) -> bool:
        """Whether somebody else sat here before."""
        return self._generation > 1

    def answered(self) -> None:
        """Whoever sits here has answered the caller. A greeting is no proof: whoever speaks need not think."""
        if self._candidate is not None:
            self._candidate.breaker.succeeded()

    def vacate(self, reason: str = "", status: int = 0) -> bool:
        """Whoever sits here is listened to no more; with a ``reason`` it failed. False when the seat was empty."""
        agent, self._agent = self._agent, None
        if agent is None:
            return False
        if reason and self._candidate is not None:
            self._candidate.breaker.failed(self._clock(), reason, status)
        self._close_behind(agent)
        return True

    async def close(self) -> None:
        """Nobody sits here any more, and everybody has left."""
        self.vacate()
        while self._closing:
            await asyncio.wait(self._closing)

    async def _open(self, candidate: Candidate, briefing: Briefing) -> Agent:
        agent, ready = candidate.make(), False
        try:
            async with asyncio.timeout(self._start_seconds):
                await agent.start(briefing)
            ready = True
        except TimeoutError:
            raise ProviderError(f"{candidate.name} was not ready in {self._start_seconds} s") from None
        finally:
            if not ready:  # also when the call ended meanwhile
                self._close_behind(agent)
        return agent

    def _sit_down(self, candidate: Candidate, agent: Agent) -> None:
        self._candidate, self._agent = candidate, agent
        self._generation += 1
        self._ours = {}
        self._came_in(agent)
        for text in self._untold:
            if why_not := agent.advise(text):
                self._log.warning("agent cannot be advised", provider=candidate.name, reason=why_not)
        self._untold = []
        self._log.info("provider session started", provider=candidate.name)
        self._happened(AgentStarted(candidate.name))

    async def _follow(self, agent: Agent) -> None:
        reason, status = f"{self.provider} ended the session", 0
        try:
            async for event in agent.events():
                if self._agent is not agent:
                    return
                self._happened(self._in_row(event))
        except ProviderError as error:
            reason, status = str(error), error.status
        if self._agent is agent:
            self._happened(AgentFailed(reason, status))

    def _close_behind(self, agent: Agent) -> None:
        async def close() -> None:
            with suppress(ProviderError, OSError):
                await agent.close()

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _in_row(self, event: CallEvent) -> CallEvent:
        match event:
            case ReplyAudio(reply, pcm):
                return ReplyAudio(self._ours.get(reply, ReplyId(0)), pcm)
            case ReplyBegan(reply):
                self._ours[reply] = self.own_reply()
                return ReplyBegan(self._ours[reply])
            case ReplyText(reply, text):
                return ReplyText(self._ours.get(reply, ReplyId(0)), text)
            case ReplyEnded(reply):
                return ReplyEnded(self._ours.get(reply, ReplyId(0)))
            case ToolAsked(id):
                return replace(event, id=f"{self._generation}.{id}")
        return event

    # -- what it is told -------------------------------------------------------------------------------------

    def greet(self) -> None:
        if self._agent is not None:
            self._agent.greet()

    def respond(self, text: str) -> None:
        if self._agent is not None:
            self._agent.respond(text)

    def caller_spoke(self) -> None:
        if self._agent is not None:
            self._agent.caller_spoke()

    def caller_paused(self, *, brief: bool = False) -> None:
        if self._agent is not None:
            self._agent.caller_paused(brief=brief)

    def caller_dismissed(self) -> None:
        if self._agent is not None:
            self._agent.caller_dismissed()

    def digit(self, digit: str) -> None:
        if self._agent is not None:
            self._agent.digit(digit)

    def nudge(self, *, last: bool) -> None:
        if self._agent is not None:
            self._agent.nudge(last=last)

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        """Replies of somebody who sat here before are nobody's business any more."""
        theirs = next((theirs for theirs, ours in self._ours.items() if ours == reply), None)
        if self._agent is not None and theirs is not None:
            self._agent.interrupt(theirs, heard_ms)

    def advise(self, text: str) -> str:
        """Whoever sits here, or else comes next, is told; returns as ``Agent.advise`` does."""
        if self._agent is not None:
            return self._agent.advise(text)
        self._untold.append(text)
        return ""

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool) -> None:
        generation, _, theirs = id.partition(".")
        if self._agent is not None and generation == str(self._generation):
            self._agent.answer_tool(theirs, result, last=last)
