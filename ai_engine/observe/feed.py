"""Values from any thread to readers on an event loop: whoever tells them never waits for whoever reads them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_WAITING = 1000


class Feed(Generic[T]):
    """Readers come and go on one event loop; values may come from any thread."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        """``most_waiting`` for a slow reader: it misses the oldest then."""
        self._most_waiting = most_waiting
        self._readers: tuple[Reader[T], ...] = ()  # replaced as a whole: another thread may be walking along it
        self._closed = False

    @property
    def watched(self) -> bool:
        """Whether anybody reads; from any thread."""
        return bool(self._readers)

    def tell(self, value: T) -> None:
        """At once, from any thread."""
        for reader in self._readers:
            reader.tell(value)

    def read(self) -> "Reader[T]":
        """What is told from now on; it must be closed."""
        reader: Reader[T] = Reader(self._most_waiting, self._leave)
        if self._closed:
            reader.end()
        else:
            self._readers = (*self._readers, reader)
        return reader

    def close(self) -> None:
        """Let all readers end, and those to come. On their loop."""
        self._closed = True
        for reader in self._readers:
            reader.end()

    def _leave(self, reader: "Reader[T]") -> None:
        self._readers = tuple(other for other in self._readers if other is not reader)


class Reader(Generic[T]):
    """An ``AsyncIterator`` for one task; ends when the feed is closed, or it is."""

    def __init__(self, most_waiting: int, leave: "Callable[[Reader[T]], None]") -> None:
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[T] = deque(maxlen=most_waiting)
        self._awake = asyncio.Event()
        self._is_woken = False
        self._ended = False

    def __aiter__(self) -> "Reader[T]":
        return self

    async def __anext__(self) -> T:
        while True:
            # What is told from here on is found below, or wakes us again.
            self._awake.clear()
            self._is_woken = False
            if self._ended:
                raise StopAsyncIteration
            if self._waiting:
                return self._waiting.popleft()
            await self._awake.wait()

    def tell(self, value: T) -> None:
        """From any thread."""
        self._waiting.append(value)
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):  # the loop has been closed in the meantime
                self._loop.call_soon_threadsafe(self._awake.set)

    def end(self) -> None:
        """Tell no more, not even what waits."""
        self._ended = True
        self._awake.set()

    async def aclose(self) -> None:
        """May be called more than once."""
        self.end()
        self._leave(self)
