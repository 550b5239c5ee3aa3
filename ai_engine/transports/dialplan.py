"""Calls without ARI: of the dialplan's own ``AudioSocket(${UUID()},host:port)`` the connection itself is the call."""

from collections.abc import Mapping

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import PeerError
from ai_engine.jobs.ports import Assignment
from ai_engine.session.ports import Leg, Line, Media, Topology
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.bare_call import BareCall
from ai_engine.transports.codecs import codec


class DialplanCall(BareCall):
    """One such call (a ``CallControl``): talk, keys, goodbye, and a human. Who is calling is not known."""

    needs = "ARI"
    reaches_human = True

    def __init__(self, connection: AudioSocketConnection) -> None:
        """``connection`` was offered by ``AudioSocketListener`` as one that nobody invited.

        Its UUID, of the dialplan's choice, is the id: ``core show channels concise`` has it beside its channel.
        """
        super().__init__(str(connection.uuid), connection)
        self.caller_number = ""
        self.dialled = ""
        self.variables: Mapping[str, str] = {}
        self.assignment: Assignment | None = None
        self.format = connection.format
        """Of the sound, both ways; the only one ``transport`` has."""
        self.transport = DialplanTransport(connection)
        """The only way for this call's sound; it leads nowhere else once its connection is gone."""
        self._connection = connection
        connection.own(self)

    async def hang_up(self) -> None:
        """End the application with success (``TRYSTATUS`` is ``SUCCESS``): the dialplan hangs up, or goes on."""
        self._check_here()
        self._connection.close()

    async def transfer(self, context: str, extension: str) -> None:
        """End the application with an error (``TRYSTATUS`` is ``FAILED``): the dialplan's next step is the human.

        It does not know of ``context`` and ``extension``. ``events()`` then ends without an event.
        """
        self._check_here()
        self._leave(None)
        self._connection.reset()

    async def close(self) -> None:
        """A call that was neither hung up nor handed on goes to the human; may be called more than once."""
        self._leave(None)
        self._connection.reset()


class DialplanTransport:
    """The connection of one ``DialplanCall``, which can be had once (a ``Transport``)."""

    name = "audiosocket"
    topology = Topology.BRIDGED

    def __init__(self, connection: AudioSocketConnection) -> None:
        self._connection = connection
        self._taken = False

    def invite(self, format: AudioFormat) -> "DialplanInvitation":
        """``connected`` raises PeerError for any other format than the connection's, and for every invitation but the
        first.
        """
        objection = ""
        if self._taken:
            objection = "a call without ARI has one connection, and that was in use already"
        elif format != self._connection.format:
            objection = f"the dialplan connected at {self._connection.format.rate} Hz, not {format.rate} Hz"
        self._taken = True
        return DialplanInvitation(self._connection, objection)


class DialplanInvitation:
    """A connection that is there already (an ``Invitation``)."""

    def __init__(self, connection: AudioSocketConnection, objection: str) -> None:
        self.leg = Leg(
            uuid=connection.uuid,
            codec=codec(connection.format),
            external_host="",
            encapsulation="audiosocket",
            transport="tcp",
            data=str(connection.uuid),
        )
        self._connection = connection
        self._objection = objection
        self._media: DialplanMedia | None = None

    async def connected(self, facts: Mapping[str, str]) -> Media:
        """At once. Raises PeerError when the connection is gone, or not to be had."""
        if self._objection or self._connection.lost.is_set():
            raise PeerError(self._objection or "the connection is gone")
        self._media = DialplanMedia(self._connection)
        return self._media

    def withdraw(self) -> None:
        """As ``DialplanMedia.close``."""
        self._objection = self._objection or "the invitation was withdrawn"
        if self._media is not None:
            self._media.close()


class DialplanMedia:
    """The sound of a connection, whose end is for its ``DialplanCall`` to say (a ``Media``)."""

    transport = "audiosocket"
    lag_ms = 0.0

    def __init__(self, connection: AudioSocketConnection) -> None:
        self.format = connection.format
        self._connection = connection
        self._closed = False

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; of keys and the end its call hears instead."""
        if not self._closed and not self._connection.lost.is_set():
            self._connection.attach(line)

    def flush(self) -> None:
        """Nothing is ever sent early."""

    def close(self) -> None:
        """Silence from now on: the caller stays, for the call may still be handed on."""
        if not self._closed:
            self._closed = True
            self._connection.detach()
