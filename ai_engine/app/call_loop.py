"""The way from the office to the loop of the calls, on which everything of a call lives."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ai_engine.switchboard.ports import Refused

T = TypeVar("T")

_PATIENCE_SECONDS = 15.0


class CallLoop:
    """Used on any other loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float = _PATIENCE_SECONDS) -> None:
        """What has no answer after ``seconds`` is given up."""
        self._loop = loop
        self._seconds = seconds

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer of ``question``, which answers at once. Raises Refused where that loop does not turn."""

        async def answer() -> T:
            return question()

        return await self.do(answer())

    async def do(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """What comes of ``work``, which may take ``seconds``. Raises Refused when that is too little."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as stopped:
            work.close()
            raise Refused("refused", "the engine is being stopped") from stopped
        try:
            async with asyncio.timeout(seconds or self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as late:
            raise Refused("asterisk", "there is no answer in time; the engine's log may say why") from late
