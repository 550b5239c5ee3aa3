"""The line of one call and the way its sound travels, joined, and joined anew when the way fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import (
    CallerHungUp,
    CallEvent,
    MediaAttached,
    MediaExhausted,
    MediaLost,
    PlaybackEnded,
    PlayoutFailed,
)
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.file_voice import FileVoice
from ai_engine.session.media_path import Downstream, MediaPath, NoWay
from ai_engine.session.ports import CallControl, Media, SoundStore
from ai_engine.session.voice_line import VoiceLine

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None]
"""Start work that ends with the call; None when the call is over."""


class Attachment:
    """Gives the line its media and the voice that fits; tells ``happened`` what came of it."""

    def __init__(
        self,
        call_id: str,
        line: VoiceLine,
        path: MediaPath,
        control: CallControl,
        format: AudioFormat,
        store: SoundStore | None,
        spawn: Spawn,
        happened: Callable[[CallEvent], None],
    ) -> None:
        """``store`` is needed where a way of ``path`` plays files."""
        self._call_id = call_id
        self._line = line
        self._path = path
        self._control = control
        self._format = format
        self._store = store
        self._spawn = spawn
        self._happened = happened
        self._files: FileVoice | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._voice_failed = False

    async def open(self) -> None:
        """Attach over the first way that works; ends in MediaAttached, or in what ends the call."""
        async with self._telling():
            self._attach(await self._path.open())

    @property
    def reopening(self) -> bool:
        """Whether the way in use failed and another is being sought."""
        return self._reopening is not None and not self._reopening.done()

    def reopen(self, failure: MediaLost | PlayoutFailed) -> None:
        """The way in use failed; a voice that fails while another way is sought will have one of its own sought."""
        if self.reopening:
            self._voice_failed |= isinstance(failure, PlayoutFailed)
        else:
            self._reopening = self._spawn(self._reopen(failure.reason, isinstance(failure, PlayoutFailed)))

    def playback_ended(self, event: PlaybackEnded) -> None:
        if self._files is not None:
            self._files.playback_ended(event.playback_id, event.failed)

    def close(self) -> None:
        """End the connection, and forget what was laid down for Asterisk to play."""
        self._path.close()
        if self._files is not None:
            self._files.close()

    async def _reopen(self, reason: str, voice_failed: bool) -> None:
        async with self._telling():
            media = await self._path.reopen(reason, voice_failed=voice_failed)
            while self._voice_failed:
                self._voice_failed = False
                media = await self._path.reopen("files failed meanwhile", voice_failed=True)
            self._attach(media)

    @asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        try:
            yield
        except CallGone:
            self._happened(CallerHungUp())
        except (AsteriskError, NoWay) as error:
            self._happened(MediaExhausted(str(error)))

    def _attach(self, media: Media) -> None:
        way = self._path.way
        assert way is not None
        self._give_voice(way.downstream)
        self._line.carried_by(media)
        log.info(
            "bound to channel",
            call_id=self._call_id,
            channel=self._control.channel_id,
            uuid=str(self._path.leg_uuid),
            way=str(way),
            rate=self._format.rate,
        )
        self._happened(MediaAttached(str(way)))

    def _give_voice(self, downstream: Downstream) -> None:
        if (downstream is Downstream.FILE) == (self._files is not None):
            return
        before, self._files = self._files, None
        if before is not None:
            self._line.stream()
            before.close()
            return
        assert self._store is not None, "a way plays files and there is nowhere to put them"
        self._files = FileVoice(
            self._call_id,
            self._format,
            self._store,
            self._control,
            self._spawn,
            self._line.started,
            self._line.drained,
            lambda reason: self._happened(PlayoutFailed(reason)),
        )
        self._line.speak_with(self._files)
