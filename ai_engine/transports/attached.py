"""A medium's line: there late, told once that the sound is lost, and never after our own close."""

import asyncio

from ai_engine.session.ports import Line


class Attached:
    """What every ``Media`` has to know of its line and of its own end."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._end: str | None = None
        """Why it ends, once it does; the first reason stands."""
        self._closed_by_us = False
        self._gone = False

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        if self._closed_by_us:
            return
        self._line = line
        if self._gone:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def _let_go(self) -> None:
        """``line`` is not called again, nor any other."""
        self._closed_by_us = True
        self._line = None

    def _tell_lost(self) -> None:
        self._gone = True
        line, self._line = self._line, None
        if line is not None:
            line.media_lost(self._end or "")
