"""What is to be sent over a media socket, from whatever thread: in order, and no more than a peer who reads needs."""

import asyncio
from collections import deque

_MOST_WAITING = 256
"""Messages; of 20 ms each they are five seconds, and whoever is so far behind does not read."""

SLOW = "does not read"


class Outbox:
    """One writer takes from it, on the loop it was made on; ``send`` and ``close`` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._ready = asyncio.Event()
        self._woken = False
        self._code: int | None = None
        self.overflowed = False
        """The peer does not read: what waits is of no use any more."""

    def send(self, message: str) -> None:
        """Never blocks; nothing is sent after ``close``."""
        if self._code is not None or self.overflowed:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.overflowed = True
        else:
            self._waiting.append(message)
        self._wake()

    def close(self, code: int) -> None:
        """Close with ``code`` when all before has been sent; the first one stands."""
        if self._code is None:
            self._code = code
            self._wake()

    @property
    def close_code(self) -> int | None:
        """Of a close that was asked for."""
        return self._code

    async def next(self) -> str | None:
        """The next message; None: close now. One task at a time."""
        while not self._waiting or self.overflowed:
            if self._code is not None or self.overflowed:
                return None
            self._ready.clear()
            self._woken = False
            if not self._waiting and self._code is None:
                await self._ready.wait()
        return self._waiting.popleft()

    def _wake(self) -> None:
        # A wake-up costs a system call: one will do for all that comes before the writer looks.
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:
            self._woken = False  # the loop is closed, and the socket with it
