"""What is to be sent over a media socket, from whatever thread: in order, and no more than a peer who reads needs."""

import asyncio
from collections import deque
from collections.abc import Callable

_MOST_WAITING = 256
"""Messages; of 20 ms each they are five seconds, and whoever is so far behind does not read."""

LINGER_SECONDS = 2.0
"""How long what was sent before a close, and the goodbye, may take."""

SLOW = "does not read"


class Outbox:
    """One writer takes from it, on the loop it was made on; ``send`` and ``close`` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._ready = asyncio.Event()
        self._woken = False
        self._code: int | None = None
        self._full = False
        self.overflowed = asyncio.Event()
        """The peer does not read: what waits is of no use any more. Whoever writes may be held up in a write by that,
        and does not come back for more."""

    def send(self, message: str) -> None:
        """Never blocks; nothing is sent after ``close``."""
        if self._code is not None or self._full:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._full = True
            self._tell(self.overflowed.set)
        else:
            self._waiting.append(message)
            self._wake()

    def close(self, code: int) -> None:
        """Close with ``code`` when all before has been sent, or so late that it never will be; the first one stands."""
        if self._code is None:
            self._code = code
            self._wake()
            self._tell(lambda: self._loop.call_later(LINGER_SECONDS, self.overflowed.set))

    @property
    def close_code(self) -> int | None:
        """Of a close that was asked for."""
        return self._code

    async def next(self) -> str | None:
        """The next message; None: close now. One task at a time."""
        while not self._waiting:
            if self._code is not None:
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
        if not self._tell(self._ready.set):
            self._woken = False

    def _tell(self, work: Callable[[], object]) -> bool:
        """Have it done on the loop; False when that is closed, and the socket with it."""
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            return False
        return True
