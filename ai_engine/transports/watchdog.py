"""Ends a process whose media clock hangs, because to Asterisk a silent engine is worse than a dead one."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

import structlog

from ai_engine.transports.wheel import TimerWheel

EXIT_CODE = 70
"""``EX_SOFTWARE`` of sysexits.h."""

_LAST_WORDS_SECONDS = 1.0

log = structlog.get_logger()


class Watchdog:
    """A thread that calls ``exit(70)`` when ``wheel`` has seats but has not turned for ``limit_seconds``.

    A channel of Asterisk can wait for our next byte while it holds a lock the whole PBX needs; the kernel closing our
    sockets frees it.
    """

    def __init__(
        self,
        wheel: TimerWheel,
        limit_seconds: float = 2.0,
        exit: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wheel = wheel
        self._limit_seconds = limit_seconds
        self._exit = exit
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns when the thread has ended."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit_seconds / 4):
            silent_seconds = self._clock() - self._wheel.last_tick
            if self._wheel.seats and silent_seconds > self._limit_seconds:
                self._end(silent_seconds)
                return

    def _end(self, silent_seconds: float) -> None:
        # Whoever hangs may hold the lock of the log or have filled its pipe: the exit does not wait for the words.
        words = threading.Thread(target=self._say, args=(silent_seconds,), daemon=True)
        words.start()
        words.join(_LAST_WORDS_SECONDS)
        self._exit(EXIT_CODE)

    def _say(self, silent_seconds: float) -> None:
        log.critical("media clock hangs, ending the process", silent_seconds=silent_seconds, seats=self._wheel.seats)
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
