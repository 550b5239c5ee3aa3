"""What Asterisk is told all through a call: that we are alive, and how far the call has come."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from ai_engine.call.lifecycle import Phase
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.ports import CallControl

_AGAIN_SECONDS = 1.0
"""After Asterisk did not answer."""


class Upkeep:
    """Two endless tasks, ``stay_alive`` and ``show``; Asterisk being away for a while ends neither."""

    def __init__(self, control: CallControl, dead_man_seconds: int, facts: Mapping[str, str]) -> None:
        """``facts`` are channel variables that stay as they are."""
        self._control = control
        self._dead_man_seconds = dead_man_seconds
        self._news = dict(facts)
        self._changed = asyncio.Event()

    async def stay_alive(self) -> None:
        """Refresh the dead-man switch: should this stop, Asterisk itself takes the caller to a human."""
        pause = usual = self._dead_man_seconds / 3
        while True:
            await asyncio.sleep(pause)
            pause = min(_AGAIN_SECONDS, usual)
            with suppress(AsteriskError, CallGone):
                await self._control.keep_alive(self._dead_man_seconds)
                pause = usual

    async def show(self) -> None:
        """Set channel variables for whoever looks with ``core show channel``."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            news, self._news = self._news, {}
            try:
                await self._control.set_variables(news)
            except CallGone:
                return
            except AsteriskError:
                self._news = news | self._news
                await asyncio.sleep(_AGAIN_SECONDS)
                self._changed.set()

    def entered(self, phase: Phase) -> None:
        """The call has come to ``phase``."""
        self.tell("OFFHOOK_STATE", str(phase))

    def tell(self, name: str, value: str) -> None:
        """Channel variable ``name`` is ``value`` from now on."""
        self._news[name] = value
        self._changed.set()
