"""What was asked to play on one caller's channel and is not over yet."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.presence import Presence
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.call.events import PlaybackEnded
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.protocol.ari import PlaybackFinished, PlaybackStarted

log = structlog.get_logger(__name__)

_BEGIN_SECONDS = 0.25
"""A playback with nothing before it begins within this time."""


class Playbacks:
    """The playbacks of one caller; those asked for while another plays follow it."""

    def __init__(self, ari: Ari, subscriptions: Subscriptions, caller: Presence) -> None:
        self._ari = ari
        self._subscriptions = subscriptions
        self._caller = caller
        self._begun: dict[str, asyncio.Event] = {}

    def __bool__(self) -> bool:
        """Whether anything plays, pauses or waits: Asterisk then keeps most other requests for the channel waiting."""
        return bool(self._begun)

    async def play(self, playback_id: str, uri: str) -> None:
        # Its events may come before the answer.
        self._begun[playback_id] = asyncio.Event()
        self._subscriptions.add_playback(playback_id, self._caller.channel_id)
        try:
            async with self._caller.required():
                await self._ari.play(self._caller.channel_id, playback_id, uri)
        except CallGone:
            self._forget(playback_id)
            raise
        except AsteriskError as error:
            if error.status:  # without an answer it may play all the same, and must be stopped some time
                self._forget(playback_id)
            raise

    async def pause(self, playback_id: str) -> None:
        """Asterisk refuses to pause what has not begun, so a beginning is awaited; what is over stays so."""
        if (begun := self._begun.get(playback_id)) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEGIN_SECONDS):
                    await begun.wait()
            await self._control(playback_id, "pause")

    async def resume(self, playback_id: str) -> None:
        if playback_id in self._begun:
            await self._control(playback_id, "unpause")

    async def stop(self, playback_id: str) -> None:
        async with self._caller.required(frozenset()):
            with _over_is_fine():
                await self._ari.stop_playback(playback_id)

    async def stop_all(self) -> None:
        """Stop what plays and cancel what waits; what will not stop is logged. Of these ends nobody is told."""
        for playback_id in reversed(tuple(self._begun)):
            self._forget(playback_id)
            try:
                with _over_is_fine():
                    await self._ari.stop_playback(playback_id)
            except AsteriskError as error:
                log.warning("a playback could not be stopped", playback=playback_id, reason=str(error))

    def begun(self, event: PlaybackStarted) -> None:
        if (begun := self._begun.get(event.playback_id)) is not None:
            begun.set()

    def finished(self, event: PlaybackFinished) -> PlaybackEnded | None:
        """The news for the call, unless the playback is none of ours or its end is known."""
        if event.playback_id not in self._begun:
            return None
        self._forget(event.playback_id)
        return PlaybackEnded(event.playback_id, event.failed)

    def forget_all(self) -> None:
        """The caller left, and with them whatever played."""
        for playback_id in tuple(self._begun):
            self._forget(playback_id)

    async def _control(self, playback_id: str, operation: str) -> None:
        async with self._caller.required(frozenset()):
            with _over_is_fine():
                await self._ari.control_playback(playback_id, operation)

    def _forget(self, playback_id: str) -> None:
        if (begun := self._begun.pop(playback_id, None)) is not None:
            begun.set()
        self._subscriptions.drop_playback(playback_id)


@contextmanager
def _over_is_fine() -> Iterator[None]:
    try:
        yield
    except AsteriskError as error:
        if error.status != 404:
            raise
