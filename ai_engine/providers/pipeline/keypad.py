"""Keys the caller presses, gathered to one entry."""

import asyncio
from collections.abc import Callable

_PAUSE_SECONDS = 1.5
"""So long after a key another one belongs to the same entry."""


class Keypad:
    def __init__(self, entered: Callable[[str], None]) -> None:
        """``entered`` is told the keys of each entry."""
        self._entered = entered
        self._keys = ""
        self._timer: asyncio.TimerHandle | None = None

    def press(self, key: str) -> None:
        self.close()
        self._keys += key
        self._timer = asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._end)

    def close(self) -> None:
        """The entry does not end any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        keys, self._keys = self._keys, ""
        self._entered(keys)
