"""A server on loopback, and what an engine would be to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from local_ai_server import protocol
from local_ai_server.config import Settings
from local_ai_server.crew import Crew
from local_ai_server.crews import Crews
from local_ai_server.llm.base import LanguageModel
from local_ai_server.llm.intents import Intents
from local_ai_server.server import LocalAIServer
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.phone_speech import caller


@asynccontextmanager
async def serving(
    pool: WorkerPool, model: LanguageModel | None = None, **settings: Any
) -> AsyncIterator[tuple[LocalAIServer, str]]:
    """``pool`` is whoever's it was afterwards."""
    given = Settings(port=0, **settings)
    backends = protocol.Backends(given.stt, given.llm, given.tts)
    async with listening(given, Crews(given, Crew(backends, pool, model or Intents()))) as served:
        yield served


@asynccontextmanager
async def listening(settings: Settings, crews: Crews) -> AsyncIterator[tuple[LocalAIServer, str]]:
    server = LocalAIServer(settings, crews)
    async with server.listening() as door:
        port = door.sockets[0].getsockname()[1]
        yield server, f"127.0.0.1:{port}"


class Client:
    """What an engine would be."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire
        self.ready: dict[str, Any] = {}

    async def send(self, type: str, **fields: Any) -> None:
        await self.wire.send(json.dumps({"type": type, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            data = await self.wire.recv()
        if isinstance(data, str):
            return dict(json.loads(data))
        reply, pcm = protocol.unpack_sound(data)
        return {"type": "sound", "reply": reply, "pcm": pcm}

    async def until(self, type: str) -> list[dict[str, Any]]:
        messages = [await self.next()]
        while messages[-1]["type"] != type:
            messages.append(await self.next())
        return messages

    async def turn(self, number: int, text: str, voice: str = "rms", **fields: Any) -> None:
        await self.send("turn_begin", turn=number)
        pcm = caller(text, voice)
        for at in range(0, len(pcm), 640):
            await self.wire.send(pcm[at : at + 640])
        await self.send("turn_end", turn=number, **fields)

    async def settled(self) -> list[dict[str, Any]]:
        """Everything the server had to say up to the answer to a line asked for just now."""
        await self.send("say", text="Settled.")
        said = await self.until("clause")
        while said[-1]["text"] != "Settled.":
            said += await self.until("clause")
        return said + await self.until("reply_end")

    async def cough(self, number: int) -> list[dict[str, Any]]:
        """A turn in which nothing is understood, and what comes of it."""
        await self.send("turn_begin", turn=number)
        await self.send("turn_end", turn=number)
        return await self.until("reply_end")

    async def closed(self) -> int:
        async with asyncio.timeout(10):
            await self.wire.wait_closed()
        return self.wire.close_code or 0


@asynccontextmanager
async def calling(address: str, start: dict[str, Any] | None = None, **agent: Any) -> AsyncIterator[Client]:
    """``start``: what that message has beside the agent."""
    async with connect(f"ws://{address}/v1", compression=None, max_size=None) as wire:
        client = Client(wire)
        more = {"history": [], **(start or {})}
        await client.send("start", protocol=1, call_id="test", agent={**AGENT, **agent}, **more)
        client.ready = await client.next()
        assert client.ready["type"] == "ready", client.ready
        yield client


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """Types in order, repetitions once."""
    types = [message["type"] for message in messages]
    return [each for i, each in enumerate(types) if i == 0 or types[i - 1] != each]


def words(messages: list[dict[str, Any]], type: str) -> str:
    return ("" if type == "token" else " ").join(message["text"] for message in messages if message["type"] == type)


def seconds(messages: list[dict[str, Any]]) -> float:
    return sum(len(message["pcm"]) for message in messages if message["type"] == "sound") / 32000


async def http(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, Any]]:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"application/json" in head
    return int(head.split()[1]), json.loads(body)
