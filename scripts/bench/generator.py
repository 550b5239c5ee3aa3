"""The process that calls: any number of AudioSocket callers, each with a frame every 20 ms. Started by ``launch``.

It reads commands from standard input, a JSON object per line, and answers each with one:

    {"calls": 50}       have so many calls up              -> {"calls": 50, "broken": 0}
    {"measure": 10}     count for so many seconds          -> a ``figures.Window``
    {"stops": true}     how fast the agents fell silent    -> {"stops": {uuid: [[onset, last_frame, silent], …]}}

It ends with its standard input. Time is the monotonic clock's, which all processes share.
"""

import argparse
import ctypes
import gc
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from ai_engine.protocol.audiosocket import Kind, encode_hangup
from scripts.bench import voices
from scripts.bench.callers import Caller, Part, interrupt, talk
from scripts.bench.figures import HELD_UP_MS, Window

_TICK_SECONDS = 0.001
_SLOTS = 20
_GOLDEN = 0.6180339887
_REALTIME_PRIORITY = 1
_SEED = 20


class Line:
    """A caller and its socket."""

    __slots__ = ("caller", "fd", "slot", "socket", "uuid")

    def __init__(self, caller: Caller, address: tuple[str, int], slot: int) -> None:
        self.caller = caller
        self.slot = slot
        self.uuid: UUID = uuid4()
        self.socket = socket.create_connection(address, timeout=1.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.socket.send(struct.pack("!BH", Kind.UUID, 16) + self.uuid.bytes)
        self.fd = self.socket.fileno()


class Crowd:
    """All the lines of this process, a twentieth of them served in each millisecond."""

    def __init__(self, address: tuple[str, int], parts: Callable[[int], Part], per_second: float) -> None:
        self.window = Window()
        self._address = address
        self._parts = parts
        self._every_ticks = max(1, round(1 / per_second / _TICK_SECONDS))
        self._lines: dict[int, Line] = {}
        self._slots: list[list[Line]] = [[] for _ in range(_SLOTS)]
        self._made = 0
        self._wanted = 0
        self._measure_until = 0.0
        self._began = 0.0
        self._epoll = select.epoll()
        self._dice = random.Random(_SEED)
        self._tick = 0
        self._origin = 0.0
        """When tick 0 was due."""
        self._due = 0.0
        """When the last tick that was served was due."""

    def run(self) -> None:
        """Serve until standard input ends."""
        self._origin, timer = _start_timer()
        self._due = self._origin
        commands = sys.stdin.fileno()
        self._epoll.register(timer, select.EPOLLIN)
        self._epoll.register(commands, select.EPOLLIN)
        while True:
            for fd, _ in self._epoll.poll():
                if fd == timer:
                    os.read(timer, 8)
                    self._turn()
                elif fd == commands:
                    if not (said := sys.stdin.readline()):
                        return
                    self._obey(json.loads(said))
                elif (line := self._lines.get(fd)) is not None:
                    self._receive(line)

    def _obey(self, command: dict[str, Any]) -> None:
        if "calls" in command:
            self._wanted = int(command["calls"])
            if not self._wanted_differs():
                self._tell_calls()
        elif "measure" in command:
            self._began = time.monotonic()
            self._measure_until = self._began + float(command["measure"])
            self._count_into(Window(calls=len(self._lines), blind_until=self.window.blind_until))
        elif "stops" in command:
            stops = {str(line.uuid): line.caller.stops for line in self._lines.values()}
            _answer({"stops": stops})

    def _turn(self) -> None:
        """Everything that is due: a late timer does not lose ticks."""
        now = time.monotonic()
        self._look_back(now)
        present = int((now - self._origin) / _TICK_SECONDS)
        while self._tick < present:
            self._tick += 1
            self._due += _TICK_SECONDS
            self.window.lateness.add((now - self._due) * 1000)
            for line in tuple(self._slots[self._tick % _SLOTS]):
                self._send(line)
            if self._tick % self._every_ticks == 0:
                self._come_and_go()
        if self._measure_until and time.monotonic() >= self._measure_until:
            self._conclude()

    def _look_back(self, now: float) -> None:
        """What waits to be read when we were held up came at nobody knows what time."""
        if now - self._due > _TICK_SECONDS + HELD_UP_MS / 1000:
            self.window.blind_until = now

    def _send(self, line: Line) -> None:
        now = time.monotonic()
        try:
            line.socket.send(line.caller.next_message(now))
        except OSError:
            self._lose(line)

    def _receive(self, line: Line) -> None:
        try:
            data = line.socket.recv(65536)
        except OSError:
            data = b""
        if data:
            now = time.monotonic()
            self._look_back(now)
            line.caller.receive(data, now)
        else:
            self._lose(line)

    def _come_and_go(self) -> None:
        """One call more or less at a time."""
        if not self._wanted_differs():
            return
        if len(self._lines) < self._wanted:
            self._call()
        else:
            self._hang_up(next(reversed(self._lines.values())))
        if not self._wanted_differs():
            self._tell_calls()

    def _tell_calls(self) -> None:
        self._wanted = -1
        _answer({"calls": len(self._lines), "broken": self.window.broken})

    def _wanted_differs(self) -> bool:
        return self._wanted >= 0 and len(self._lines) != self._wanted

    def _call(self) -> None:
        # Any of the emptiest: the engine, too, seats its calls in turn, and each would meet the same delay there.
        slot = min(range(_SLOTS), key=lambda number: (len(self._slots[number]), self._dice.random()))
        line = Line(Caller(self._parts(self._made), self.window), self._address, slot)
        self._made += 1
        self._lines[line.fd] = line
        self._slots[slot].append(line)
        self._epoll.register(line.fd, select.EPOLLIN)

    def _hang_up(self, line: Line) -> None:
        with suppress(OSError):
            line.socket.send(encode_hangup())
        self._drop(line)

    def _lose(self, line: Line) -> None:
        self.window.broken += 1
        self._drop(line)

    def _drop(self, line: Line) -> None:
        if self._lines.pop(line.fd, None) is not None:
            self._slots[line.slot].remove(line)
            self._epoll.unregister(line.fd)
            line.socket.close()

    def _count_into(self, window: Window) -> None:
        self.window = window
        for line in self._lines.values():
            line.caller.window = window

    def _conclude(self) -> None:
        self._measure_until = 0.0
        self.window.seconds = time.monotonic() - self._began
        _answer(self.window.plain())
        self._count_into(Window(blind_until=self.window.blind_until))


def scenario(name: str, answer_seconds: float) -> Callable[[int], Part]:
    """What caller number so-and-so does: ``talk`` or ``interrupt``."""
    speech, quiet = voices.speech(), voices.hiss()
    make, frames = {"talk": talk, "interrupt": interrupt}[name], round(answer_seconds * 50)
    return lambda number: make(speech[number % len(speech)], quiet, frames, number * _GOLDEN % 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends."""
    options = _parser().parse_args(arguments)
    os.sched_setaffinity(0, {options.core})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REALTIME_PRIORITY))
    crowd = Crowd(("127.0.0.1", options.port), scenario(options.scenario, options.answer_seconds), options.per_second)
    gc.disable()
    crowd.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.generator", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the engine's AudioSocket port")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--scenario", choices=("talk", "interrupt"), default="talk")
    parser.add_argument("--answer-seconds", type=float, default=3.0)
    parser.add_argument("--per-second", type=float, default=25.0, help="calls begun or ended per second")
    return parser


def _start_timer() -> tuple[float, int]:
    """A file descriptor that can be read once per tick: epoll's own timeout counts whole milliseconds and rounds up."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    origin_ns = (time.monotonic_ns() // 1_000_000 + 1) * 1_000_000
    tick_ns = round(_TICK_SECONDS * 1e9)
    first = origin_ns + tick_ns
    spec = (ctypes.c_long * 4)(0, tick_ns, first // 1_000_000_000, first % 1_000_000_000)
    if fd < 0 or libc.timerfd_settime(fd, _ABSOLUTE, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), "no timer")
    return origin_ns / 1e9, fd


_ABSOLUTE = 1


def _answer(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    sys.exit(main())
