"""A call that reaches us as a media stream (Twilio, or the page of the mock): its socket is the call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from uuid import uuid4

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone, PeerError
from ai_engine.jobs.ports import Assignment, Attempt, CannotCall
from ai_engine.session.ports import ConsultLeg, Leg, Line, Media, Topology
from ai_engine.transports.codecs import codec
from ai_engine.transports.media_stream_connection import NAME, MediaStreamConnection

_INBOX_SIZE = 64

log = structlog.get_logger(__name__)


class MediaStreamCall:
    """One such call (a ``CallControl``, and the ``Owner`` of its connection): talk, keys and goodbye.

    It has no channel in Asterisk: whatever needs one raises AsteriskError.
    """

    def __init__(
        self, connection: MediaStreamConnection, attempt: Attempt, hand_over: Callable[[], Future[None]] | None = None
    ) -> None:
        """``hand_over`` is that of ``StreamDoor.open``."""
        self.channel_id = attempt.key
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
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue(_INBOX_SIZE)
        self._left = False
        connection.own(self)

    @property
    def reaches_human(self) -> bool:
        return self._hand_over is not None

    # -- what the session asks -----------------------------------------------------------------------------

    async def answer(self) -> None:
        """Nothing to do: there is a stream because somebody answered."""
        self._check_here()

    async def create_leg(self, leg: Leg) -> Mapping[str, str]:
        """Nothing to do: the stream is the leg."""
        self._check_here()
        return {}

    async def join(self, topology: Topology) -> None:
        """Nothing to do."""
        self._check_here()

    async def drop_leg(self) -> None:
        """Nothing to do: without its stream the call would be over."""

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Nothing to do: there is no channel."""

    async def keep_alive(self, seconds: int) -> None:
        """Nothing to do: when we die the socket closes, and the network ends the call."""

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
        raise AsteriskError("asking a human first needs a call of our own Asterisk")

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        raise AsteriskError("asking a human first needs a call of our own Asterisk")

    async def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived``, at last ``CallerHungUp``; or ``MediaLost`` and ``TakenBack`` when something of ours broke:
        the network then ends the call.
        """
        while (event := await self._inbox.get()) is not None:
            yield event

    async def close(self) -> None:
        """The network ends the call; may be called more than once."""
        self._leave(None)
        self._connection.close()

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
            log.warning("call does not read its events, the oldest is lost", channel=self.channel_id, lost=lost)
        self._inbox.put_nowait(event)

    def _check_here(self) -> None:
        if self._left or self._connection.lost.is_set():
            raise CallGone(f"call {self.channel_id} left")

    def _refuse(self, what: str) -> None:
        self._check_here()
        raise AsteriskError(f"{what} needs a call of our own Asterisk")


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
