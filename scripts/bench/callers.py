"""A caller as AudioSocket shows one: what it says next, and what it makes of what it hears. No socket, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ai_engine.audio.format import FRAME_MS, SLIN8
from ai_engine.protocol.audiosocket import WholeFrames
from scripts.bench import marks
from scripts.bench.figures import Window

_CODEC = WholeFrames(SLIN8)
SILENCE = _CODEC.silence
MESSAGE_BYTES = len(SILENCE)
_HEADER_BYTES = MESSAGE_BYTES - SLIN8.frame_bytes
_HEADER = SILENCE[:_HEADER_BYTES]

_NUMBERS = 16384

_AUDIBLE = 100
"""Of 32768: -50 dBFS."""
_GREETING_FRAMES = 60
"""The greeting and a little: nobody speaks into it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a caller sends over and over, one AudioSocket message per 20 ms."""

    messages: Sequence[bytes]
    ask_at: int
    """The place of the question; it is written anew each time."""
    answer_frames: int
    """How long an answer is asked for."""
    onset_at: int | None = None
    """Where the caller begins to speak into the answer; None for one who waits for its end."""
    start_at: int = 0
    """Where a call begins."""

    @property
    def seconds(self) -> float:
        return len(self.messages) * FRAME_MS / 1000


class Stop(NamedTuple):
    """The caller spoke into the agent's words. All in monotonic seconds."""

    onset: float
    """The first voiced frame was sent."""
    last_frame: float
    """The last frame of the agent came that was not all silence."""
    silent: float
    """Where in that frame the sound ended, taken to be played as it came."""


class Caller:
    """One call. ``next_message`` is called every 20 ms, ``receive`` with whatever came."""

    __slots__ = (
        "_asked_at", "_count", "_expected", "_heard_at", "_number", "_onset", "_part", "_place", "_rest", "_sound",
        "_sound_at", "stops", "window",
    )  # fmt: skip

    def __init__(self, part: Part, window: Window) -> None:
        self.window = window
        """Where it all is counted."""
        self.stops: list[Stop] = []
        self._part = part
        self._place = part.start_at
        self._number = 0
        """Of the last question; the greeting answers question 0."""
        self._expected = 0
        """The next piece of its answer."""
        self._count = -1
        """Frames sent since the last question; less than 0 before the first, when the agent may not hear yet."""
        self._asked_at = 0.0
        self._onset: float | None = None
        self._heard_at = 0.0
        self._sound = SILENCE
        """The last message that was not silence, and when it came."""
        self._sound_at = 0.0
        self._rest = b""

    def next_message(self, now: float) -> bytes:
        """What is sent at ``now`` (monotonic seconds)."""
        part, place = self._part, self._place
        self._place = place + 1 if place + 1 < len(part.messages) else 0
        if self._count >= 0:
            self._count += 1
        if place == part.ask_at:
            return self._ask(now)
        if place == part.onset_at:
            self._onset = now
        return part.messages[place]

    def receive(self, data: bytes, now: float) -> None:
        """Bytes that came at ``now``. Raises ValueError when they are no AudioSocket frames of 20 ms."""
        if len(data) == MESSAGE_BYTES and not self._rest:
            self._hear(data, now)
            return
        data = self._rest + data
        whole = len(data) - len(data) % MESSAGE_BYTES
        for start in range(0, whole, MESSAGE_BYTES):
            self._hear(data[start : start + MESSAGE_BYTES], now)
        self._rest = data[whole:]

    def _ask(self, now: float) -> bytes:
        part = self._part
        if self._number:
            self._close_answer()
        self._number = self._number % (_NUMBERS - 1) + 1
        self._expected = 0
        self._asked_at = now
        heard, self._count = max(self._count, 0), 0
        return _CODEC.encode(
            marks.ask(marks.Ask(self._number, part.answer_frames, heard), part.messages[part.ask_at][_HEADER_BYTES:])
        )

    def _close_answer(self) -> None:
        """Before the next question: what is missing now will not come."""
        window, missing = self.window, self._part.answer_frames - self._expected
        if self._onset is not None:
            self.stops.append(Stop(self._onset, self._sound_at, self._sound_at + _sounding_seconds(self._sound)))
            self._onset = None
        elif not self._expected:
            window.unanswered += 1
        else:
            window.lost += missing

    def _hear(self, message: bytes, now: float) -> None:
        if not message.startswith(_HEADER):
            raise ValueError(f"not a frame of 20 ms: {message[:_HEADER_BYTES].hex()}")
        window = self.window
        window.frames += 1
        if self._heard_at > window.blind_until:
            window.gaps.add((now - self._heard_at) * 1000)
        elif self._heard_at:
            window.unmeasured += 1
        self._heard_at = now
        if message == SILENCE:
            return
        self._sound, self._sound_at = message, now
        mark = marks.piece(message, _HEADER_BYTES)
        if mark is not None and mark.number:
            self._note(mark, now)

    def _note(self, mark: marks.Piece, now: float) -> None:
        window = self.window
        if mark.number != self._number or mark.place < self._expected:
            window.doubled += 1
            return
        window.pieces += 1
        if not self._expected:
            window.unheard += mark.missed
            if self._asked_at > window.blind_until:
                window.answers.add((now - self._asked_at) * 1000)
        window.lost += mark.place - self._expected
        self._expected = mark.place + 1


def talk(speech: Sequence[bytes], quiet: Sequence[bytes], answer_frames: int, start: float) -> Part:
    """Says ``speech``, asks 200 ms later, and listens until the answer is over and half a second longer.

    ``speech`` and ``quiet`` are frames of 20 ms, ``quiet`` taken round and round; the call begins where ``start``
    (0 to 1) of the listening is over, so that calls that begin together do not speak together.
    """
    pause, after = 10, answer_frames + 25
    frames = [*speech, *_take(quiet, pause + 1 + after)]
    ask_at = len(speech) + pause
    start_at = ask_at + 1 + int(start * (after - _GREETING_FRAMES))
    return Part([_CODEC.encode(frame) for frame in frames], ask_at, answer_frames, start_at=start_at)


def interrupt(speech: Sequence[bytes], quiet: Sequence[bytes], answer_frames: int, start: float) -> Part:
    """Asks, lets the agent talk for a while that depends on ``start``, and says ``speech`` into its words; again after
    a second."""
    before = 50 + int(start * 50)
    frames = [*_take(quiet, 1 + before), *speech, *_take(quiet, 50)]
    return Part(
        [_CODEC.encode(frame) for frame in frames],
        0,
        answer_frames,
        onset_at=1 + before,
        start_at=1 + before + len(speech),
    )


def _take(frames: Sequence[bytes], count: int) -> list[bytes]:
    return [frames[index % len(frames)] for index in range(count)]


def _sounding_seconds(message: bytes) -> float:
    """From the beginning of a frame to its last sample that can be heard."""
    pcm = np.frombuffer(message[_HEADER_BYTES:], "<i2").astype(np.int32)
    heard = np.flatnonzero(np.abs(pcm) > _AUDIBLE)
    return float(heard[-1] + 1) / SLIN8.rate if heard.size else 0.0
