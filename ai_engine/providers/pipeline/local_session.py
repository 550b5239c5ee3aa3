"""A session with ``local_ai_server`` (docs/local_ai_protocol.md) for one of its parts."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from ai_engine.errors import ProviderError
from ai_engine.remote.socket import RemoteSocket
from ai_engine.session.ports import Briefing, Fitting

log = structlog.get_logger(__name__)

_NAME = "local_ai_server"
_PROTOCOL = 1
_HEADER = 4  # bytes of reply id before the PCM of a binary frame
_BROKEN = (KeyError, TypeError, ValueError, OverflowError)
"""What reading a message that is not as documented can raise."""


@dataclass(frozen=True, slots=True)
class Word:
    """A message in JSON."""

    type: str
    fields: Mapping[str, Any]

    @property
    def reply(self) -> int:
        """The reply it belongs to; 0 where it belongs to none."""
        return int(self.fields.get("reply", 0))


@dataclass(frozen=True, slots=True)
class Sound:
    """PCM of a reply."""

    reply: int
    pcm: bytes


class LocalSession:
    """Read all the time, so that the server is never kept waiting; what nobody wants any more is left out."""

    def __init__(self, url: str, fitting: Fitting) -> None:
        self._url = url
        self._heartbeat_seconds = fitting.heartbeat_seconds
        self._socket: RemoteSocket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[Word | Sound | ProviderError] = asyncio.Queue()
        self._refused: set[int] = set()
        """Replies nobody wants any more."""
        self._refused_turns: set[int] = set()
        """Turns whose answers nobody wants any more."""

    async def start(self, part: str, briefing: Briefing, rate: int | None = None) -> Mapping[str, Any]:
        """Open it for ``part`` (``stt``, ``llm``, ``tts``); what ``ready`` says. Raises ProviderError."""
        self._socket = await RemoteSocket.open(_NAME, self._url, heartbeat_seconds=self._heartbeat_seconds, direct=True)
        self._socket.send_json(
            {
                "type": "start",
                "protocol": _PROTOCOL,
                "call_id": briefing.call_id,
                "agent": {**briefing.agent, "greeting": briefing.greeting, "prompt": briefing.prompt},
                "history": [],
                "parts": [part],
                **({"rate": rate} if rate is not None else {}),
            }
        )
        ready = await self._socket.receive_json()
        if ready.get("type") != "ready":
            raise ProviderError(f"{_NAME} refused the call: {_complaint(ready)}")
        self._reader = asyncio.create_task(self._read(self._socket))
        return ready

    def send(self, type: str, **fields: Any) -> None:
        """Put a message on its way; never waits."""
        if self._socket is not None:
            self._socket.send_json({"type": type, **fields})

    def send_sound(self, pcm: bytes) -> None:
        if self._socket is not None:
            self._socket.send(pcm)

    async def next(self) -> Word | Sound:
        """What the server says, without errors that end nothing. Raises ProviderError once it is lost."""
        item = await self._inbox.get()
        if isinstance(item, ProviderError):
            self._inbox.put_nowait(item)
            raise item
        return item

    def refuse(self, reply: int) -> None:
        """Nobody wants ``reply`` any more, which may not have begun yet."""
        self._refused.add(reply)
        self.send("cancel", reply=reply, heard_ms=0)

    def refuse_answer(self, turn: int) -> None:
        """Nobody wants the answer to ``turn`` any more, of which nothing has come."""
        self._refused_turns.add(turn)
        self.send("turn_drop", turn=turn)

    async def close(self) -> None:
        """May be called more than once."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        if self._socket is not None:
            await self._socket.close()

    async def _read(self, socket: RemoteSocket) -> None:
        try:
            async for message in socket.messages():
                self._take(socket, message)
        except ProviderError as error:
            self._inbox.put_nowait(error)

    def _take(self, socket: RemoteSocket, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if len(message) <= _HEADER or len(message) % 2:
                raise ProviderError(f"{_NAME} sent sound that is no PCM16")
            item: Word | Sound = Sound(int.from_bytes(message[:_HEADER]), message[_HEADER:])
        else:
            said = socket.parse(message)
            item = Word(str(said.get("type")), said)
            if item.type == "error" and said.get("fatal"):
                raise ProviderError(f"{_NAME}: {_complaint(said)}")
        try:
            is_wanted = self._is_wanted(item)
        except _BROKEN as error:
            raise ProviderError(f"{_NAME} sent a broken message: {error!r}") from error
        if is_wanted:
            self._inbox.put_nowait(item)

    def _is_wanted(self, item: Word | Sound) -> bool:
        if isinstance(item, Word):
            if item.type == "error":
                log.warning("local AI server complains", message=item.fields.get("message"))
            if item.type == "reply" and item.fields.get("turn") in self._refused_turns:
                self._refused_turns.discard(item.fields["turn"])
                self._refused.add(item.reply)
            if item.type == "reply" and item.reply in self._refused:
                self.send("cancel", reply=item.reply, heard_ms=0)
            if item.type == "reply_end" and item.reply in self._refused:
                self._refused.discard(item.reply)
                return False
        return item.reply not in self._refused


def _complaint(said: Mapping[str, Any]) -> str:
    return f"{said.get('message', said)} ({said.get('code', said.get('type'))})"
