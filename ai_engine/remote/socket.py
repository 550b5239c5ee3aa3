"""A WebSocket to a provider: opened in time, written to without waiting, read until it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Self

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ai_engine.errors import ProviderError
from ai_engine.remote.vendor import complaint

log = structlog.get_logger(__name__)

_MOST_WAITING = 10_000
"""Messages that may wait for a slow server; beyond that it counts as lost. Whoever takes over hears the caller's turn
at once, which may be two minutes of 20 ms frames."""

_MOST_BYTES = 16 * 1024 * 1024
"""Of one message: half a minute of base64 sound and more."""

_CLOSE_SECONDS = 1.0


class RemoteSocket:
    """One connection. Whatever goes wrong with it is a ProviderError that names the provider, and never a key."""

    def __init__(
        self, provider: str, socket: ClientConnection, most_waiting: int, patience_seconds: float, key: str = ""
    ) -> None:
        """``patience_seconds`` is for the server to take a message; ``key`` is what no error tells."""
        self._provider = provider
        self._patience_seconds = patience_seconds
        self._key = key
        self._socket = socket
        self._outbox: asyncio.Queue[str | bytes] = asyncio.Queue(most_waiting)
        self._overflowed = False
        self._sender = asyncio.create_task(self._send_all())

    @classmethod
    async def open(
        cls,
        provider: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        heartbeat_seconds: float = 10.0,
        most_waiting: int = _MOST_WAITING,
        direct: bool = False,
    ) -> Self:
        """Connect; whoever calls says how long it may take, by cancelling. Raises ProviderError.

        ``direct``: past any proxy of the environment, to a machine of one's own.
        """
        try:
            socket = await connect(
                url,
                additional_headers=dict(headers or {}),
                open_timeout=None,
                ping_interval=heartbeat_seconds,
                ping_timeout=heartbeat_seconds,
                close_timeout=_CLOSE_SECONDS,
                max_size=_MOST_BYTES,
                proxy=None if direct else True,
                compression=None,  # sound does not shrink, and the delay is the caller's
            )
        except InvalidStatus as error:
            raise ProviderError(
                f"{provider} refused the connection: {error.response.status_code}{complaint(error.response.body)}",
                status=error.response.status_code,
            ) from None
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed, EOFError) as error:
            raise ProviderError(f"{provider} cannot be reached: {error or type(error).__name__}") from None
        key = (headers or {}).get("Authorization", "").rpartition(" ")[2]
        return cls(provider, socket, most_waiting, heartbeat_seconds, key)

    def send(self, message: str | bytes) -> None:
        """Put a message on its way; never waits. When too many wait, ``messages`` ends with a ProviderError."""
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self._give_up()

    def send_json(self, message: Mapping[str, Any]) -> None:
        """As ``send``, of a JSON object."""
        self.send(json.dumps(message))

    async def receive(self) -> str | bytes:
        """The next message. Raises ProviderError at the end."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            if self._overflowed:
                raise ProviderError(f"{self._provider} does not take the caller's voice any more") from None
            raise ProviderError(f"{self._provider} closed the connection: {self.redacted(_why(error))}") from None
        return message

    async def receive_json(self) -> dict[str, Any]:
        """The next message, which must be a JSON object. Raises ProviderError."""
        return self.parse(await self.receive())

    def parse(self, message: str | bytes) -> dict[str, Any]:
        """A JSON object out of a message. Raises ProviderError."""
        try:
            said = json.loads(message)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ProviderError(f"{self._provider} sent something that is no JSON object")
        return said

    def redacted(self, text: str) -> str:
        """What the server says, which may quote our key, without it."""
        return text.replace(self._key, "…") if self._key else text

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Every message until the connection ends, which raises ProviderError.

        A whole reply may wait in the socket: between two pieces of it other calls have their turn.
        """
        while True:
            yield await self.receive()
            await asyncio.sleep(0)

    async def close(self) -> None:
        """May be called more than once. What still waits to be sent is dropped."""
        self._sender.cancel()
        await asyncio.wait({self._sender})
        try:
            async with asyncio.timeout(2 * _CLOSE_SECONDS):
                await self._socket.close()
        except TimeoutError:  # our goodbye waits behind what the server does not take
            self._socket.transport.abort()

    async def _send_all(self) -> None:
        with suppress(ConnectionClosed):  # receive() reports it
            while True:
                message = await self._outbox.get()
                try:
                    async with asyncio.timeout(self._patience_seconds):
                        await self._socket.send(message)
                except TimeoutError:  # the heartbeat cannot tell, since its pings wait behind this
                    self._give_up()
                    return

    def _give_up(self) -> None:
        self._overflowed = True
        self._socket.transport.abort()


def _why(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "it broke off"
    return f"{error.rcvd.code} {error.rcvd.reason}".strip()
