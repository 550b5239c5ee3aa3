"""A caller who tries an agent out: there is a line with sound, and a clock on what comes back."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ai_engine.app.check_reply import Reply
from ai_engine.audio.format import FRAME_MS
from ai_engine.call.events import CallEvent, ToolAsked, UsageReported
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Agent

_ONSET_FRAMES = 3
"""Of voice until the engine's ear would say that the caller speaks."""

_TRANSCRIPT_SECONDS = 2.0
"""It may come after the reply to what it says."""

_BILL_SECONDS = 0.3
"""What a reply cost may be told after its end."""

_NOT_NOW = {"ok": False, "error": "this is a test call: tools are not used in it"}


class CheckCaller:
    """Talks to an agent whose session is open. ``units`` are what the provider counted, so far."""

    def __init__(self, agent: Agent, seconds: float) -> None:
        """``seconds`` without any sound of a reply that is due, and it is given up."""
        self._agent = agent
        self._seconds = seconds
        self._voice: deque[bytes] = deque()
        self._silent = asyncio.Event()
        self._events: asyncio.Queue[tuple[float, CallEvent | ProviderError]] = asyncio.Queue()
        self.units: dict[str, float] = {}

    @asynccontextmanager
    async def on_the_line(self) -> AsyncIterator[None]:
        """While the block runs the agent hears silence, or the caller, and is listened to."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def greeted(self) -> Reply:
        """The greeting. Raises ProviderError, as the other two."""
        return await self._reply(self._agent.greet)

    async def type(self, text: str) -> Reply:
        """The reply to a typed turn."""
        return await self._reply(lambda: self._agent.respond(text))

    async def say(self, frames: Sequence[bytes]) -> Reply:
        """The reply to a spoken turn, in 20 ms frames of the agent's input format, from its first voice to its last.

        It is asked for where the last one ends: how long the engine's ear waits there is not counted.
        """
        await self._play(frames[:_ONSET_FRAMES])
        self._agent.caller_spoke()
        await self._play(frames[_ONSET_FRAMES:])
        return await self._reply(self._agent.caller_paused, self._agent.patience_seconds, spoken=True)

    # ---------------------------------------------------------------------------------------------------------

    async def _reply(self, ask: Callable[[], None], patience_seconds: float = 0.0, *, spoken: bool = False) -> Reply:
        reply = Reply(time.monotonic(), self._agent.output_format)
        ask()
        seconds = self._seconds + patience_seconds
        while True:
            if reply.over:
                wait = _BILL_SECONDS if reply.heard or not spoken else _TRANSCRIPT_SECONDS
            else:
                wait = reply.asked + reply.last_audio_ms / 1000 + seconds - time.monotonic()
            try:
                async with asyncio.timeout(wait):
                    at, event = await self._next()
            except TimeoutError:
                break
            reply.happened(event, at)
            if isinstance(event, ToolAsked):
                self._agent.answer_tool(event.id, _NOT_NOW)
        if reply.first_audio_ms is None:
            raise ProviderError(f"it said nothing for {seconds:g} s")
        if not reply.over and reply.open:
            raise ProviderError(f"it broke off in its reply, and said nothing more for {seconds:g} s")
        return reply

    async def _next(self) -> tuple[float, CallEvent]:
        at, event = await self._events.get()
        if isinstance(event, ProviderError):
            raise event
        if isinstance(event, UsageReported):
            for unit, count in event.units.items():
                self.units[unit] = self.units.get(unit, 0) + count
        return at, event

    async def _listen(self) -> None:
        lost = ProviderError("it ended the session")
        try:
            async for event in self._agent.events():
                self._events.put_nowait((time.monotonic(), event))
        except ProviderError as error:
            lost = error
        self._events.put_nowait((time.monotonic(), lost))

    async def _play(self, frames: Sequence[bytes]) -> None:
        """Until the last one was heard."""
        self._voice.extend(frames)
        self._silent.clear()
        await self._silent.wait()

    async def _speak(self) -> None:
        silence = self._agent.input_format.silence()
        due = time.monotonic()
        while True:
            self._agent.hear(self._voice.popleft() if self._voice else silence)
            if not self._voice:
                self._silent.set()
            due += FRAME_MS / 1000
            await asyncio.sleep(due - time.monotonic())
