"""Waiting for what another task or process will do."""

import asyncio
from collections.abc import Callable


async def eventually(is_true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; TimeoutError where it never does."""
    async with asyncio.timeout(seconds):
        while not is_true():  # noqa: ASYNC110 - what is watched offers no event
            await asyncio.sleep(0.01)
