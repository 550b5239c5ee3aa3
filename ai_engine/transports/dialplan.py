"""Calls without ARI: of the dialplan's own ``AudioSocket(${UUID()},host:port)`` the connection itself is the call."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone, PeerError
from ai_engine.jobs.ports import Assignment
from ai_engine.session.ports import ConsultLeg, Leg, Line, Media, Topology
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.codecs import codec

_INBOX_SIZE = 64

log = structlog.get_logger()


class DialplanCall:
    """One such call (a ``CallControl``, and the ``Owner`` of its connection): talk, keys, goodbye, and a human.

    What needs a command of Asterisk (playing files, pressing keys) raises AsteriskError. Who is calling is not known.
    """

    reaches_human = True

    def __init__(self, connection: AudioSocketConnection) -> None:
        """``connection`` was offered by ``AudioSocketListener`` as one that nobody invited."""
        self.channel_id = str(connection.uuid)
        """The UUID of the dialplan's choice; ``core show channels concise`` has it beside its channel."""
        self.caller_number = ""
        self.dialled = ""
        self.variables: Mapping[str, str] = {}
        self.assignment: Assignment | None = None
        self.format = connection.format
        """Of the sound, both ways; the only one ``transport`` has."""
        self.transport = DialplanTransport(connection)
        """The only way for this call's sound; it leads nowhere else once its connection is gone."""
        self._connection = connection
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue(_INBOX_SIZE)
        self._left = False
        connection.own(self)

    # -- what the session asks -----------------------------------------------------------------------------

    async def answer(self) -> None:
        """Nothing to do: the application insists on a channel that is answered."""
        self._check_here()

    async def create_leg(self, leg: Leg) -> Mapping[str, str]:
        """Nothing to do: the connection is the leg."""
        self._check_here()
        return {}

    async def join(self, topology: Topology) -> None:
        """Nothing to do."""
        self._check_here()

    async def drop_leg(self) -> None:
        """Nothing to do: without its connection the call would be over."""

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Nothing to do: there is no way to."""

    async def keep_alive(self, seconds: int) -> None:
        """Nothing to do: a dead engine resets its connections, which is as good as a dead-man switch."""

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

    async def play(self, playback_id: str, uri: str) -> None:
        self._refuse("playing files")

    async def pause_playback(self, playback_id: str) -> None:
        self._refuse("playing files")

    async def resume_playback(self, playback_id: str) -> None:
        self._refuse("playing files")

    async def stop_playback(self, playback_id: str) -> None:
        self._refuse("playing files")

    async def send_digits(self, digits: str) -> None:
        self._refuse("pressing keys")

    def consult_leg(self) -> ConsultLeg:
        raise AsteriskError("asking a human first needs ARI")

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        raise AsteriskError("asking a human first needs ARI")

    async def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived``, at last ``CallerHungUp``; or ``MediaLost`` and ``TakenBack`` when it was we who ended the
        connection, because its peer broke the rules or something of ours broke: the dialplan then goes on.
        """
        while (event := await self._inbox.get()) is not None:
            yield event

    async def close(self) -> None:
        """A call that was neither hung up nor handed on goes to the human; may be called more than once."""
        self._leave(None)
        self._connection.reset()

    # -- what the connection tells -------------------------------------------------------------------------

    def digit_received(self, digit: str) -> None:
        self._tell(DigitReceived(digit))

    def connection_ended(self, reason: str, *, failed: bool) -> None:
        if failed:
            self._tell(MediaLost(reason))
        self._leave(TakenBack() if failed else CallerHungUp())

    def _leave(self, last: CallEvent | None) -> None:
        """The call is no longer ours."""
        if not self._left:
            if last is not None:
                self._tell(last)
            self._tell(None)
            self._left = True

    def _tell(self, event: CallEvent | None) -> None:
        if self._left:
            return
        if self._inbox.full():
            lost = self._inbox.get_nowait()
            log.warning("call does not read its events, the oldest is lost", call_id=self.channel_id, lost=lost)
        self._inbox.put_nowait(event)

    def _check_here(self) -> None:
        if self._left or self._connection.lost.is_set():
            raise CallGone(f"call {self.channel_id} left")

    def _refuse(self, what: str) -> None:
        self._check_here()
        raise AsteriskError(f"{what} needs ARI")


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
