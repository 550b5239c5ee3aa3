"""A stand-in for the media WebSockets of an Asterisk 22.10, over a real loopback socket.

async with ChanWebSocketServer() as server:
    leg = server.create_leg()              # what POST /channels/externalMedia would have made
    ... connect to server.url with leg.facts ...
    leg.speak(pcm); leg.press("5")         # the caller
    leg.played                             # [Played(at, sound)]: what the caller hears, one entry each 20 ms

As on the real one (tests/asterisk/test_chan_websocket_real.py asks both the same): a queue of 1000 frames of which one
is played every 20 ms, nothing when it is empty; a mark is reported as the frame after it starts, and lost in a flush;
MEDIA_XOFF at 900 frames and MEDIA_XON below 800; an incomplete last frame of a message is dropped; commands of more
than 128 characters are ignored; HTTP 404, 409 and 400 before the connection stands.
"""

import asyncio
import json
from collections import deque
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple
from uuid import uuid4

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

QUEUE_FRAMES = 1000
XOFF_FRAMES = 900
XON_FRAMES = 800
FRAME_SECONDS = 0.02
LONGEST_COMMAND = 128


class Played(NamedTuple):
    """20 ms on the caller's line."""

    at: float
    """Seconds of the loop's clock."""
    sound: bytes | None
    """None: the queue was empty, and nothing was sent to the caller."""


class Mark(NamedTuple):
    id: str


