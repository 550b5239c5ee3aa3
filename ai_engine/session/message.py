"""What is left on an answering machine: made in the agent's voice before it is said."""

import asyncio
from collections.abc import Awaitable, Callable

from ai_engine.call.events import CallEvent, MessageFailed, MessageReady
from ai_engine.errors import ProviderError

_MAKING_SECONDS = 10.0


class Message:
    """Made once."""

    def __init__(
        self, text: str, speak: Callable[[str], Awaitable[bytes]], happened: Callable[[CallEvent], None]
    ) -> None:
        """``speak`` makes PCM in the line's format of a text."""
        self.text = text
        self.pcm = b""
        """Known when ``MessageReady`` has happened."""
        self._speak = speak
        self._happened = happened

    async def make(self) -> None:
        """``MessageReady`` or ``MessageFailed`` happens."""
        try:
            async with asyncio.timeout(_MAKING_SECONDS):
                self.pcm = await self._speak(self.text)
        except (ProviderError, TimeoutError) as error:
            self._happened(MessageFailed(str(error) or f"no voice within {_MAKING_SECONDS:g} s"))
        else:
            self._happened(MessageReady(self.text))
