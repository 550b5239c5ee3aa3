"""A connection to Deepgram's voices, kept open between speeches."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.tts.deepgram_flushes import FlushTimes
from ai_engine.remote.socket import RemoteSocket


class Flushed:
    """All sound of the oldest flush has come."""


Arrived = bytes | Flushed | ProviderError


class SpeakConnection:
    """What comes goes to whoever speaks; what is left of a speech that was broken off goes nowhere."""

    def __init__(self, socket: RemoteSocket, log: FilteringBoundLogger) -> None:
        self._socket = socket
        self._log = log
        self._listener: Callable[[Arrived], None] | None = None
        self._uncleared = 0
        """Speeches broken off whose sound may still come."""
        self.flushes = FlushTimes()
        self.broken: ProviderError | None = None
        self._reader = asyncio.create_task(self._read())

    def listen(self, listener: Callable[[Arrived], None]) -> None:
        """``listener`` is told what comes of the words that follow."""
        self._listener = listener

    def flush(self, clauses: Sequence[str], now: float) -> None:
        """Say ``clauses`` as one."""
        self.flushes.add(now)
        for clause in clauses[:-1]:
            self._tell({"type": "Speak", "text": f"{clause} "})
        self._tell({"type": "Speak", "text": clauses[-1]})
        self._tell({"type": "Flush"})

    def clear(self) -> None:
        """Break off what is being said."""
        self._listener = None
        self._uncleared += 1
        self._tell({"type": "Clear"})

    async def close(self) -> None:
        """May be called more than once."""
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._socket.close()

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._socket.send_json(message)

    async def _read(self) -> None:
        try:
            async for message in self._socket.messages():
                self._take(message)
        except ProviderError as error:
            self.broken = error
            if self._listener is not None:
                self._listener(error)

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._deliver(message)
            return
        said = self._socket.parse(message)
        match said.get("type"):
            case "Flushed":
                self._deliver(Flushed())
            case "Cleared":
                self._uncleared = max(0, self._uncleared - 1)
            case "Warning":
                self._log.warning("Deepgram complains", code=said.get("code"), reason=self._told(said))
            case "Error":
                raise ProviderError(f"Deepgram: {self._told(said)} ({said.get('code')})")

    def _told(self, said: Mapping[str, Any]) -> str:
        return self._socket.redacted(str(said.get("description")))

    def _deliver(self, arrived: Arrived) -> None:
        if self._listener is not None and not self._uncleared:
            self._listener(arrived)
