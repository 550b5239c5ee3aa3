"""A telephone at the other end of a Twilio media stream, without a browser: it talks, listens and keeps the contract.

It has the clock of a real telephone: 20 ms of sound go out and come in at a time, whatever the machine is busy with.
What it is sent waits until it is due; a mark comes back when all that was sent before it has been played, or at once
when ``clear`` drops it.

    async with StreamCaller.answering("http://127.0.0.1:4545", call_id) as caller:
        await caller.say(pcm)                      # or read_wav("hello.wav")
        await until(lambda: caller.heard_ms > 2000)
        await caller.press("1")
"""

import asyncio
import json
import re
import secrets
import wave
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm

FRAME_BYTES = 160
"""20 ms of mu-law."""
_FRAME_SECONDS = 0.02
_SILENCE = b"\xff"


def read_wav(path: Path) -> bytes:
    """PCM16 of a mono file of 8 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 8000, 2), path
        return file.readframes(file.getnframes())


async def token_of_page(base_url: str, call_id: str) -> str:
    """What the page of the mock telephone would answer with."""
    async with httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(f"{base_url}/mock", params={"callId": call_id})
    page.raise_for_status()
    found = re.search(r'data-token="([^"]+)"', page.text)
    assert found is not None, "the page has no token: the call does not ring"
    return found[1]


@dataclass
class StreamCaller:
    """One call; made by ``answering`` or ``calling``."""

    socket: ClientConnection
    call_id: str
    token: str = field(repr=False)
    stream_sid: str = field(default_factory=lambda: f"MZ{secrets.token_hex(16)}")
    call_sid: str = field(default_factory=lambda: f"CA{secrets.token_hex(16)}")
    heard: bytearray = field(default_factory=bytearray, repr=False)
    """PCM16 as it left the loudspeaker, silence in its place, since the call began."""
    voiced_bytes: int = 0
    """Of ``heard``, what was sent to us."""
    messages: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """All that was sent to us but sound, in order: ``mark`` and ``clear``."""
    returned: list[str] = field(default_factory=list)
    """Names of the marks that we have sent back."""
    clears: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """The stream is over, whoever ended it."""
    _sequence: int = 0
    _frames: int = 0
    _outgoing: bytearray = field(default_factory=bytearray, repr=False)
    _all_said: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _waiting: bytearray = field(default_factory=bytearray, repr=False)
    _marks: list[tuple[str, int]] = field(default_factory=list, repr=False)
    """Name, and how many bytes of ``_waiting`` come before."""

    @classmethod
    @asynccontextmanager
    async def answering(cls, base_url: str, call_id: str) -> AsyncIterator["StreamCaller"]:
        """Answer a call of the mock provider that rings."""
        token = await token_of_page(base_url, call_id)
        async with cls.calling(f"{base_url.replace('http', 'ws', 1)}/voice/stream", call_id, token) as caller:
            yield caller

    @classmethod
    @asynccontextmanager
    async def calling(cls, stream_url: str, call_id: str, token: str) -> AsyncIterator["StreamCaller"]:
        """Open a stream, as a network does that was told to in TwiML. Hangs up at the end."""
        async with connect(stream_url, proxy=None) as socket:
            caller = cls(socket, call_id, token)
            await caller._begin()
            jobs = [asyncio.create_task(caller._listen()), asyncio.create_task(caller._keep_time())]
            try:
                yield caller
            finally:
                await caller.stop()
                for job in jobs:
                    job.cancel()
                results = await asyncio.gather(*jobs, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    @property
    def heard_ms(self) -> float:
        """How much of what was sent to us has been played."""
        return self.voiced_bytes / 8

    async def say(self, pcm: bytes) -> None:
        """Speak (PCM16, 8 kHz); returns when the last of it is on its way. Otherwise we are silent."""
        ulaw = pcm_to_ulaw(pcm)
        self._outgoing += ulaw + _SILENCE * (-len(ulaw) % FRAME_BYTES)
        self._all_said.clear()
        waits = [asyncio.create_task(self._all_said.wait()), asyncio.create_task(self.closed.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def press(self, digit: str) -> None:
        await self._send("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    async def stop(self) -> None:
        """Hang up; nothing is wrong when the stream is over."""
        await self._send("stop", {"stop": {"accountSid": "ACfake", "callSid": self.call_sid}})
        await self.socket.close()
        self.closed.set()

    async def drop(self) -> None:
        """The connection breaks, without a word."""
        self.socket.transport.abort()
        await self.closed.wait()

    async def _begin(self) -> None:
        await self.socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {
            "accountSid": "ACfake",
            "callSid": self.call_sid,
            "streamSid": self.stream_sid,
            "tracks": ["inbound"],
            "customParameters": {"callId": self.call_id, "token": self.token},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._send("start", {"start": start})

    async def _listen(self) -> None:
        try:
            async for text in self.socket:
                await self._received(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()

    async def _received(self, message: dict[str, Any]) -> None:
        assert message["streamSid"] == self.stream_sid, message
        if message["event"] == "media":
            self._waiting += b64decode(message["media"]["payload"], validate=True)
            return
        self.messages.append(message)
        if message["event"] == "mark":
            self._marks.append((message["mark"]["name"], len(self._waiting)))
            await self._return_marks()
        elif message["event"] == "clear":
            self.clears += 1
            self._waiting.clear()
            self._marks = [(name, 0) for name, _ in self._marks]
            await self._return_marks()

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.closed.is_set():
            self._frames += 1
            await asyncio.sleep(began + self._frames * _FRAME_SECONDS - loop.time())
            await self._speak()
            await self._play()

    async def _speak(self) -> None:
        frame = bytes(self._outgoing[:FRAME_BYTES]) or _SILENCE * FRAME_BYTES
        del self._outgoing[:FRAME_BYTES]
        if not self._outgoing:
            self._all_said.set()
        media = {"track": "inbound", "chunk": str(self._frames), "timestamp": str((self._frames - 1) * 20)}
        await self._send("media", {"media": {**media, "payload": b64encode(frame).decode()}})

    async def _play(self) -> None:
        due = bytes(self._waiting[:FRAME_BYTES])
        del self._waiting[:FRAME_BYTES]
        self.voiced_bytes += len(due)
        self.heard += ulaw_to_pcm(due + _SILENCE * (FRAME_BYTES - len(due)))
        self._marks = [(name, max(0, before - FRAME_BYTES)) for name, before in self._marks]
        await self._return_marks()

    async def _return_marks(self) -> None:
        while self._marks and self._marks[0][1] == 0:
            name, _ = self._marks.pop(0)
            self.returned.append(name)
            await self._send("mark", {"mark": {"name": name}})

    async def _send(self, event: str, content: dict[str, Any]) -> None:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid}
        try:
            await self.socket.send(json.dumps({**head, **content}))
        except ConnectionClosed:
            self.closed.set()
