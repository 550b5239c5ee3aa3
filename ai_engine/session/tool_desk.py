"""The tools that are being used in a call."""

import asyncio

from ai_engine.call.events import ToolAnswered, ToolAsked
from ai_engine.session.attachment import Spawn
from ai_engine.session.ports import ToolContext
from ai_engine.session.toolbox import Toolbox


class ToolDesk:
    """Each tool that is asked for is used once, and ``ToolAnswered`` happens to the call."""

    def __init__(self, toolbox: Toolbox, call: ToolContext, spawn: Spawn) -> None:
        self._toolbox = toolbox
        self._call = call
        self._spawn = spawn
        self._asked: dict[str, ToolAsked] = {}
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def busy(self) -> bool:
        return bool(self._asked)

    def use(self, asked: ToolAsked) -> None:
        """Begin; returns at once. What is being used already is not used again."""
        if asked.id in self._asked:
            return
        self._asked[asked.id] = asked
        self._settled.clear()
        self._spawn(self._run(asked))

    def answered(self, answer: ToolAnswered) -> ToolAsked:
        """What had been asked for."""
        asked = self._asked.pop(answer.id)
        if not self._asked:
            self._settled.set()
        return asked

    async def settled(self) -> None:
        """Wait until none is being used."""
        await self._settled.wait()

    async def _run(self, asked: ToolAsked) -> None:
        result, ms = await self._toolbox.use(asked.name, asked.arguments, self._call)
        self._call.happened(ToolAnswered(asked.id, asked.name, result, ms))
