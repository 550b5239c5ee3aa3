"""One of Deepgram's connections that hear the caller."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.deepgram import BROKEN, VENDOR, Coding
from ai_engine.providers.pipeline.ports import Heard
from ai_engine.remote.socket import RemoteSocket

Message = dict[str, Any]

_PARCEL_MS = 80
"""Sound sent in one message: what the vendor advises, and a quarter of the work."""


class DeepgramStream:
    """Sound goes in, messages come out, what they mean is told in order."""

    def __init__(
        self,
        socket: RemoteSocket,
        coding: Coding,
        understand: Callable[[Message], Iterable[Heard]],
        *,
        idle: Callable[[], None],
        idle_seconds: float,
    ) -> None:
        """``understand`` may raise ProviderError; ``idle`` is called when nothing was sent for ``idle_seconds``."""
        self._socket = socket
        self._coding = coding
        self._understand = understand
        self._idle = idle
        self._idle_seconds = idle_seconds
        self._parcel = bytearray()
        self._parcel_bytes = coding.format.byte_count(_PARCEL_MS)
        self._sent_bytes = 0
        self._answered_bytes = 0
        self._answered_at = 0.0
        self._heard: asyncio.Queue[Heard | ProviderError] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._watch = self._loop.call_later(idle_seconds, self._look)
        self._reader = asyncio.create_task(self._read())

    @property
    def seconds(self) -> float:
        """Of sound that were sent: where we are in the stream, as the vendor counts."""
        return self._coding.format.ms(self._sent_bytes) / 1000

    @property
    def unanswered_seconds(self) -> float:
        """Of sound that were sent since its last message."""
        return self._coding.format.ms(self._sent_bytes - self._answered_bytes) / 1000

    @property
    def quiet_seconds(self) -> float:
        """Since its last message."""
        return self._loop.time() - self._answered_at

    def hear(self, pcm: bytes) -> None:
        """Sound of any length; it leaves in parcels."""
        self._parcel += pcm
        if len(self._parcel) >= self._parcel_bytes:
            self.flush()

    def flush(self) -> None:
        """Send what waits for its parcel to be full."""
        if not self._parcel:
            return
        self._sent_at = self._loop.time()
        self._sent_bytes += len(self._parcel)
        self._socket.send(self._coding.encode(bytes(self._parcel)))
        self._parcel.clear()

    def drop(self) -> None:
        """Forget what waits for its parcel to be full."""
        self._parcel.clear()

    def tell(self, message: Mapping[str, Any]) -> None:
        """After all sound so far."""
        self.flush()
        self._sent_at = self._loop.time()
        self._socket.send_json(message)

    def say(self, heard: Iterable[Heard]) -> None:
        """What is known without a message."""
        for one in heard:
            self._heard.put_nowait(one)

    def fail(self, error: ProviderError) -> None:
        """The session is of no use any more."""
        self._watch.cancel()
        self._heard.put_nowait(error)

    async def events(self) -> AsyncIterator[Heard]:
        """What is heard. Raises ProviderError at the end."""
        while True:
            heard = await self._heard.get()
            if isinstance(heard, ProviderError):
                raise heard
            yield heard

    async def close(self) -> None:
        """May be called more than once."""
        self._watch.cancel()
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for raw in self._socket.messages():
                self._answered_bytes, self._answered_at = self._sent_bytes, self._loop.time()
                message = self._socket.parse(raw)
                try:
                    self.say(self._understand(message))
                except BROKEN as error:
                    raise ProviderError(f"{VENDOR} sent a broken {message.get('type')!r}: {error!r}") from error
        except ProviderError as error:
            self.fail(ProviderError(self._socket.redacted(str(error)), error.status))

    def _look(self) -> None:
        quiet_seconds = self._loop.time() - self._sent_at
        if quiet_seconds >= self._idle_seconds:
            self._idle()
            quiet_seconds = 0.0
        self._watch = self._loop.call_later(self._idle_seconds - quiet_seconds, self._look)
