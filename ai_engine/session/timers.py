"""Events that will happen unless something else happens first: at most one of each kind."""

import asyncio
from collections.abc import Callable

from ai_engine.call.events import CallEvent


class Timers:
    """Tells ``happened`` when time is up."""

    def __init__(self, happened: Callable[[CallEvent], None]) -> None:
        self._happened = happened
        self._handles: dict[type[CallEvent], asyncio.TimerHandle] = {}

    def start(self, seconds: float, event: CallEvent) -> None:
        """``event`` happens in ``seconds``, in place of one of its kind that was to come."""
        self.cancel(type(event))
        self._handles[type(event)] = asyncio.get_running_loop().call_later(seconds, self._happened, event)

    def cancel(self, *kinds: type[CallEvent]) -> None:
        """What was to come of these kinds will not."""
        for kind in kinds:
            if (handle := self._handles.pop(kind, None)) is not None:
                handle.cancel()

    def cancel_all(self) -> None:
        self.cancel(*self._handles)
