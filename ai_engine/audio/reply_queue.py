"""Replies in the order they were begun: the half that every ``Voice`` has in common."""

from collections import deque
from math import inf
from typing import Generic, Protocol, TypeVar

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.voice import Unheard

_ENDLESS_MS = 600_000.0
"""No reply waits ten minutes to be heard: whoever sends more must not fill our memory."""


class QueuedSound(Protocol):
    """One reply on its way to be heard."""

    id: int
    started: bool
    """Something of it was heard."""
    finished: bool
    """No more audio of it comes."""

    @property
    def left_ms(self) -> float:
        """Made, and not heard yet."""
        ...

    def push(self, pcm: bytes) -> None: ...

    def finish(self) -> None: ...


Q = TypeVar("Q", bound=QueuedSound)


class ReplyQueue(Generic[Q]):
    """See ``Voice`` for what each of these means."""

    def __init__(self, format: AudioFormat) -> None:
        self.underruns = 0
        self._format = format
        self._replies: deque[Q] = deque()
        self._highest: int | None = None
        self._held = False

    @property
    def speaking(self) -> int | None:
        return self._replies[0].id if self._replies and self._replies[0].started else None

    @property
    def idle(self) -> bool:
        return not self._replies

    @property
    def held(self) -> bool:
        return self._held

    @property
    def left_ms(self) -> float:
        return sum(reply.left_ms for reply in self._replies) if all(reply.finished for reply in self._replies) else inf

    def begin(self, reply: int, source: AudioFormat | None = None) -> bool:
        if self._highest is not None and reply <= self._highest:
            return False
        self._highest = reply
        self._replies.append(self._queued(reply, source or self._format))
        return True

    def adopt(self, unheard: Unheard) -> None:
        reply = self._queued(unheard.reply, unheard.source, unheard.heard_ms)
        self._replies.append(reply)
        self._highest = unheard.reply if self._highest is None else max(self._highest, unheard.reply)
        reply.push(unheard.pcm)
        if unheard.finished:
            reply.finish()

    def push(self, reply: int, pcm: bytes) -> bool:
        waiting = self._open(reply)
        if waiting is None or waiting.left_ms > _ENDLESS_MS:
            return False
        waiting.push(pcm)
        return True

    def finish(self, reply: int) -> None:
        if (waiting := self._open(reply)) is not None:
            waiting.finish()

    def finish_all(self) -> None:
        for waiting in self._replies:
            waiting.finish()

    def is_open(self, reply: int) -> bool:
        return self._open(reply) is not None

    def _queued(self, reply: int, source: AudioFormat, heard_ms: float = 0.0) -> Q:
        """A new one, of which ``heard_ms`` were heard elsewhere."""
        raise NotImplementedError

    def _open(self, reply: int) -> Q | None:
        for waiting in self._replies:
            if waiting.id == reply:
                return None if waiting.finished else waiting
        return None
