"""Asterisk's side of an AudioSocket connection, and a door for it to knock at, over real loopback sockets."""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from uuid import UUID

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.protocol.audiosocket import Audio, AudioSocketParser, Message
from ai_engine.session.ports import Line
from ai_engine.transports.audiosocket import AudioSocketListener, AudioSocketSettings
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.wheel import TimerWheel

DEADLINE = 10.0
SILENCE = Audio(8000, bytes(320))


def uuid_message(uuid: UUID) -> bytes:
    return b"\x01\x00\x10" + uuid.bytes


def voice(number: int) -> bytes:
    return number.to_bytes(2, "little") * 160


class Peer:
    """Asterisk's side of a connection."""

    def __init__(self, listener: AudioSocketListener) -> None:
        host, port = listener.address.rsplit(":", 1)
        self._address = (host.strip("[]"), int(port))
        self._parser = AudioSocketParser()
        self._arrived: list[Message] = []
        self.was_reset = False
        """How the engine ended it."""

    async def __aenter__(self) -> "Peer":
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        """End it as a close with unread data does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def message(self) -> Message | None:
        """The next message, or None when the engine has closed or reset the connection."""
        async with asyncio.timeout(DEADLINE):
            while not self._arrived:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    self.was_reset = True
                    return None
                if not data:
                    return None
                self._arrived += self._parser.feed(data)
        return self._arrived.pop(0)

    async def until_closed(self) -> list[Message]:
        got = []
        while (message := await self.message()) is not None:
            got.append(message)
        return got


class Door:
    """A listener on a free port."""

    def __init__(self, on_uninvited: Callable[[AudioSocketConnection], bool] | None = None, **settings: object) -> None:
        self.wheel = TimerWheel()
        self.listener = AudioSocketListener(
            AudioSocketSettings(port=0, **settings),  # type: ignore[arg-type]
            self.wheel,
            on_uninvited,
        )

    def peer(self) -> Peer:
        return Peer(self.listener)

    def count(self, name: str) -> int:
        return self.listener.counters[name]

    async def connected(
        self, peer: Peer, line: Line | None = None, format: AudioFormat = SLIN8
    ) -> AudioSocketConnection:
        """A call that invited ``peer`` and was connected to it."""
        invitation = self.listener.invite(format)
        peer.send(uuid_message(invitation.leg.uuid))
        async with asyncio.timeout(DEADLINE):
            media = await invitation.connected({})
        assert isinstance(media, AudioSocketConnection)
        if line is not None:
            media.attach(line)
        return media

    async def __aenter__(self) -> "Door":
        await self.listener.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.listener.close()
        assert self.wheel.seats == 0
        assert self.listener.connections == 0
