"""The RTP door: ports of ours that Asterisk's ``UnicastRTP`` channels send to, and are answered from."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast
from uuid import uuid4

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import MediaError, PeerError
from ai_engine.protocol.rtp import is_rtcp
from ai_engine.session.ports import Leg, Topology
from ai_engine.transports.addresses import AllowedPeers, bracketed, host_port, within_reach
from ai_engine.transports.rtp_media import COUNTERS, NAME, RtpMedia
from ai_engine.transports.wheel import TimerWheel

_Address = tuple[str, int]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RtpSettings:
    """Where Asterisk sends to, and which Asterisk may."""

    host: str = "127.0.0.1"
    """An address of this machine, or a name that is looked up once; ``0.0.0.0`` for all addresses it has."""
    advertise: str = ""
    """The host Asterisk is told to send to, when it is not ``host``; a name will do."""
    port_min: int = 32000
    port_max: int = 32766
    """The even ports from the one to the other are used, one per call."""
    allowed_peers: Sequence[str] = ("127.0.0.0/8", "::1/128")
    """Networks in CIDR notation in which Asterisk is."""
    silence_seconds: float = 3.0
    """A leg that sends nothing for so long is dead: a snoop channel sends without end, silence too."""


class RtpTransport:
    """Sound as RTP, whispered into the call (a ``Transport``)."""

    name = NAME
    topology = Topology.WHISPERED

    def __init__(self, settings: RtpSettings, wheel: TimerWheel, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is the one of ``wheel``. Raises OSError for a host that is none, ValueError for such a network."""
        self.settings = settings
        self.wheel = wheel
        self.clock = clock
        self.silence_seconds = settings.silence_seconds
        self.counters = dict.fromkeys(("refused_peer", *COUNTERS), 0)
        found = socket.getaddrinfo(settings.host, None, type=socket.SOCK_DGRAM)[0]
        self.family, self._address = found[0], found[4][0]
        self.allowed = AllowedPeers(settings.allowed_peers)
        self._ports = range(settings.port_min + settings.port_min % 2, settings.port_max + 1, 2)
        self._turn = 0
        """Index of the port that is tried next; one just given back, to which stray packets may come, is tried last."""
        self._invitations: set[RtpInvitation] = set()

    @property
    def connections(self) -> int:
        return sum(invitation.media is not None for invitation in self._invitations)

    @property
    def host(self) -> str:
        """Where Asterisk is told to send to, as it stands before ``:port``."""
        return bracketed(self.settings.advertise or within_reach(self.settings.host))

    def invite(self, format: AudioFormat) -> "RtpInvitation":
        """Take a port. Raises MediaError when none is free."""
        invitation = RtpInvitation(self, format, self._bind())
        self._invitations.add(invitation)
        return invitation

    async def close(self) -> None:
        """End every connection, and wait until the ports are free."""
        invitations = list(self._invitations)
        for invitation in invitations:
            invitation.withdraw()
        for invitation in invitations:
            await invitation.closed.wait()

    def forget(self, invitation: "RtpInvitation") -> None:
        self._invitations.discard(invitation)

    def _bind(self) -> socket.socket:
        sock = new_socket(self.family)
        reason = "the range is empty"
        for _ in self._ports:
            port = self._ports[self._turn]
            self._turn = (self._turn + 1) % len(self._ports)
            try:
                sock.bind((self._address, port))
            except OSError as error:
                reason = str(error)
            else:
                return sock
        sock.close()
        raise MediaError(f"no even port from {self.settings.port_min} to {self.settings.port_max} for RTP: {reason}")


