"""The place where replies are made, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable

from ai_engine.providers.pipeline.outbox import Outbox
from ai_engine.providers.pipeline.reply import Reply


class Bench:
    """Holds the reply that is being made, and lets no other begin before its requests have ended."""

    def __init__(self, outbox: Outbox) -> None:
        """What goes wrong here ends the events of ``outbox``."""
        self._outbox = outbox
        self.reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._unfinished: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Lock()

    @property
    def began(self) -> bool:
        """Whether the session knows of the reply that is made."""
        return self.reply is not None and self.reply.began

    @property
    def guesses(self) -> bool:
        """Whether it is an answer to what the caller may not have said."""
        return self.reply is not None and self.reply.guess is not None

    def make(self, reply: Reply, make: Callable[[], Awaitable[None]]) -> None:
        """Begin with ``reply`` once the bench is cleared of what was dropped."""

        async def alone() -> None:
            async with self._alone:
                await make()

        self.reply = reply
        self._task = task = asyncio.create_task(alone())
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        task.add_done_callback(self._outbox.watch)

    def done(self) -> None:
        """The reply was made."""
        self.reply = None

    def drop(self) -> Reply | None:
        """Stop making the reply, whose requests end at once, and give nothing more of it."""
        reply, self.reply = self.reply, None
        if reply is not None and self._task is not None:
            reply.drop()
            self._task.cancel()
        return reply

    async def close(self) -> None:
        """Return when every request has ended."""
        for task in self._unfinished:
            task.cancel()
        if self._unfinished:
            await asyncio.wait(self._unfinished)
