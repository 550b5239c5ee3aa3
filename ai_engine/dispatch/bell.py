"""Wakes who waits for news of a call; what the news are stands in the store."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Ear:
    """Of somebody who waits. Look at the store first, then ``wait``, then look again: nothing is missed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Until it has rung since the last ``wait``, or ``seconds`` are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()


class Bell:
    """Made on the loop of those who wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ears: defaultdict[str, set[Ear]] = defaultdict(set)

    def ring(self, call_id: str) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop has ended: the next engine looks by itself
            self._loop.call_soon_threadsafe(self._ring, call_id)

    @contextmanager
    def ear(self, call_id: str) -> Iterator[Ear]:
        """Hears of this call from now on."""
        ear = Ear()
        self._ears[call_id].add(ear)
        try:
            yield ear
        finally:
            self._ears[call_id].discard(ear)
            if not self._ears[call_id]:
                del self._ears[call_id]

    def _ring(self, call_id: str) -> None:
        for ear in self._ears.get(call_id, ()):
            ear.ring()
