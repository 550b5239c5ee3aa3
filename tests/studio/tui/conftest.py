"""The studio on a screen of 80×24, driven by keys."""

from collections.abc import AsyncIterator

import pytest

from tests.studio.tui.fakes.scene import Scene, scene
from tests.studio.tui.fakes.stage import Stage, staged


@pytest.fixture
def office() -> Scene:
    return scene()


@pytest.fixture
async def studio(office: Scene) -> AsyncIterator[Stage]:
    """Open, with the engine's lists and events."""
    async with staged(office) as stage:
        await stage.shows("+493055512345")
        yield stage
