"""A call that reaches us as a media stream (Twilio, or the page of the mock): its socket is the call."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from uuid import uuid4

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import AsteriskError, PeerError
from ai_engine.jobs.ports import Assignment, Attempt, CannotCall
from ai_engine.session.ports import Leg, Line, Media, Topology
from ai_engine.transports.bare_call import BareCall
from ai_engine.transports.codecs import codec
from ai_engine.transports.media_stream_connection import NAME, MediaStreamConnection


class MediaStreamCall(BareCall):
    """One such call (a ``CallControl``): talk, keys and goodbye."""

    needs = "a call of our own Asterisk"

    def __init__(
        self, connection: MediaStreamConnection, attempt: Attempt, hand_over: Callable[[], Future[None]] | None = None
    ) -> None:
        """``hand_over`` is that of ``StreamDoor.open``."""
        super().__init__(attempt.key, connection)
        self.caller_number = attempt.to
        """Who is at the other end; it was we who dialled."""
        self.dialled = attempt.to
        self.assignment: Assignment | None = attempt.assignment
        self.variables: Mapping[str, str] = {"agent": attempt.assignment.agent}
        self.format = connection.format
        """Of the sound, both ways; the only one ``transport`` has."""
        self.transport = MediaStreamTransport(connection)
        """The only way for this call's sound."""
        self._connection = connection
        self._hand_over = hand_over
        connection.own(self)

    @property
    def reaches_human(self) -> bool:
        return self._hand_over is not None

    async def hang_up(self) -> None:
        """End the call when the last words have been heard."""
        self._check_here()
        await self._connection.played()
        self._connection.close()

    async def transfer(self, context: str, extension: str) -> None:
        """Have the network connect the caller with a human when the last words have been heard; of ``context`` and
        ``extension`` it does not know. ``events()`` then ends without an event. Raises AsteriskError when there is
        nobody, and from then on there is nobody."""
        self._check_here()
        await self._connection.played()
        if self._hand_over is None:
            self._refuse("handing the caller to a human")
            return
        try:
            await asyncio.wrap_future(self._hand_over())
        except CannotCall as error:
            self._hand_over = None
            self._check_here()
            raise AsteriskError(str(error)) from error
        self._leave(None)

    async def close(self) -> None:
        """The network ends the call; may be called more than once."""
        self._leave(None)
        self._connection.close()


class MediaStreamTransport:
    """The stream of one ``MediaStreamCall``, which can be had once (a ``Transport``)."""

    name = NAME
    topology = Topology.BRIDGED

    def __init__(self, connection: MediaStreamConnection) -> None:
        self._connection = connection
        self._taken = False

    def invite(self, format: AudioFormat) -> "MediaStreamInvitation":
        """``connected`` raises PeerError for any other format than 8 kHz, and for every invitation but the first."""
        objection = ""
        if self._taken:
            objection = "a call has one media stream, and that was in use already"
        elif format != self._connection.format:
            objection = f"a media stream has {self._connection.format.rate} Hz, not {format.rate} Hz"
        self._taken = True
        return MediaStreamInvitation(self._connection, objection)


class MediaStreamInvitation:
    """A stream that is there already (an ``Invitation``)."""

    def __init__(self, connection: MediaStreamConnection, objection: str) -> None:
        self.leg = Leg(
            uuid=uuid4(),
            codec=codec(connection.format),
            external_host="",
            encapsulation="none",
            transport="websocket",
            data=connection.stream_sid,
        )
        self._connection = connection
        self._objection = objection
        self._media: MediaStreamMedia | None = None

    async def connected(self, facts: Mapping[str, str]) -> Media:
        """At once. Raises PeerError when the stream is gone, or not to be had."""
        if self._objection or self._connection.lost.is_set():
            raise PeerError(self._objection or "the media stream is gone")
        self._media = MediaStreamMedia(self._connection)
        return self._media

    def withdraw(self) -> None:
        """As ``MediaStreamMedia.close``."""
        self._objection = self._objection or "the invitation was withdrawn"
        if self._media is not None:
            self._media.close()


class MediaStreamMedia:
    """The sound of a stream, whose end is for its ``MediaStreamCall`` to say (a ``Media``)."""

    transport = NAME

    def __init__(self, connection: MediaStreamConnection) -> None:
        self.format = connection.format
        self._connection = connection
        self._closed = False

    @property
    def lag_ms(self) -> float:
        return self._connection.lag_ms

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; of keys and the end its call hears instead."""
        if not self._closed:
            self._connection.attach(line)

    def flush(self) -> None:
        if not self._closed:
            self._connection.flush()

    def close(self) -> None:
        """Silence from now on: the call is not over yet."""
        if not self._closed:
            self._closed = True
            self._connection.detach()
