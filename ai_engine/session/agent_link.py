"""The agent's side of a call: started in time, followed to its end, given what its tools found."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from ai_engine.call.events import AgentLost, AgentStarted, CallEvent, ToolAsked
from ai_engine.errors import AsteriskError, CallGone, ProviderError
from ai_engine.session.ports import Agent, Briefing, CallControl, Tool, ToolContext

log = structlog.get_logger(__name__)


class AgentLink:
    """One agent of one call; whatever it does or fails to do becomes an event."""

    def __init__(
        self,
        agent: Agent,
        tools: Mapping[str, Tool],
        control: CallControl,
        happened: Callable[[CallEvent], None],
    ) -> None:
        self._agent = agent
        self._tools = tools
        self._control = control
        self._happened = happened

    async def start(self, briefing: Briefing, seconds: float) -> bool:
        """Open the agent's session within ``seconds``. False, after AgentLost, when it could not be."""
        try:
            async with asyncio.timeout(seconds):
                await self._agent.start(briefing)
        except TimeoutError:
            self._happened(AgentLost(f"{self._agent.provider} was not ready in {seconds} s"))
            return False
        except ProviderError as error:
            self._happened(AgentLost(str(error)))
            return False
        return True

    async def follow(self) -> None:
        """Pass on everything the agent says, AgentStarted first, until it is lost."""
        self._happened(AgentStarted(self._agent.provider))
        try:
            async for event in self._agent.events():
                self._happened(event)
        except ProviderError as error:
            self._happened(AgentLost(str(error)))
        else:
            self._happened(AgentLost(f"{self._agent.provider} ended the session"))

    async def use_tool(self, asked: ToolAsked, call: ToolContext) -> None:
        """Do what the agent asked for, and tell it what came of it."""
        tool = self._tools.get(asked.name)
        if tool is None:
            result: Mapping[str, Any] = {"ok": False, "error": f"there is no tool {asked.name!r}"}
        else:
            result = await tool.run(asked.arguments, call)
        self._agent.answer_tool(asked.id, result)

    async def press(self, digits: str) -> None:
        """Press keys for the agent; what Asterisk refuses is logged."""
        try:
            await self._control.send_digits(digits)
        except CallGone:
            pass
        except AsteriskError as error:
            log.warning("keys could not be pressed", error=str(error))
