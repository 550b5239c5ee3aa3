"""A thread with an event loop of its own, for work that must never share one with the calls."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Office:
    """Opened and closed once; ``submit`` is safe from any thread."""

    def __init__(self, name: str = "office") -> None:
        """``name`` of the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run ``work`` in the office; await the answer with ``asyncio.wrap_future``."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, seconds: float = 5.0) -> None:
        """Cancel what still runs and end the thread. Blocks, up to ``seconds``; may be called more than once."""
        if self._loop.is_closed():
            return
        self.submit(self._clear()).result(seconds)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(seconds)
        self._loop.close()

    async def _clear(self) -> None:
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
