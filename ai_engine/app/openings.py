"""Opens a provider's session as a call would, with nobody on the line."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from ai_engine.config import EngineConfig
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Agent, Briefing, ToolSpec

_CLOSE_SECONDS = 3.0


def agent_for(config: EngineConfig, provider: str) -> str:
    """The agent a session is opened for: the default one, or else the first that ``provider`` may run."""
    if provider in config.providers_of(config.default_agent):
        return config.default_agent
    return next((name for name in config.agents if provider in config.providers_of(name)), config.default_agent)


def briefing_for(config: EngineConfig, provider: str, call_id: str, tools: tuple[ToolSpec, ...]) -> Briefing:
    """What ``provider`` is told; ``call_id`` names the session in its logs and ours."""
    agent = agent_for(config, provider)
    return Briefing(
        call_id=call_id,
        agent=config.agent(agent),
        greeting=config.greeting(agent),
        prompt=config.prompt(agent),
        tools=tools,
    )


@asynccontextmanager
async def opened(make: Callable[[], Agent], briefing: Briefing, seconds: float) -> AsyncIterator[Agent]:
    """A session, closed in any case. Raises ProviderError when it is not open within ``seconds``."""
    agent = make()
    try:
        try:
            async with asyncio.timeout(seconds):
                await agent.start(briefing)
        except TimeoutError as error:
            raise ProviderError(f"it was not ready within {seconds:g} s") from error
        yield agent
    finally:
        with suppress(ProviderError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await agent.close()
