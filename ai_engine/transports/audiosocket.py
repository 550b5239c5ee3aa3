"""The AudioSocket door: Asterisk's TCP connections, matched with the calls that expect them."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import PeerError
from ai_engine.session.ports import Leg, Media, Topology
from ai_engine.transports.addresses import AllowedPeers, host_port, within_reach
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.codecs import codec
from ai_engine.transports.wheel import TimerWheel

_REMEMBERED = 1000
"""Invitations whose UUIDs, even when withdrawn, are not taken for a call of the dialplan's own."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AudioSocketSettings:
    """Where Asterisk connects to, and who may."""

    host: str = "127.0.0.1"
    port: int = 8090
    """0 takes any free port."""
    advertise: str = ""
    """``host:port`` that Asterisk is told to connect to, when it is not the one we listen on."""
    handshake_seconds: float = 2.0
    """A peer that has not said which call it is by then is dropped."""
    max_connections: int = 500
    allowed_peers: Sequence[str] = ("127.0.0.0/8", "::1/128")
    """Networks in CIDR notation."""
    dialplan_first: bool = False
    """Whether a connection nobody invited is a call: ``AudioSocket(${UUID()},host:port)`` in the dialplan."""


class AudioSocketListener:
    """Accepts connections under UUIDs that were invited, each once (a ``Transport``), and perhaps calls without ARI."""

    name = "audiosocket"
    topology = Topology.BRIDGED

    def __init__(
        self,
        settings: AudioSocketSettings,
        wheel: TimerWheel,
        on_uninvited: Callable[[AudioSocketConnection], bool] | None = None,
    ) -> None:
        """``on_uninvited`` takes the calls of ``dialplan_first`` and returns at once: whether it took this one.

        It takes it by ``connection.own()``, as ``DialplanCall`` does. The connection's format is known by then.
        """
        self.settings = settings
        self.handshake_seconds = settings.handshake_seconds
        self.wheel = wheel
        self.on_uninvited = on_uninvited
        self.counters = dict.fromkeys(
            (
                "accepted",
                "uninvited",
                "refused_peer",
                "refused_full",
                "refused_unknown_uuid",
                "refused_uninvited",
                "handshake_timeouts",
                "protocol_errors",
                "slow_peers",
                "stale_frames",
                "faults",
            ),
            0,
        )
        self._allowed = AllowedPeers(settings.allowed_peers)
        self._invited: dict[UUID, AudioSocketInvitation] = {}
        self._remembered: deque[UUID] = deque(maxlen=_REMEMBERED)
        self._uninvited: dict[UUID, AudioSocketConnection] = {}
        self._connections: set[AudioSocketConnection] = set()
        self._server: asyncio.Server | None = None
        self._address = ""

    @property
    def listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @property
    def address(self) -> str:
        """``host:port`` for Asterisk to connect to."""
        return self.settings.advertise or self._address

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Listen. Raises OSError when the address is not to be had."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        self._server = await loop.create_server(
            lambda: AudioSocketConnection(self), settings.host, settings.port, backlog=512
        )
        port = self._server.sockets[0].getsockname()[1]
        self._address = host_port(within_reach(settings.host), port)
        log.info(f"AudioSocket server listening {host_port(settings.host, port)}")

    async def close(self) -> None:
        """Accept no more, reset every connection, and wait until they are gone."""
        if self._server is None:
            return
        self._server.close()
        for invitation in list(self._invited.values()):
            invitation.fail("the AudioSocket server was closed")
        self._invited.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.reset()
        for connection in connections:
            await connection.lost.wait()
        await self._server.wait_closed()
        self._server = None

    def invite(self, format: AudioFormat) -> "AudioSocketInvitation":
        """Get ready for one connection under a fresh UUID. Raises ValueError for a rate but 8000 and 16000."""
        invitation = AudioSocketInvitation(self, format)
        self._invited[invitation.leg.uuid] = invitation
        self._remembered.append(invitation.leg.uuid)
        return invitation

    def uninvite(self, uuid: UUID) -> None:
        """Nobody may connect under ``uuid`` any more."""
        self._invited.pop(uuid, None)

    def admit(self, connection: AudioSocketConnection, peer: str) -> bool:
        """Whether a connection from ``peer`` may come in."""
        if peer not in self._allowed:
            self.refuse("refused_peer", "peer not allowed", peer)
            return False
        if len(self._connections) >= self.settings.max_connections:
            self.refuse("refused_full", "too many connections", peer)
            return False
        self._connections.add(connection)
        return True

    def introduce(self, connection: AudioSocketConnection) -> bool:
        """Hand the connection to the call that invited its UUID; if none did, ask it for its format, to ``offer`` it.

        False if there is no use for it: the UUID is unknown, or taken.
        """
        uuid = connection.uuid
        if invitation := self._invited.pop(uuid, None):
            return invitation.accept(connection)
        if not self.settings.dialplan_first or uuid in self._remembered or uuid in self._uninvited:
            return False
        self._uninvited[uuid] = connection
        connection.learn_format()
        return True

    def offer(self, connection: AudioSocketConnection) -> bool:
        """Whether somebody takes a connection nobody invited."""
        self.counters["uninvited"] += 1
        return self.on_uninvited is not None and self.on_uninvited(connection)

    def forget(self, connection: AudioSocketConnection) -> None:
        self._connections.discard(connection)
        self._uninvited = {uuid: other for uuid, other in self._uninvited.items() if other is not connection}

    def refuse(self, counter: str, reason: str, peer: str) -> None:
        """Count and log why a peer was shut out."""
        self.counters[counter] += 1
        log.warning("AudioSocket connection refused", reason=reason, peer=peer)


class AudioSocketInvitation:
    """One connection that Asterisk is about to make (an ``Invitation``)."""

    def __init__(self, listener: AudioSocketListener, format: AudioFormat) -> None:
        """Prefer ``AudioSocketListener.invite``."""
        uuid = uuid4()
        self.leg = Leg(
            uuid=uuid,
            codec=codec(format),
            external_host=listener.address,
            encapsulation="audiosocket",
            transport="tcp",
            data=str(uuid),
        )
        self._format = format
        self._listener = listener
        self._connection: asyncio.Future[AudioSocketConnection] = asyncio.get_running_loop().create_future()

    async def connected(self, facts: Mapping[str, str]) -> Media:
        """The connection, once it stands. Raises PeerError when the invitation was withdrawn or the door closed."""
        return await self._connection

    def withdraw(self) -> None:
        """Nobody may connect any more, and what has connected is closed. May be called more than once."""
        self._listener.uninvite(self.leg.uuid)
        self.fail("the invitation was withdrawn")
        if not self._connection.cancelled() and self._connection.exception() is None:
            self._connection.result().close()

    def accept(self, connection: AudioSocketConnection) -> bool:
        """Take the connection; False if it comes too late."""
        if self._connection.done():
            return False
        connection.agree(self._format)
        self._connection.set_result(connection)
        return True

    def fail(self, reason: str) -> None:
        """Disappoint whoever waits."""
        if not self._connection.done():
            self._connection.set_exception(PeerError(reason))
            self._connection.exception()  # which nobody need look at
