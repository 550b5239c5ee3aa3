"""The server as a whole: what is there when it listens, what it does not put up with, and how it ends."""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import cast

import httpx
import pytest
from fastapi import APIRouter, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ai_engine.host.listener import Listener
from ai_engine.jobs.ports import RouteContext, Telephony
from ai_engine.web.gate import Gate
from tests.fakes.front_door import TOKEN, front_door

REQUEST = {"to": "+14155550123", "prompt": "Say hello."}


class Toy:
    """A network that has routes and nothing else."""

    id = "toy"

    def register_routes(self, router: APIRouter, context: RouteContext) -> None:
        @router.get("/toy")
        async def toy() -> Mapping[str, str]:
            return {"local": context.urls().local}

        @router.post("/toy")
        async def heard(body: dict[str, str]) -> Mapping[str, str]:
            return body

        @router.websocket("/toy/stream")
        async def stream(socket: WebSocket) -> None:
            await socket.accept()
            while True:
                await socket.send_text(await socket.receive_text())


def toys() -> list[Telephony]:
    return [cast(Telephony, Toy())]


async def test_what_networks_call_is_there_and_asks_for_no_token() -> None:
    async with front_door(telephony=toys(), tokens=[TOKEN]) as door, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{door.url}/toy")).json() == {"local": ""}
        assert "/toy" not in (await http.get(f"{door.url}/openapi.json")).json()["paths"]
        async with connect(f"{door.url.replace('http', 'ws')}/toy/stream") as stream:
            await stream.send("hello")
            assert await stream.recv() == "hello"


async def test_a_socket_where_there_is_none() -> None:
    async with front_door() as door:
        with pytest.raises(InvalidStatus) as met:
            await connect(f"{door.url.replace('http', 'ws')}/stream")
        assert met.value.response.status_code in (403, 404)


async def test_a_port_that_is_taken() -> None:
    async with front_door() as first:
        with pytest.raises(OSError, match="in use"):
            async with front_door(port=first.server.port):
                pass
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{first.url}/health")).json() == {"ok": True, "turned_away": {}}
    async with front_door(port=first.server.port) as again:  # which it can have when the first has gone
        assert again.url == first.url


async def test_it_listens_at_every_address_of_a_name() -> None:
    async with front_door(host="localhost") as door, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://localhost:{door.server.port}/health")).json()["ok"]


async def test_it_ends_at_once_whoever_is_connected() -> None:
    async with front_door(telephony=toys(), tokens=[TOKEN], penance_seconds=60) as door:
        stream = await connect(f"{door.url.replace('http', 'ws')}/toy/stream")
        idle = socket.create_connection(("127.0.0.1", door.server.port))
        half = socket.create_connection(("127.0.0.1", door.server.port))
        half.sendall(b"POST /toy HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        async with httpx.AsyncClient(trust_env=False) as http:
            kept = await http.get(f"{door.url}/health")
            assert kept.headers.get("connection") != "close"
            guess = asyncio.create_task(http.get(f"{door.url}/calls", headers={"Authorization": "Bearer wrong"}))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await door.server.stop()
            assert time.monotonic() - began < 3
            assert (await guess).status_code == 401
        with pytest.raises(ConnectionClosed):
            await stream.recv()
        idle.close()
        half.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", door.server.port))


async def test_it_is_stopped_before_it_is_started() -> None:
    await Listener(lambda *_: None, "127.0.0.1", 0, most_connections=1, most_message_bytes=1).stop()  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("path", ["/calls", "/mcp", "/toy", "/nowhere"])
async def test_a_body_that_is_too_large(path: str) -> None:
    headers = {"Content-Type": "application/json"}

    async def in_pieces():  # type: ignore[no-untyped-def]
        for _ in range(40):
            yield b"x" * 1024

    async with front_door(telephony=toys(), body_bytes=4096) as door, httpx.AsyncClient(trust_env=False) as http:
        for body in (b"x" * 4097, b"x" * 1_000_000, in_pieces()):
            response = await http.post(door.url + path, content=body, headers=headers)
            assert (response.status_code, response.headers["connection"]) == (413, "close")
            assert "body_bytes" in response.json()["detail"]
        assert door.server.turned_away == {"too_large": 3}
        assert (await http.get(f"{door.url}/health")).json()["ok"]


async def test_a_body_that_is_announced_too_large_is_not_asked_for() -> None:
    async with front_door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
        writer.write(b"POST /calls HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        writer.close()


async def test_a_body_that_never_comes() -> None:
    sent: list[dict[str, object]] = []

    async def nothing() -> dict[str, object]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    gate = Gate(_never, 4096, seconds=0.01)
    await gate({"type": "http", "method": "POST", "path": "/", "headers": []}, nothing, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408
    assert gate.turned_away == {"too_slow": 1}


async def test_headers_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.host.listener._HEADER_SECONDS", 0.05)
    async with front_door(telephony=toys()) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
        async with asyncio.timeout(5), connect(f"{door.url.replace('http', 'ws')}/toy/stream") as stream:
            writer.write(b"GET /health HTTP/1.1\r\nHost: ")
            assert await reader.read() == b""
            await stream.send("still here")  # a socket is no request that is late
            assert await stream.recv() == "still here"
        writer.close()


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",  # without Host
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000,
    ],
)
async def test_what_is_no_http(request_line: bytes) -> None:
    async with front_door() as door, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
        writer.write(request_line)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_too_large_a_message_ends_its_socket() -> None:
    async with front_door(telephony=toys(), body_bytes=4096) as door:
        async with connect(f"{door.url.replace('http', 'ws')}/toy/stream") as stream:
            await stream.send("x" * 5000)
            with pytest.raises(ConnectionClosed) as met:
                await stream.recv()
        assert met.value.rcvd is not None
        assert met.value.rcvd.code == 1009


async def _never(*_: object) -> None:
    raise AssertionError("it went past the gate")