class FakeLeg:
    """One WebSocket channel; its knobs are meant to be turned by tests."""

    def __init__(self, format: str, frame_bytes: int, is_json: bool) -> None:
        self.id = str(uuid4())
        self.facts = {
            "MEDIA_WEBSOCKET_CONNECTION_ID": self.id,
            "MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE": str(frame_bytes),
        }
        self.format = format
        self.frame_bytes = frame_bytes
        self.is_json = is_json
        self.queue: deque[bytes | Mark] = deque()
        self.played: list[Played] = []
        self.commands: list[dict[str, Any]] = []
        self.messages: list[str | bytes] = []
        """Everything that came, in order."""
        self.paused = False
        """PAUSE_MEDIA, or a channel that nobody reads."""
        self.pause_seconds = 0.0
        """By how much the next frame is played later than it would be, and all after it; taken once."""
        self.greets = True
        """Whether MEDIA_START is sent."""
        self.socket: ServerConnection | None = None
        self.taken = False
        self.close_code: int | None = None
        """With which the engine closed, once it has."""
        self._xoff = False
        self._report_drained = False

    @property
    def heard(self) -> list[bytes]:
        """The frames that were played, without gaps and silence."""
        return [played.sound for played in self.played if played.sound and any(played.sound)]

    @property
    def frames_waiting(self) -> int:
        return sum(isinstance(item, bytes) for item in self.queue)

    def speak(self, pcm: bytes) -> None:
        """The caller's voice, in one message."""
        self._write(pcm)

    def press(self, digit: str) -> None:
        self.tell("DTMF_END", digit=digit)

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event in the format that was asked for."""
        if self.is_json:
            self.write_text(json.dumps({"event": event, "channel_id": f"fake-{self.id}", **fields}))
        elif event == "MEDIA_MARK_PROCESSED":
            self.write_text(f"{event} {fields['correlation_id']}")
        else:
            self.write_text(" ".join([event, *(f"{key}:{value}" for key, value in fields.items())]))

    def write_text(self, text: str) -> None:
        """Send any text message."""
        self._write(text)

    async def serve(self, socket: ServerConnection) -> None:
        self.socket = socket
        player = asyncio.create_task(self._play())
        if self.greets:
            self.tell(
                "MEDIA_START",
                connection_id=self.id,
                channel=f"WebSocket/INCOMING/{self.id}",
                format=self.format,
                optimal_frame_size=self.frame_bytes,
                ptime=20,
            )
        try:
            async for message in socket:
                self.messages.append(message)
                if isinstance(message, bytes):
                    self._enqueue(message)
                elif len(message) <= LONGEST_COMMAND:
                    self._obey(message)
        except ConnectionClosed:
            pass
        finally:
            player.cancel()
            self.close_code = socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else 1006

    def _enqueue(self, message: bytes) -> None:
        size = self.frame_bytes
        for start in range(0, len(message) - size + 1, size):
            if self.frames_waiting < QUEUE_FRAMES:
                self.queue.append(message[start : start + size])
        if self.frames_waiting >= XOFF_FRAMES and not self._xoff:
            self._xoff = True
            self.tell("MEDIA_XOFF")

    def _obey(self, message: str) -> None:
        command = self._parse(message)
        self.commands.append(command)
        match command.get("command"):
            case "MARK_MEDIA":
                self.queue.append(Mark(command.get("correlation_id", "")))
            case "FLUSH_MEDIA":
                self.queue.clear()
            case "PAUSE_MEDIA":
                self.paused = True
            case "CONTINUE_MEDIA":
                self.paused = False
            case "REPORT_QUEUE_DRAINED":
                self._report_drained = True
            case "GET_STATUS":
                self.tell(
                    "STATUS",
                    queue_length=self.frames_waiting,
                    xon_level=XON_FRAMES,
                    xoff_level=XOFF_FRAMES,
                    queue_full=self._xoff,
                    bulk_media=False,
                    media_paused=self.paused,
                )

    def _parse(self, message: str) -> dict[str, Any]:
        if not self.is_json:
            command, _, id = message.partition(" ")
            return {"command": command, "correlation_id": id}
        try:
            command = json.loads(message)
        except json.JSONDecodeError:
            self.tell("ERROR", error_text="Unable to parse JSON command")
            return {}
        return command if isinstance(command, dict) else {}

    async def _play(self) -> None:
        # What a hitch of this process delays is made up for: Asterisk, elsewhere, would have had none.
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += FRAME_SECONDS + self.pause_seconds
            self.pause_seconds = 0.0
            await asyncio.sleep(due - loop.time())
            if not self.paused:
                self._play_frame(due)

    def _play_frame(self, due: float) -> None:
        while self.queue and isinstance(self.queue[0], Mark):
            self._report_mark()
        sound = self.queue.popleft() if self.queue else None
        assert not isinstance(sound, Mark)
        self.played.append(Played(due, sound))
        if self._xoff and self.frames_waiting < XON_FRAMES:
            self._xoff = False
            self.tell("MEDIA_XON")
        if self._report_drained and not self.queue:
            self._report_drained = False
            self.tell("QUEUE_DRAINED")

    def _report_mark(self) -> None:
        mark = self.queue.popleft()
        assert isinstance(mark, Mark)
        self.tell("MEDIA_MARK_PROCESSED", correlation_id=mark.id)

    def _write(self, message: str | bytes) -> None:
        # Past the library's coroutines, which would need a task per message.
        assert self.socket is not None
        if isinstance(message, str):
            self.socket.protocol.send_text(message.encode())
        else:
            self.socket.protocol.send_binary(message)
        self.socket.transport.write(b"".join(self.socket.protocol.data_to_send()))


class ChanWebSocketServer:
    """Asterisk's HTTP server, as far as ``/media/<connection id>`` goes."""

    def __init__(self, path: str = "") -> None:
        self.legs: dict[str, FakeLeg] = {}
        self._path = f"{path}/media/"
        self._server: Server

    @property
    def url(self) -> str:
        """The base URL."""
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"ws://{host}:{port}{self._path.removesuffix('/media/')}"

    def create_leg(self, format: str = "slin", *, is_json: bool = True) -> FakeLeg:
        leg = FakeLeg(format, {"slin": 320, "slin16": 640, "opus": 0}[format], is_json)
        self.legs[leg.id] = leg
        return leg

    async def __aenter__(self) -> "ChanWebSocketServer":
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._admit,
            subprotocols=["media"],  # type: ignore[list-item]
            select_subprotocol=lambda connection, offered: next(iter(offered), None),
            compression=None,
            ping_interval=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        id = request.path.removeprefix(self._path)
        leg = self.legs.get(id)
        if leg is None or not request.path.startswith(self._path):
            return connection.respond(HTTPStatus.NOT_FOUND, "no such connection\n")
        if leg.taken:
            return connection.respond(HTTPStatus.CONFLICT, "taken\n")
        if request.headers.get("Sec-WebSocket-Protocol", "media") != "media":
            return connection.respond(HTTPStatus.BAD_REQUEST, "no such subprotocol\n")
        leg.taken = True
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        await self.legs[connection.request.path.removeprefix(self._path)].serve(connection)
