"""The process that talks with one agent: a question whenever it is quiet, and the time of every voice.

Started by ``providers``. It places its calls one after the other over AudioSocket, prints each as a line of JSON
(``provider_rows.Heard``), and ends. Time is the monotonic clock's, which all processes share.
"""

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ai_engine.audio.format import FRAME_MS, SLIN8
from ai_engine.protocol.audiosocket import WholeFrames, encode_hangup
from scripts.bench import voices
from scripts.bench.callers import Caller, Part
from scripts.bench.figures import HELD_UP_MS, Window
from scripts.bench.generator import Line
from scripts.trial.measure import VOICE_DBFS, level_dbfs

QUIET_SECONDS = 0.3
"""So long after its last voice the agent has finished; words have pauses of 40 ms."""

LAST_QUIET_SECONDS = 1.0
"""The same after the last question, since whoever takes over needs a moment."""

NO_ANSWER_SECONDS = 8.0
"""A question is given up after this."""

_LOUD_DBFS = -26.0
_MOST_FRAMES = 60
_BETWEEN_CALLS_SECONDS = 0.5
_FRAME_SECONDS = FRAME_MS / 1000
_GOLDEN = 0.6180339887
_PRIORITY = 2
"""Above that of the fakes, which share our core."""

_CODEC = WholeFrames(SLIN8)
_HEADER_BYTES = len(_CODEC.silence) - SLIN8.frame_bytes


class Talker(Caller):
    """Asks when the agent has finished, and knows when a voice was heard. No socket, no clock.

    It waits a little before each question: the engine sends a frame every 20 ms, and where within these an answer is
    ready must not always be the same.
    """

    __slots__ = ("_last_heard", "_left", "_line", "_quiet", "_sent", "_since", "asked", "due_seconds", "voiced")

    def __init__(self, lines: Sequence[Sequence[bytes]], quiet: Sequence[bytes]) -> None:
        """Frames of 20 ms; a line begins and ends with one that is voice, and what follows it is ``quiet``."""
        self._quiet = [_CODEC.encode(frame) for frame in quiet]
        super().__init__(Part(self._quiet, -1, 0), Window())
        self._left = [[_CODEC.encode(frame) for frame in line] for line in reversed(lines)]
        self._line: list[bytes] = []
        """What is left to be said of a line, its first frame last."""
        self._sent = 0
        self.due_seconds = _FRAME_SECONDS
        """From the last message to the next."""
        self._since: float | None = None
        """When we began to wait for the agent."""
        self._last_heard = 0.0
        self.asked: list[float] = []
        """When the last frame of each line was sent."""
        self.voiced: list[float] = []
        """When each frame came in which the agent is heard."""

    def next_message(self, now: float) -> bytes:
        self._sent += 1
        self.due_seconds = _FRAME_SECONDS
        if self._since is None:
            self._since = now
        if not self._line and self._left and self._finished(now, QUIET_SECONDS):
            self._line = self._left.pop()[::-1]
            self.due_seconds += _FRAME_SECONDS * _GOLDEN
        if not self._line:
            return self._quiet[self._sent % len(self._quiet)]
        message = self._line.pop()
        if not self._line:
            self.asked.append(now)
            self._since = now
        return message

    def over(self, now: float) -> bool:
        """Everything was asked, and answered."""
        return not self._left and not self._line and self._finished(now, LAST_QUIET_SECONDS)

    def _finished(self, now: float, quiet_seconds: float) -> bool:
        since = now if self._since is None else self._since
        if self._last_heard > since:
            return now - self._last_heard >= quiet_seconds
        return now - since >= NO_ANSWER_SECONDS

    def _hear(self, message: bytes, now: float) -> None:
        super()._hear(message, now)
        if level_dbfs(np.frombuffer(message[_HEADER_BYTES:], "<i2")) >= VOICE_DBFS:
            self.voiced.append(now)
            self._last_heard = now


def sentence(frames: Sequence[bytes]) -> list[bytes]:
    """As much of a spoken sentence as ends, after at most 1.2 s, in the middle of a vowel: no ear may doubt its end."""
    loud = [
        place
        for place, frame in enumerate(frames[:_MOST_FRAMES])
        if level_dbfs(np.frombuffer(frame, "<i2")) >= _LOUD_DBFS
    ]
    return list(frames[: loud[-1] + 1])


def hold(line: Line, talker: Talker) -> list[float]:
    """Talk to the end; returns when we were held up ourselves. Raises ConnectionError when the engine hangs up."""
    held_up: list[float] = []
    due = time.monotonic()
    while True:
        wait = due - time.monotonic()
        if wait > 0:
            if select.select([line.socket], [], [], wait)[0]:
                data = line.socket.recv(65536)
                if not data:
                    raise ConnectionError("the engine ended the call")
                talker.receive(data, time.monotonic())
            continue
        now = time.monotonic()
        if talker.over(now):
            return held_up
        if (now - due) * 1000 > HELD_UP_MS:
            held_up.append(now)
        line.socket.send(talker.next_message(now))
        due += talker.due_seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Place the calls."""
    options = _parser().parse_args(arguments)
    os.sched_setaffinity(0, {options.core})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    sentences, quiet = [sentence(frames) for frames in voices.speech()], voices.hiss()
    for _ in range(options.calls):
        talker = Talker([sentences[number % len(sentences)] for number in range(options.turns)], quiet)
        line = Line(talker, ("127.0.0.1", options.port), 0)
        broken = ""
        try:
            held_up = hold(line, talker)
            line.socket.send(encode_hangup())
        except OSError as error:
            held_up, broken = [], str(error)
        line.socket.close()
        told = {"call": str(line.uuid), "asked": talker.asked, "voiced": talker.voiced}
        print(json.dumps({**told, "held_up": held_up, "broken": broken}), flush=True)
        time.sleep(_BETWEEN_CALLS_SECONDS)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.provider_caller", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the engine's AudioSocket port")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--turns", type=int, required=True, help="questions in each call")
    return parser


if __name__ == "__main__":
    sys.exit(main())
