"""What Deepgram's four sockets share: the record of a session, checked messages, sound by the clock, and its ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm
from tests.fakes.deepgram_types import faults_of
from tests.fakes.scenario import Fault, Scenario

CODECS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "linear16": (bytes, bytes),
    "mulaw": (ulaw_to_pcm, pcm_to_ulaw),
    "alaw": (alaw_to_pcm, pcm_to_alaw),
}
"""What the fakes can hear and say: to PCM16, and from it."""

Types = Mapping[str, tuple[type[BaseModel], ...]]
"""What a message of each ``type`` may be."""

CHUNK_MS = 80

GARBAGE = '{"type": "Conv'

NET_0000 = (
    "The service has not transmitted a Text frame to the client within the timeout window. See https://dpgr.am/net0000"
)
NET_0001 = (
    "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
)
DATA_0000 = "The payload cannot be decoded as audio. See https://dpgr.am/data0000"
LIMIT = "Session reached its maximum duration."
"""In our words: how the vendor says it is not published."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The clocks of the fakes."""

    speed: float = 2.0
    """How much faster than real time sound goes out."""
    idle_seconds: float = 10.0
    """How long a client may say nothing at all."""
    session_seconds: float = 7200.0
    settings_seconds: float = 0.02
    """How long an agent takes to apply its Settings."""


@dataclass(slots=True)
class Session:
    """One connection, or the attempt."""

    number: int
    """From 0, among those of its kind; a scenario's faults mean this number."""
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """In lower case, without the key."""
    received: list[dict[str, Any] | bytes | str] = field(default_factory=list, repr=False)
    """Messages as dicts, sound as bytes, text that is no JSON object as text."""
    sent: list[dict[str, Any] | bytes | str] = field(default_factory=list, repr=False)
    caller_rate: int = 0
    caller_pcm: bytearray = field(default_factory=bytearray, repr=False)
    """All that the caller said, PCM16 at ``caller_rate``."""
    speech_encoding: str = "linear16"
    speech_rate: int = 0
    violations: list[str] = field(default_factory=list)
    """What the client did against the protocol, and what the fake did."""
    refused: int | None = None
    """The HTTP status that the connection was refused with."""
    closed: bool = False

    def got(self, kind: str) -> list[dict[str, Any]]:
        """The messages of that type which the client sent."""
        return [one for one in self.received if isinstance(one, dict) and one.get("type") == kind]

    def said(self, kind: str) -> list[dict[str, Any]]:
        """The messages of that type which the client was sent."""
        return [one for one in self.sent if isinstance(one, dict) and one.get("type") == kind]

    @property
    def speech_pcm(self) -> bytes:
        """All the sound that the client was sent, PCM16 at ``speech_rate``."""
        return CODECS[self.speech_encoding][0](b"".join(one for one in self.sent if isinstance(one, bytes)))


class Ended(Exception):
    """The fake has closed the connection."""


class Wire:
    """One connection: checks what goes over it, and writes it down."""

    def __init__(
        self,
        socket: ServerConnection,
        session: Session,
        scenario: Scenario,
        sends: Types,
        pace: Pace,
    ) -> None:
        self._socket = socket
        self._sends = sends
        self._tasks: set[asyncio.Task[None]] = set()
        self.session = session
        self.scenario = scenario
        self.pace = pace

    def fault(self, turn: int | None, *kinds: str) -> Fault | None:
        return self.scenario.fault(self.session.number, turn, *kinds)

    async def receive(self) -> dict[str, Any] | bytes | str:
        """The next message, text that is no JSON object as text; raises TimeoutError after ``idle_seconds``."""
        async with asyncio.timeout(self.pace.idle_seconds):
            raw = await self._socket.recv()
        message = raw if isinstance(raw, bytes) else _object(raw)
        self.session.received.append(message)
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """One text message; what is wrong with it is a violation of ours."""
        self.session.violations += [f"sent {message['type']}: {one}" for one in wrong_with(message, self._sends)]
        self.session.sent.append(message)
        await self._socket.send(json.dumps(message))

    async def send_garbage(self) -> None:
        self.session.sent.append(GARBAGE)
        await self._socket.send(GARBAGE)

    async def say(self, pcm: bytes) -> None:
        """Sound, at its pace."""
        _, encode = CODECS[self.session.speech_encoding]
        step = 2 * self.session.speech_rate * CHUNK_MS // 1000
        clock = asyncio.get_running_loop().time
        start = clock()
        for offset in range(0, len(pcm), step):
            chunk = encode(pcm[offset : offset + step])
            self.session.sent.append(chunk)
            await self._socket.send(chunk)
            sent_seconds = (offset + step) / 2 / self.session.speech_rate
            await asyncio.sleep(start + sent_seconds / self.pace.speed - clock())

    def violate(self, what: str) -> None:
        self.session.violations.append(what)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection; raises Ended."""
        await self._socket.close(code, reason)
        raise Ended

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work beside the reading; what goes wrong in it is a violation of ours."""
        task = asyncio.create_task(self._watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was cancelled before it began
        return task

    async def serve(self, talk: Callable[[], Awaitable[None]], limit: Callable[[], Awaitable[None]]) -> None:
        """Run a conversation to its end, and ``limit`` when it lasts too long."""
        try:
            try:
                async with asyncio.timeout(self.pace.session_seconds):
                    await talk()
            except TimeoutError:
                await limit()
        except (ConnectionClosed, Ended):
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._socket.close()
            self.session.closed = True

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (ConnectionClosed, Ended):
            pass
        except Exception as error:  # noqa: BLE001 - a fake that fails in the background must be seen to
            self.violate(f"the fake failed: {error!r}")


def hear(session: Session, encoding: str, sound: bytes) -> bytes:
    """What the caller said, as PCM16, once it was written down."""
    pcm = CODECS[encoding][0](sound)
    session.caller_pcm += pcm
    return pcm


def wrong_with(message: Mapping[str, Any], types: Types) -> list[str]:
    """What is wrong with ``message``, as the type it comes closest to."""
    models = types.get(str(message.get("type")))
    if not models:
        return ["no such type"]
    return min((faults_of(model, message) for model in models), key=len)


def _object(raw: str) -> dict[str, Any] | str:
    try:
        read = json.loads(raw)
    except ValueError:
        return raw
    return read if isinstance(read, dict) else raw
