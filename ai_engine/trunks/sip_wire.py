"""A way to a SIP server on which requests are answered: UDP, TCP or TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, cast

from ai_engine.protocol.sip import Request, Response, ResponseStream, parse_response

_T1_SECONDS = 0.5
_T2_SECONDS = 4.0
_READ = 16 * 1024


class Wire(Protocol):
    """An open one. ``exchange`` returns the final answer to ``request``; it raises OSError when the way is gone,
    ValueError for what is no SIP, and waits without end otherwise."""

    local: tuple[str, int]

    async def exchange(self, request: Request) -> Response: ...


class _UdpWire(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.local = ("", 0)
        self._sender: asyncio.DatagramTransport | None = None
        self._arrived: asyncio.Queue[bytes | Exception] = asyncio.Queue(100)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sender = cast(asyncio.DatagramTransport, transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        if not self._arrived.full():
            self._arrived.put_nowait(item)

    async def exchange(self, request: Request) -> Response:
        """Anybody's datagram may get here, so one that is no answer to us is left alone."""
        sending = asyncio.create_task(self._send_again_and_again(bytes(request)))
        try:
            while True:
                item = await self._arrived.get()
                if isinstance(item, Exception):
                    raise item
                if (answer := _answer(item, request)) is not None:
                    if answer.final:
                        return answer
                    sending.cancel()  # it has arrived
        finally:
            sending.cancel()

    async def _send_again_and_again(self, data: bytes) -> None:
        pause = _T1_SECONDS
        while self._sender is not None:
            self._sender.sendto(data)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _T2_SECONDS)  # RFC 3261, 17.1.2.2


def _answer(data: bytes, request: Request) -> Response | None:
    try:
        response = parse_response(data)
    except ValueError:
        return None
    return response if request.is_answered_by(response) else None


class _StreamWire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.local: tuple[str, int] = writer.get_extra_info("sockname")[:2]
        self._reader, self._writer = reader, writer
        self._answers = ResponseStream()

    async def exchange(self, request: Request) -> Response:
        self._writer.write(bytes(request))
        await self._writer.drain()
        while data := await self._reader.read(_READ):
            for response in self._answers.feed(data):
                if response.final and request.is_answered_by(response):
                    return response
        raise ConnectionResetError("the connection was closed without an answer")


@asynccontextmanager
async def udp_wire(address: str, port: int) -> AsyncIterator[Wire]:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_datagram_endpoint(_UdpWire, remote_addr=(address, port))
    try:
        yield wire
    finally:
        transport.close()


@asynccontextmanager
async def stream_wire(address: str, port: int, tls: ssl.SSLContext | None, name: str) -> AsyncIterator[Wire]:
    """TCP, or TLS with a certificate for ``name``. Raises OSError, of which ssl.SSLError is one."""
    reader, writer = await asyncio.open_connection(
        address, port, ssl=tls, server_hostname=name if tls is not None else None
    )
    try:
        yield _StreamWire(reader, writer)
    finally:
        writer.transport.abort()  # nothing is left to be said, and a peer that hangs must not hold us
