"""Which words and which sound of the provider belong to which reply."""

from collections.abc import Iterator
from itertools import count

from ai_engine.call.events import CallEvent, ReplyAudio, ReplyBegan, ReplyEnded, ReplyId, ReplyText


class Replies:
    """One is open at a time: from its first word or sound until the provider says that it is over, or cannot be.

    The provider numbers nothing. What still comes of a reply that was cut is told by its place: before the next
    announcement.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._open: ReplyId | None = None
        self._refused = False
        """Nobody wants the open one any more, but it is still being made."""
        self._deaf = False
        """The provider has broken off: sound without an announcement is late."""

    @property
    def wanted(self) -> bool:
        """A reply is being made, and heard."""
        return self._open is not None and not self._refused

    @property
    def refused(self) -> bool:
        """A reply is being made that nobody hears."""
        return self._open is not None and self._refused

    def announced(self) -> Iterator[CallEvent]:
        """The provider begins to speak, or goes on."""
        self._deaf = False
        if self._open is None:
            self._open, self._refused = ReplyId(next(self._numbers)), False
            yield ReplyBegan(self._open)

    def text(self, words: str) -> Iterator[CallEvent]:
        yield from self.announced()
        if self._open is not None and not self._refused:
            yield ReplyText(self._open, words)

    def sound(self, pcm: bytes) -> Iterator[CallEvent]:
        if self._deaf:
            return
        yield from self.announced()
        if self._open is not None and not self._refused:
            yield ReplyAudio(self._open, pcm)

    def refuse(self, reply: ReplyId) -> None:
        """Nothing more of ``reply`` is wanted."""
        self._refused = self._refused or reply == self._open

    def over(self) -> Iterator[CallEvent]:
        """The open one, if there is one, has ended."""
        reply, self._open, self._refused = self._open, None, False
        if reply is not None:
            yield ReplyEnded(reply)

    def broken_off(self) -> Iterator[CallEvent]:
        """As ``over``; what is still on its way is not to be heard."""
        self._deaf = True
        yield from self.over()

    def nothing(self) -> Iterator[CallEvent]:
        """A reply without a word: where one is waited for, and none is to come."""
        yield from self.announced()
        yield from self.over()
