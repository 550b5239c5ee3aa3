"""What the store and Asterisk are asked for the sentences of one call, each request in its time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import AsteriskError, CallGone, MediaError
from ai_engine.session.file_reply import Sentence, Stage
from ai_engine.session.ports import Player, SoundStore

log = structlog.get_logger(__name__)

_REFUSALS = 10
"""Asterisk refuses to pause what its channel has not begun yet, which takes it a moment."""

_YIELD_FRAMES = 50
"""Conversion costs about 10 us per frame: so often others get their turn."""


class FilePlaybacks:
    """Moves sentences from ``CUT`` to ``PLAYING``, and tells ``changed`` whenever one got further.

    A sentence that was dropped meanwhile is stopped and removed as soon as the request under way is answered.
    """

    def __init__(
        self,
        name: str,
        format: AudioFormat,
        store: SoundStore,
        player: Player,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        changed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._name = name
        self._format = format
        self._store = store
        self._player = player
        self._spawn = spawn
        self._changed = changed
        self._failed = failed
        self._numbered = 0
        self._writing = False
        self._closed = False

    def write(self, sentence: Sentence) -> None:
        """Make it a file, unless another one is just being made: they come one after the other."""
        if not self._writing:
            self._writing = True
            sentence.stage = Stage.WRITING
            self._do(self._write(sentence))

    def play(self, sentence: Sentence) -> None:
        sentence.stage = Stage.ASKED
        self._do(self._play(sentence))

    def pause(self, sentence: Sentence, *, paused: bool) -> None:
        """Make it so unless it is; nothing is asked before ``play`` was answered, and one thing at a time."""
        if sentence.stage is Stage.PLAYING and sentence.paused is not paused and not sentence.steering:
            sentence.steering = True
            self._do(self._pause(sentence, paused=paused))

    def stop(self, sentences: Sequence[Sentence]) -> None:
        """Silence them all. The last one goes first: when a playback ends, Asterisk begins the next at once."""
        for sentence in sentences:
            sentence.dropped = True
            self.remove(sentence)
        names = tuple(sentence.name for sentence in reversed(sentences) if sentence.stage is Stage.PLAYING)
        if names:
            self._do(self._silence(names))

    def remove(self, sentence: Sentence) -> None:
        """Its file; Asterisk goes on with one that it has begun."""
        if sentence.uri:
            self._store.remove(sentence.uri)

    def close(self) -> None:
        """Ask Asterisk for nothing more."""
        self._closed = True

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
        else:
            self._spawn(work)

    async def _write(self, sentence: Sentence) -> None:
        self._numbered += 1
        sentence.name = f"{self._name}-{self._numbered}"
        try:
            await self._lay_down(sentence)
        except MediaError as error:
            if not sentence.dropped:
                self._failed(str(error))
        self._writing = False
        self._changed()

    async def _lay_down(self, sentence: Sentence) -> None:
        for _ in sentence.convert(_YIELD_FRAMES):
            await asyncio.sleep(0)
            if sentence.dropped:
                return
        sentence.uri = await self._store.put(sentence.name, sentence.sound, self._format)
        sentence.stage = Stage.WRITTEN
        if sentence.dropped:
            self.remove(sentence)

    async def _play(self, sentence: Sentence) -> None:
        try:
            await self._player.play(sentence.name, sentence.uri)
        except CallGone:
            return
        except AsteriskError as error:
            if not sentence.dropped:
                self._failed(str(error))
            return
        if sentence.stage is Stage.ASKED:  # the news of its end may overtake the answer
            sentence.stage = Stage.PLAYING
        if sentence.dropped:
            await self._silence((sentence.name,))
        else:
            self._changed()

    async def _pause(self, sentence: Sentence, *, paused: bool) -> None:
        ask = self._player.pause_playback if paused else self._player.resume_playback
        try:
            await ask(sentence.name)
        except (CallGone, AsteriskError) as error:
            self._refused(sentence, error)
            return
        sentence.paused = paused
        sentence.steering = False
        self._changed()

    def _refused(self, sentence: Sentence, error: Exception) -> None:
        """It is asked again at the next tick, but not for ever: a call that is gone will end, a deaf Asterisk fails."""
        sentence.refusals += 1
        sentence.steering = sentence.refusals == _REFUSALS
        if sentence.steering and isinstance(error, AsteriskError) and not sentence.dropped:
            self._failed(str(error))

    async def _silence(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                await self._player.stop_playback(name)
            except CallGone:
                continue
            except AsteriskError as error:
                log.warning("a file could not be stopped", playback=name, reason=str(error))
