"""The chan_websocket door: we connect to the media WebSockets that Asterisk offers, one for each leg."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import structlog
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import PeerError
from ai_engine.protocol.chan_websocket import CONNECTION_ID_FACT
from ai_engine.session.ports import Leg, Topology
from ai_engine.transports.chan_websocket_connection import COUNTERS, NAME, ChanWebSocketConnection
from ai_engine.transports.codecs import codec
from ai_engine.transports.wheel import TimerWheel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChanWebSocketSettings:
    """Where Asterisk's HTTP server is, and how far ahead of time it is sent sound."""

    url: str = "ws://127.0.0.1:8088"
    """``ws://`` or ``wss://``, host, port, and Asterisk's ``prefix`` if it has one; ``/media/…`` is added."""
    ahead_ms: int = 100
    """60 to 200: what bridges our hitches, and is taken back when the agent is interrupted."""
    connect_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence that names the setting."""
        try:
            plain = parse_uri(self.url).query == ""
        except (InvalidURI, ValueError):
            plain = False
        if not plain:
            raise ValueError(f"url: {self.url!r} is not like ws://host:8088 or wss://host:8089/prefix")
        if not 60 <= self.ahead_ms <= 200:
            raise ValueError(f"ahead_ms: {self.ahead_ms} is not from 60 to 200")
        if not self.connect_seconds > 0:
            raise ValueError(f"connect_seconds: {self.connect_seconds} is not above 0")


class ChanWebSocketTransport:
    """Connects to Asterisk for each leg that was invited (a ``Transport``)."""

    name = NAME
    topology = Topology.BRIDGED

    def __init__(self, settings: ChanWebSocketSettings, wheel: TimerWheel) -> None:
        self.settings = settings
        self.wheel = wheel
        self.ahead_ms = settings.ahead_ms
        self.counters = dict.fromkeys(("refused", *COUNTERS), 0)
        self.tls = ssl.create_default_context() if parse_uri(settings.url).secure else None
        self._connections: set[ChanWebSocketConnection] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        return len(self._connections)

    def invite(self, format: AudioFormat) -> "ChanWebSocketInvitation":
        """Get ready for one connection; ``format`` is 8000 or 16000 Hz, for others it raises ValueError."""
        leg = Leg(uuid4(), codec(format), "INCOMING", "none", "websocket", "server", transport_data="f(json)")
        return ChanWebSocketInvitation(self, format, leg)

    async def close(self) -> None:
        """Connect no more, end every connection, and wait until they are gone."""
        self._closed = True
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.lost.wait()

    def admit(self, connection: ChanWebSocketConnection) -> None:
        """Raises PeerError after ``close``."""
        if self._closed:
            raise PeerError("no media WebSocket is opened any more, the engine is stopping")
        self._connections.add(connection)

    def forget(self, connection: ChanWebSocketConnection) -> None:
        self._connections.discard(connection)


class ChanWebSocketInvitation:
    """One leg on which Asterisk waits for us (an ``Invitation``)."""

    def __init__(self, transport: ChanWebSocketTransport, format: AudioFormat, leg: Leg) -> None:
        """Prefer ``ChanWebSocketTransport.invite``."""
        self.leg = leg
        self._transport = transport
        self._format = format
        self._connection: ChanWebSocketConnection | None = None
        self._withdrawn = False

    async def connected(self, facts: Mapping[str, str]) -> ChanWebSocketConnection:
        """Connect and wait for ``MEDIA_START``; raises PeerError with a plain sentence."""
        if self._withdrawn or self._connection is not None:
            raise PeerError("this media leg is taken or was given up")
        id = facts.get(CONNECTION_ID_FACT, "")
        if not re.fullmatch(r"[\w.-]+", id, re.ASCII):
            raise PeerError(f"Asterisk named no {CONNECTION_ID_FACT} for the media leg")
        settings = self._transport.settings
        url = f"{settings.url.rstrip('/')}/media/{id}"
        connection = ChanWebSocketConnection(self._transport, url, id, self._format, self.leg.codec)
        self._transport.admit(connection)
        self._connection = connection
        try:
            await connection.dial(settings.connect_seconds)
        except PeerError as error:
            self._transport.counters["refused"] += 1
            log.warning("media WebSocket refused", connection_id=id, peer=connection.peer, reason=str(error))
            raise
        finally:
            if not connection.open:
                connection.close()
        return connection

    def withdraw(self) -> None:
        """Connect no more, and close what is connected; may be called more than once."""
        self._withdrawn = True
        if self._connection is not None:
            self._connection.close()
