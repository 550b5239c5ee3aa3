"""A WebSocket to a server that does what it likes, or nothing at all."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.errors import ProviderError
from ai_engine.remote.socket import RemoteSocket


@asynccontextmanager
async def deaf_server() -> AsyncIterator[str]:
    """The address of one that shakes hands and reads nothing after that."""
    release = asyncio.Event()

    async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        key = next(line.partition(": ")[2] for line in head if line.lower().startswith("sec-websocket-key"))
        accept = b64encode(sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        writer.write("\r\n".join([*answer, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode())
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await release.wait()
        writer.close()

    server = await asyncio.start_server(shake_hands, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        release.set()
        server.close()
        await server.wait_closed()


def flood(socket: RemoteSocket) -> None:
    """More than a network takes by itself."""
    for _ in range(5000):
        socket.send(bytes(4000))


async def test_a_server_that_takes_nothing_any_more_is_lost() -> None:
    async with deaf_server() as url:
        socket = await RemoteSocket.open("Vendor", url, heartbeat_seconds=0.3)
        flood(socket)
        async with asyncio.timeout(10):
            with pytest.raises(ProviderError, match="Vendor does not take the caller's voice any more"):
                await socket.receive()
        await socket.close()


async def test_closing_does_not_wait_for_a_server_that_takes_nothing() -> None:
    async with deaf_server() as url:
        socket = await RemoteSocket.open("Vendor", url, heartbeat_seconds=60.0)
        flood(socket)
        await asyncio.sleep(0.05)  # the network is full
        async with asyncio.timeout(10):
            await socket.close()
            await socket.close()


async def test_too_many_messages_are_the_end() -> None:
    async with deaf_server() as url:
        socket = await RemoteSocket.open("Vendor", url, most_waiting=10)
        for _ in range(12):
            socket.send(b"x")
        async with asyncio.timeout(10):
            with pytest.raises(ProviderError, match="does not take the caller's voice any more"):
                await socket.receive()
        await socket.close()


async def test_what_is_sent_in_time_arrives_in_order() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        socket = await RemoteSocket.open("Vendor", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for number in range(100):
            socket.send(str(number))
        assert [await socket.receive() for _ in range(100)] == [str(number) for number in range(100)]
        await socket.close()
        with pytest.raises(ProviderError, match="Vendor closed the connection"):
            await socket.receive()


async def test_closing_can_be_cancelled() -> None:
    async with deaf_server() as url:
        socket = await RemoteSocket.open("Vendor", url)
        await asyncio.sleep(0)
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()
        await socket.close()
