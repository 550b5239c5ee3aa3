"""What an agent has said and the session has not taken yet."""

import asyncio
from collections.abc import AsyncIterator

from ai_engine.call.events import CallEvent


class Outbox:
    """Events in, in any number; one reader."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[CallEvent | BaseException] = asyncio.Queue()

    def put(self, event: CallEvent) -> None:
        self._events.put_nowait(event)

    def watch(self, task: asyncio.Task[None]) -> None:
        """For ``add_done_callback``: what ended ``task`` ends the events too."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.put_nowait(error)

    async def taken(self) -> None:
        """Wait until the session has drawn its conclusions from everything so far."""
        await self._events.join()

    async def events(self) -> AsyncIterator[CallEvent]:
        """Raises what a watched task did."""
        while True:
            event = await self._events.get()
            try:
                if isinstance(event, BaseException):
                    raise event
                yield event
            finally:
                self._events.task_done()
