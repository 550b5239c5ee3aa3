"""Lets humans listen in on calls: each has their own telephone called, hears both sides, and is not heard."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from ai_engine.ari.listening import AriListener
from ai_engine.ari.stasis import AriApp
from ai_engine.errors import AsteriskError
from ai_engine.switchboard.ports import Refused

log = structlog.get_logger(__name__)

_RING_SECONDS = 30.0
_ANSWER_SECONDS = 3.0
"""A telephone that neither rings nor refuses within this time is called further: some never say that they ring."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who listens in, or whose telephone rings."""

    id: str
    channel_id: str
    """Of the caller."""
    extension: str
    """With its context: ``1000@office``."""


class Listening:
    """Every method is called on the call loop, and holds no call up."""

    def __init__(self, ari: AriApp) -> None:
        self._ari = ari
        self._listeners: dict[str, Listener] = {}
        self._tasks: dict[str, asyncio.Task[str]] = {}

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """By their ids."""
        return MappingProxyType(self._listeners)

    async def listen(self, channel_id: str, extension: str, context: str) -> str:
        """Call ``context,extension`` and let whoever answers hear the call of this caller's channel; its id.

        Returns when the telephone rings, or is answered, or takes its time. Raises Refused when it cannot be called,
        and ``not-capable`` for a call that does not come through ARI.
        """
        listener = self._make(channel_id)
        whom = f"{extension}@{context}"
        self._listeners[listener.id] = Listener(listener.id, channel_id, whom)
        task = asyncio.create_task(self._run(listener, context, extension), name=f"listener {whom}")
        self._tasks[listener.id] = task
        reached = asyncio.create_task(listener.reached.wait())
        try:
            await asyncio.wait({task, reached}, timeout=_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            reached.cancel()
        if task.done() and (why_not := task.result()):
            raise Refused("asterisk", f"nobody listens in: {why_not}")
        return listener.id

    async def stop(self, listener: str) -> None:
        """Hang up on them; returns when nothing of them is left. Raises Refused (``not-found``)."""
        task = self._tasks.get(listener)
        if task is None:
            raise Refused("not-found", f"nobody listens in as {listener}: they may have hung up, or the call is over")
        task.cancel()
        await asyncio.wait({task})

    async def close(self) -> None:
        """Hang up on all of them. To be called while Asterisk can still be asked."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _make(self, channel_id: str) -> AriListener:
        try:
            return self._ari.listener(channel_id)
        except AsteriskError as error:
            if error.status != 404:
                raise Refused("asterisk", str(error)) from error
            raise Refused(
                "not-capable",
                "this call cannot be listened to: it does not come through Asterisk's ARI, or is over",
            ) from error

    async def _run(self, listener: AriListener, context: str, extension: str) -> str:
        """Why they do not listen, or had to stop; empty when one of the two sides has ended."""
        try:
            await listener.run(context, extension, _RING_SECONDS)
        except AsteriskError as error:
            log.warning("nobody listens in", channel=self._listeners[listener.id].channel_id, reason=str(error))
            return str(error)
        except asyncio.CancelledError:
            return "it was stopped"
        else:
            return ""
        finally:
            del self._listeners[listener.id], self._tasks[listener.id]
