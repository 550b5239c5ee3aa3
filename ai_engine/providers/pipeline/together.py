"""Things the parts of a pipeline do at the same time."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from ai_engine.errors import ProviderError


async def together(*doings: Coroutine[Any, Any, None]) -> None:
    """All of them at once; the first ProviderError cancels the others and is raised."""
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as group:
            for doing in doings:
                group.create_task(doing)
    except* ProviderError as failed:
        failures.extend(failed.exceptions)
    if failures:
        raise failures[0]


@contextmanager
def blaming(who: str) -> Iterator[None]:
    """A ProviderError raised within names ``who`` first."""
    try:
        yield
    except ProviderError as error:
        raise ProviderError(f"{who}: {error}", error.status) from error