class RtpInvitation(asyncio.DatagramProtocol):
    """One port, from ``invite`` until nobody needs it (an ``Invitation``).

    Once the peer is known, the kernel gives what it sends, and word that it takes nothing, to a second socket on the
    same port, which is connected to it. What anybody else sends comes here, to be counted.
    """

    def __init__(self, door: RtpTransport, format: AudioFormat, sock: socket.socket) -> None:
        self.leg = Leg(
            uuid=uuid4(),
            codec="slin",
            external_host=f"{door.host}:{sock.getsockname()[1]}",
            encapsulation="rtp",
            transport="udp",
        )
        self.media: RtpMedia | None = None
        self.closed = asyncio.Event()
        """Set when the port is free."""
        self._door = door
        self._format = format
        self._sock = sock
        self._called = False
        self._in_loop = False
        """The socket is the loop's, to be closed by ``_udp``."""
        self._withdrawn = False
        self._udp: asyncio.DatagramTransport | None = None
        self._peer: _Address | None = None
        self._known: asyncio.Future[_Address] | None = None
        """The peer, as Asterisk said, or else as the first packet shows."""
        self._met_stranger = False

    # -- Invitation -------------------------------------------------------------------------------------------

    async def connected(self, facts: Mapping[str, str]) -> RtpMedia:
        """The peer is where ``UNICASTRTP_LOCAL_ADDRESS`` and ``…_PORT`` say, or else where the first packet comes from.

        Raises PeerError when it cannot be had; the invitation is then withdrawn.
        """
        if self._called or self._withdrawn:
            raise PeerError("this RTP port waits for no connection")
        self._called = True
        try:
            return await self._connect(facts)
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Close what has connected, and give the port back."""
        if self.media is not None:
            self.media.close()
        self._give_back()

    # -- asyncio.DatagramProtocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._udp = cast(asyncio.DatagramTransport, transport)
        if self._withdrawn:
            self._udp.close()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        sender: _Address = addr[:2]
        if sender == self._peer:
            return  # it came before the second socket was there
        awaited = self._known
        if awaited is not None and not awaited.done() and sender[0] in self._door.allowed and not is_rtcp(data):
            self._peer = sender
            awaited.set_result(sender)
            return
        self._door.counters["strangers"] += 1
        if not self._met_stranger:
            self._met_stranger = True
            log.warning("RTP from a stranger dropped", uuid=str(self.leg.uuid), stranger=sender, peer=self._peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.forget(self)
        self.closed.set()

    def _give_back(self) -> None:
        """The port is needed no more."""
        if self._withdrawn:
            return
        self._withdrawn = True
        if self._known is not None and not self._known.done():
            self._known.set_exception(PeerError("the RTP port was closed"))
            self._known.exception()
        if self._udp is not None:
            self._udp.close()
        elif not self._in_loop:
            self._sock.close()
            self.connection_lost(None)

    # -- on the way to a connection ---------------------------------------------------------------------------

    async def _connect(self, facts: Mapping[str, str]) -> RtpMedia:
        loop = asyncio.get_running_loop()
        known = self._known = loop.create_future()
        if (told := self._told(facts)) is not None:
            self._peer = told
            known.set_result(told)
        self._in_loop = True
        await loop.create_datagram_endpoint(lambda: self, sock=self._sock)
        peer = await known
        self._check_withdrawn()
        door = self._door
        self.media = RtpMedia(door, self._second_socket(peer), self._format, self._give_back)
        await self.media.open()
        self._check_withdrawn()
        door.counters["accepted"] += 1
        log.info("RTP connection accepted", uuid=str(self.leg.uuid), peer=peer, here=self.leg.external_host)
        return self.media

    def _check_withdrawn(self) -> None:
        if self._withdrawn:
            raise PeerError("the RTP port was closed")

    def _told(self, facts: Mapping[str, str]) -> _Address | None:
        """The peer's address, if Asterisk gave it."""
        host, port = facts.get("UNICASTRTP_LOCAL_ADDRESS", ""), facts.get("UNICASTRTP_LOCAL_PORT", "")
        if not host or not port:
            return None
        try:
            address, number = ip_address(host), int(port)
        except ValueError as error:
            raise PeerError(f"Asterisk says it sends RTP from {host}:{port}") from error
        if address.is_unspecified:
            return None
        if host not in self._door.allowed:
            self._door.counters["refused_peer"] += 1
            log.warning("RTP connection refused", reason="peer not allowed", peer=host)
            raise PeerError(f"Asterisk sends RTP from {host}, which is not among the allowed peers")
        return str(address), number

    def _second_socket(self, peer: _Address) -> socket.socket:
        """On the same port, connected to ``peer``; raises PeerError."""
        second = new_socket(self._door.family)
        try:
            for sock in (self._sock, second):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.bind(self._sock.getsockname())
            for sock in (self._sock, second):  # the port is to be shared with nobody else
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            second.connect(peer)
        except (OSError, OverflowError) as error:
            second.close()
            raise PeerError(f"RTP cannot be sent to {host_port(*peer)}: {error}") from error
        return second


def new_socket(family: int) -> socket.socket:
    """For datagrams of one family, non-blocking."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
