"""What becomes of a reply as it is made: the session hears of it, the record keeps it."""

import asyncio

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import (
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
)
from ai_engine.providers.pipeline.outbox import Outbox
from ai_engine.providers.pipeline.record import Record


class Telling:
    """Tells the session and the record the same."""

    def __init__(self, record: Record, outbox: Outbox, format: AudioFormat) -> None:
        """``format`` is the speaker's."""
        self._record = record
        self._outbox = outbox
        self._format = format
        self._clock = asyncio.get_running_loop().time
        self._awaited: set[Stage] = set()
        self._sounds_until = 0.0

    @property
    def sounding(self) -> bool:
        """Whether something may still be heard of what was told."""
        return self._clock() < self._sounds_until

    def expect(self, *stages: Stage) -> None:
        """Only these are told, and each of them once."""
        self._awaited = set(stages)

    def tell(self, event: CallEvent) -> None:
        match event:
            case StageReached(stage):
                if stage not in self._awaited:
                    return
                self._awaited.discard(stage)
            case ReplyBegan(reply):
                self._record.reply_began(reply)
            case ReplyText(reply, text):
                self._record.reply_said(reply, text)
            case ReplyAudio(reply, pcm):
                ms = self._format.ms(len(pcm))
                self._record.reply_sounded(reply, ms)
                self._sounds_until = max(self._sounds_until, self._clock()) + ms / 1000
            case ReplyEnded(reply):
                self._record.reply_made(reply)
        self._outbox.put(event)

    def cut(self, reply: ReplyId, heard_ms: float) -> None:
        """The session stopped ``reply``, and everything that was to follow it."""
        self._record.reply_cut(reply, heard_ms)
        self._sounds_until = 0.0
