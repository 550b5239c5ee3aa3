"""One client's WebSocket, spoken in messages."""

import asyncio

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from local_ai_server import protocol
from local_ai_server.errors import ProtocolError, SlowClient


class Connection:
    """Sends and receives what docs/local_ai_protocol.md allows; ``ConnectionClosed`` says that the client is gone."""

    def __init__(self, socket: ServerConnection, send_seconds: float) -> None:
        self._socket = socket
        self._send_seconds = send_seconds
        self.peer = str(socket.remote_address)

    async def receive(self) -> protocol.ClientMessage | bytes:
        """The next message, or sound. Raises ProtocolError."""
        data = await self._socket.recv()
        return protocol.decode_client(data) if isinstance(data, str) else protocol.check_sound(data)

    async def send(self, message: protocol.ServerMessage | bytes) -> None:
        """Raises SlowClient where the client has left what it was sent unread for too long."""
        data = message if isinstance(message, bytes) else protocol.encode(message)
        try:
            async with asyncio.timeout(self._send_seconds):
                await self._socket.send(data)
        except TimeoutError:
            raise SlowClient("it does not read what it is sent") from None

    async def refuse(self, code: str, message: str) -> None:
        """Say why, and close."""
        try:
            await self.send(protocol.Error(code, message, fatal=True))
            await self._socket.close(protocol.CLOSE_CODES[code], message.encode()[:120].decode(errors="ignore"))
        except SlowClient:
            self.abort()
        except ConnectionClosed:
            return

    async def receive_start(self, seconds: float) -> protocol.Start:
        """The first message. Raises ProtocolError, also when it does not come within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                first = await self.receive()
        except TimeoutError:
            raise ProtocolError(f"`start` did not come within {seconds:g} s") from None
        if not isinstance(first, protocol.Start):
            raise ProtocolError("the first message must be `start`")
        return first

    def abort(self) -> None:
        """Drop the TCP connection; what was not sent is lost."""
        self._socket.transport.abort()
