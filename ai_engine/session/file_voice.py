"""The agent's voice as files that Asterisk plays on the caller's own channel, sentence by sentence."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import islice
from typing import Any

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.reply_queue import ReplyQueue
from ai_engine.audio.voice import Cut, Unheard
from ai_engine.session.file_playbacks import FilePlaybacks
from ai_engine.session.file_reply import FileReply, Sentence, Stage
from ai_engine.session.ports import Player, SoundStore

log = structlog.get_logger(__name__)

_AHEAD = 2
"""So many sentences are files at a time: the one being heard and the one that follows it."""

_ASK_AHEAD_MS = 1000
"""What is asked early Asterisk plays without a gap. But whatever else its channel is asked, the refresh of the dead-man
switch too, waits until all playbacks asked before are over: so the next one is asked no earlier than is safe."""

_OVERDUE_TICKS = 100
"""So long after its length a sentence counts as ended, though Asterisk does not say so."""

_RECALL_TICKS = 100
"""Whatever Asterisk is asked of a channel waits for a paused file too: after 2 s the file is taken back, and what is
left of it is played as another when the hold ends."""

_FAILED_TICKS = 5
"""A hang-up makes the playback fail as well, and is known soon after it."""


class FileVoice(ReplyQueue[FileReply]):
    """Implements ``Voice``. What is heard is counted tick by tick from Asterisk's answer to ``play`` on."""

    def __init__(
        self,
        name: str,
        format: AudioFormat,
        store: SoundStore,
        player: Player,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_started: Callable[[int], None],
        on_drained: Callable[[int], None],
        on_failed: Callable[[str], None],
    ) -> None:
        """``name`` is the call's, for files and playbacks; ``format`` that of the files.

        ``on_started`` and ``on_drained`` are called inside ``pull``, ``on_failed`` at any time and once: nothing is
        played any more then, until ``surrender`` or ``stop``. What is given to ``spawn`` raises nothing.
        """
        super().__init__(format)
        self.overdue = 0
        """Sentences whose end Asterisk did not report."""
        self._on_started = on_started
        self._on_drained = on_drained
        self._on_failed = on_failed
        self._playbacks = FilePlaybacks(name, format, store, player, spawn, self._advance, self._fail)
        self._held_ticks = 0
        self._failed = False
        self._closed = False

    # -- replies in ----------------------------------------------------------------------------------------

    def push(self, reply: int, pcm: bytes) -> bool:
        taken = super().push(reply, pcm)
        self._advance()
        return taken

    def end_sentence(self, reply: int) -> None:
        if (waiting := self._open(reply)) is not None:
            waiting.end_sentence()
            self._advance()

    def finish(self, reply: int) -> None:
        super().finish(reply)
        self._advance()

    def finish_all(self) -> None:
        super().finish_all()
        self._advance()

    def adopt(self, unheard: Unheard) -> None:
        super().adopt(unheard)
        self._advance()

    def _queued(self, reply: int, source: AudioFormat, heard_ms: float = 0.0) -> FileReply:
        return FileReply(reply, source, self._format, heard_ms)

    # -- what is heard -------------------------------------------------------------------------------------

    def pull(self) -> bytes | None:
        if self._held:
            self._held_ticks += 1
            if self._held_ticks == _RECALL_TICKS:
                self._recall()
        frame = self._heard_now()
        self._advance()
        return frame

    def upcoming(self, frames: int) -> Sequence[bytes]:
        """Nothing: Asterisk has the files, and nobody sends frames."""
        return ()

    def playback_ended(self, playback_id: str, failed: bool = False) -> None:
        """Asterisk reports the end of a playback; it means nothing when that was stopped, or is none of ours."""
        asked = [sentence for sentence in islice(self._coming(), _AHEAD) if sentence.asked]
        names = [sentence.name for sentence in asked]
        if playback_id not in names:
            return
        # A channel plays one after the other: what was asked before it has ended as well.
        for sentence in asked[: names.index(playback_id)]:
            self._end(sentence)
        ended = asked[names.index(playback_id)]
        if failed:
            ended.stage = Stage.FAILED
        else:
            self._end(ended)
        self._advance()

    def _heard_now(self) -> bytes | None:
        while self._replies and not self._failed:
            reply = self._replies[0]
            if reply.sentences and reply.sentences[0].stage is not Stage.ENDED:
                return self._frame_of(reply, reply.sentences[0])
            if reply.sentences:
                reply.put_behind()
            elif self._held or not reply.finished:
                return None
            elif not reply.started:
                self._start(reply)
            else:
                self._replies.popleft()
                self._on_drained(reply.id)
        return None

    def _frame_of(self, reply: FileReply, sentence: Sentence) -> bytes | None:
        if sentence.stage is Stage.FAILED:
            sentence.waited += 1
            if sentence.waited == _FAILED_TICKS:
                self._fail("Asterisk could not play a file of ours; does it see the media directory?")
        if not self._sounds(sentence):
            return None
        if not reply.started:
            self._start(reply)
            if not self._sounds(sentence):  # whoever heard of the start did not want it
                return None
        frame = sentence.take()
        if frame is None:
            self._wait_for_end(sentence)
        return frame

    def _sounds(self, sentence: Sentence) -> bool:
        return sentence.stage is Stage.PLAYING and not (self._held or sentence.paused or sentence.dropped)

    def _start(self, reply: FileReply) -> None:
        reply.started = True
        self._on_started(reply.id)

    def _wait_for_end(self, sentence: Sentence) -> None:
        sentence.waited += 1
        if sentence.waited > _OVERDUE_TICKS:
            self.overdue += 1
            log.warning("Asterisk does not report the end of a file", playback=sentence.name)
            self._playbacks.stop((sentence,))
            self._end(sentence)

    def _end(self, sentence: Sentence) -> None:
        sentence.was_heard()
        self._playbacks.remove(sentence)

    # -- hold, resume, stop --------------------------------------------------------------------------------

    def hold(self) -> None:
        self._held, self._held_ticks = True, 0
        self._advance()

    def resume(self) -> None:
        self._held = False
        self._advance()

    def stop(self) -> tuple[Cut, ...]:
        cuts = tuple(Cut(reply.id, reply.heard_ms) for reply in self._replies)
        self._drop()
        return cuts

    def surrender(self) -> tuple[Unheard, ...]:
        unheard = tuple(reply.unheard() for reply in self._replies)
        self._drop()
        return unheard

    def close(self) -> None:
        """The call is over: files go, Asterisk is asked for nothing more; ``stop`` still tells what was heard."""
        self._closed = True
        self._playbacks.close()
        self._playbacks.stop(self._sentences())

    def _recall(self) -> None:
        unheard = self.surrender()
        self._held = True
        for rest in unheard:
            self.adopt(rest)

    def _drop(self) -> None:
        sentences = self._sentences()
        self._replies.clear()
        self._held = self._failed = False
        self._playbacks.stop(sentences)

    def _sentences(self) -> list[Sentence]:
        return [sentence for reply in self._replies for sentence in reply.sentences]

    def _coming(self) -> Iterator[Sentence]:
        """The sentences to be heard next, in order; a reply that is still being made lets none behind it pass."""
        for reply in self._replies:
            for sentence in reply.sentences:
                if sentence.stage is not Stage.ENDED:
                    yield sentence
            if not reply.finished:
                return

    def _advance(self) -> None:
        """Have the next sentences written, played in time, and paused while we are held."""
        if self._failed or self._closed:
            return
        before: Sentence | None = None
        for sentence in islice(self._coming(), _AHEAD):
            if sentence.stage is Stage.CUT:
                self._playbacks.write(sentence)
            elif sentence.stage is Stage.WRITTEN and not self._held and _soon_over(before):
                self._playbacks.play(sentence)
            elif before is None:
                self._playbacks.pause(sentence, paused=self._held)
            before = sentence

    def _fail(self, reason: str) -> None:
        if not (self._failed or self._closed):
            self._failed = True
            self._on_failed(reason)


def _soon_over(sentence: Sentence | None) -> bool:
    return sentence is None or (sentence.stage is Stage.PLAYING and sentence.left_ms <= _ASK_AHEAD_MS)
