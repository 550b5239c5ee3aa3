"""The studio on a screen of 80×24, driven by keys."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.studio.tui.fakes.scene import Scene, scene
from tests.studio.tui.fakes.stage import Stage, staged

OpenStudio = Callable[..., Awaitable[Stage]]


@pytest.fixture
def office() -> Scene:
    return scene()


@pytest.fixture
async def studio(office: Scene) -> AsyncIterator[Stage]:
    """Open, with the engine's lists and events."""
    async with staged(office) as stage:
        await stage.shows("+493055512345")
        yield stage


@pytest.fixture
async def open_studio(office: Scene) -> AsyncIterator[OpenStudio]:
    async with AsyncExitStack() as stack:

        async def opened(width: int = 80, height: int = 24) -> Stage:
            return await stack.enter_async_context(staged(office, width, height))

        yield opened
