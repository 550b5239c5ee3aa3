"""Whether a caller is still ours, and what a refused request says about that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ai_engine.errors import AsteriskError, CallGone

GONE = frozenset({404, 409, 422})
"""How Asterisk says that a channel does not exist, or is not in our application."""

_NEWS_SECONDS = 0.25
"""The event that a caller left follows a refusal caused by it within this time."""


class Presence:
    """One caller's stay in our application."""

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self._left = asyncio.Event()

    @property
    def left(self) -> bool:
        return self._left.is_set()

    def end(self) -> None:
        """The caller is no longer ours."""
        self._left.set()

    @asynccontextmanager
    async def required(self, refusals: frozenset[int] = GONE) -> AsyncIterator[None]:
        """Turn what is merely the consequence of a caller's leaving into CallGone.

        ``refusals`` are the HTTP statuses which say that the caller's own channel is not there.
        """
        if self.left:
            raise CallGone(f"channel {self.channel_id} left")
        try:
            yield
        except AsteriskError as error:
            if error.status in refusals or await self._is_leaving(error):
                raise CallGone(f"channel {self.channel_id} left") from error
            raise

    async def _is_leaving(self, error: AsteriskError) -> bool:
        """Asterisk refuses with a plain 400 what it cannot do to a channel on its way out; the news of that follows."""
        if 400 <= error.status < 500:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEWS_SECONDS):
                    await self._left.wait()
        return self.left
