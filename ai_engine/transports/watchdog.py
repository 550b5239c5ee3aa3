"""Ends a process whose media clock hangs, because to Asterisk a silent engine is worse than a dead one."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable

import structlog

from ai_engine.transports.wheel import TimerWheel

EXIT_CODE = 70
"""``EX_SOFTWARE`` of sysexits.h."""

_CHECKS = 4
"""Looks at the wheel within the limit. Looks are counted, not seconds, so this thread takes no pause of the process for
a hang; but faulthandler has only the clock, and ends one that was frozen for about 4 s with status 1."""

_LAST_WORDS_SECONDS = 1.0

_LOCK_SECONDS = 2.0
"""On top of the limit, for a hang that holds the interpreter's lock and so keeps even this thread from looking."""

log = structlog.get_logger()


class Watchdog:
    """A thread that calls ``exit(70)`` when ``wheel`` has seats but has not turned for ``limit_seconds``.

    A channel of Asterisk can wait for our next byte while it holds a lock the whole PBX needs; the kernel closing our
    sockets frees it. Where not even this thread can run, faulthandler ends the process with status 1; so it does when a
    process with seats goes on after it was frozen (a debugger, a container on pause) for more than about 4 s.
    """

    def __init__(self, wheel: TimerWheel, limit_seconds: float = 2.0, exit: Callable[[int], object] = os._exit) -> None:
        self._wheel = wheel
        self._limit_seconds = limit_seconds
        self._exit = exit
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns when the thread has ended."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        seen, unchanged = self._wheel.last_tick, 0
        while unchanged < _CHECKS and not self._stopped.wait(self._limit_seconds / _CHECKS):
            self._watch_the_lock()
            tick = self._wheel.last_tick
            unchanged = unchanged + 1 if self._wheel.seats and tick == seen else 0
            seen = tick
        faulthandler.cancel_dump_traceback_later()
        if not self._stopped.is_set():
            self._end()

    def _watch_the_lock(self) -> None:
        if self._wheel.seats:
            faulthandler.dump_traceback_later(self._limit_seconds + _LOCK_SECONDS, exit=True, file=_stderr())
        else:
            faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        # Whoever hangs may hold the lock of the log or have filled its pipe: the exit does not wait for the words.
        words = threading.Thread(target=self._say, daemon=True)
        words.start()
        words.join(_LAST_WORDS_SECONDS)
        self._exit(EXIT_CODE)

    def _say(self) -> None:
        log.critical(
            "media clock hangs, ending the process", limit_seconds=self._limit_seconds, seats=self._wheel.seats
        )
        faulthandler.dump_traceback(file=_stderr(), all_threads=True)


def _stderr() -> int:
    return sys.__stderr__.fileno() if sys.__stderr__ else 2
