"""One call in virtual time: a session among fakes, and a story told on it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ai_engine.audio.format import SLIN8
from ai_engine.audio.vad import VadSettings, VoiceActivity
from ai_engine.call.actions import EndReason, Prompt
from ai_engine.call.events import CallerHungUp
from ai_engine.errors import ProviderError
from ai_engine.session.call_session import CallSession
from ai_engine.session.media_path import Way
from ai_engine.session.ports import Briefing, Observer, Tool
from ai_engine.session.roster import Candidate
from ai_engine.session.settings import SessionSettings
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools import BUILT_IN
from tests.fakes.call_parts import (
    VOICE,
    FakeControl,
    FakeMedia,
    FakeStore,
    FakeTransport,
    LoudnessScorer,
    ScriptedAgent,
    Witness,
    stream_over,
)
from tests.fakes.virtual_time import run_virtual

PROMPT_MS = 1000


class Call:
    """A session among fakes."""

    def __init__(
        self,
        agent: ScriptedAgent,
        settings: SessionSettings | None = None,
        *,
        connects: bool = True,
        ways: list[Way] | None = None,
        others: Sequence[ScriptedAgent] = (),
        candidates: Sequence[Candidate] | None = None,
        tools: Sequence[Tool] = (),
        max_seconds: float | None = None,
        message: str = "",
        reaches_human: bool = True,
        observers: Sequence[Observer] = (),
    ) -> None:
        """``others`` take over, one after the other, where ``agent`` fails; after the last one nobody does.

        ``candidates`` in place of all of them.
        """
        self.control = FakeControl(reaches_human=reaches_human)
        self.media = FakeMedia()
        self.agent = agent
        self._agents = iter((agent, *others))
        self.witness = Witness()
        self.store = FakeStore()
        self.transport = FakeTransport(self.media if connects else None)
        self.session = CallSession(
            control=self.control,
            ways=stream_over(self.transport) if ways is None else ways,
            format=SLIN8,
            candidates=candidates or [Candidate(agent.provider, self._make)],
            briefing=Briefing("call-1", {"name": "reception"}, "Hello.", ""),
            tools=Toolbox([*BUILT_IN.values(), *tools]),
            observers=[self.witness, *observers],
            prompts=dict.fromkeys(Prompt, VOICE * (PROMPT_MS // 20)),
            ear=VoiceActivity(SLIN8, VadSettings(), LoudnessScorer()),
            settings=settings or SessionSettings(level=None),
            store=self.store,
            clock=asyncio.get_running_loop().time,
            max_seconds=max_seconds,
            message=message,
        )
        self.running = asyncio.create_task(self.session.run())

    def _make(self) -> ScriptedAgent:
        nobody = ScriptedAgent()
        nobody.fails_to_start = ProviderError("nobody is left")
        return next(self._agents, nobody)

    async def quiet(self, ms: int) -> None:
        await self.media.run(ms)

    async def speak(self, ms: int) -> None:
        await self.media.run(ms, VOICE)

    async def reason(self) -> EndReason:
        async with asyncio.timeout(60):
            while not self.running.done():
                await self.quiet(20)
            return await self.running


def place(story: Callable[[Call], Awaitable[None]], agent: ScriptedAgent | None = None, **options: object) -> Call:
    """Run ``story`` on a fresh call, then let the caller hang up if somebody is still there; checks the release."""

    async def run() -> Call:
        call = Call(agent or ScriptedAgent(("Hello.", 400), ("Yes.", 400)), **options)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await story(call)
        if not call.running.done():
            call.control.tell(CallerHungUp())
        await call.reason()
        assert call.media.closed or call.media.line is None
        assert call.agent.closed == bool(call.agent.briefings), "closed once, if it ever sat there"
        assert call.control.done.count("close") == 1
        assert call.witness.ended == [call.running.result()]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return call

    return run_virtual(run())
