"""Command of one caller's channel: answer, join with a media leg, play, keep alive, hand on, hang up."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.consult_leg import MEETING_CONTEXT, MEETING_EXTENSION, MEETING_VARIABLE, AriConsultLeg
from ai_engine.ari.media_leg import MediaLeg
from ai_engine.ari.playbacks import Playbacks
from ai_engine.ari.presence import Presence
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.call.events import (
    CallerHeld,
    CallerHungUp,
    CallerUnheld,
    CallEvent,
    DigitReceived,
    MediaLost,
    TakenBack,
)
from ai_engine.errors import AsteriskError
from ai_engine.jobs.ports import Assignment
from ai_engine.protocol.ari import (
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    ChannelHangupRequest,
    ChannelHold,
    ChannelUnhold,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    is_wideband,
)
from ai_engine.session.ports import ConsultLeg, Leg, Topology

log = structlog.get_logger(__name__)

_INBOX_SIZE = 64


class AriCallControl:
    """One caller in our application, from StasisStart until it leaves. Implements ``CallControl``."""

    reaches_human = True

    def __init__(
        self,
        ari: Ari,
        subscriptions: Subscriptions,
        channel: Channel,
        variables: Mapping[str, str],
        *,
        orphan: bool = False,
        assignment: Assignment | None = None,
    ) -> None:
        self.assignment = assignment
        self.channel_id = channel.id
        self.caller_number = channel.caller_number
        self.dialled = channel.dialled
        self.variables = variables
        self.orphan = orphan
        """The caller was found waiting in the application: an earlier engine, or connection, left them there."""
        self._ari = ari
        self._subscriptions = subscriptions
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue(_INBOX_SIZE)
        self._caller = Presence(channel.id)
        self._playbacks = Playbacks(ari, subscriptions, self._caller)
        self._leg: MediaLeg | None = None
        self._consult_legs: list[AriConsultLeg] = []
        self._meeting: AriConsultLeg | None = None
        """The leg the caller is to meet."""
        self._transferring = False
        self._hangup_cause: int | None = None
        self.heard_at = channel.id
        """Id of the channel that carries both sides of the call; empty when the caller has left."""
        self.when_moved: set[Callable[[], None]] = set()
        """Called when ``heard_at`` may have changed."""
        self._log = log.bind(channel=channel.id)
        subscriptions.add(channel.id, self._caller_event)

    # -- the call ------------------------------------------------------------------------------------------

    async def answer(self) -> None:
        async with self._caller.required():
            await self._ari.answer(self.channel_id)

    async def wideband(self) -> bool:
        """Whether the caller's own codec carries more than 4 kHz; False where Asterisk does not say. Never raises."""
        try:
            return is_wideband(await self._ari.variable(self.channel_id, "CHANNEL(audionativeformat)"))
        except AsteriskError:
            return False

    async def set_variables(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            async with self._caller.required():
                if self._playbacks:
                    await self._ari.set_variable_at_once(self.channel_id, name, value)
                else:
                    await self._ari.set_variable(self.channel_id, name, value)

    async def keep_alive(self, seconds: int) -> None:
        await self.set_variables({"TIMEOUT(absolute)": str(seconds)})

    async def send_digits(self, digits: str) -> None:
        """Press keys (``0-9*#A-D``) towards the caller; where files play, after those asked for before."""
        async with self._caller.required():
            await self._ari.send_digits(self.channel_id, digits)

    async def transfer(self, context: str, extension: str) -> None:
        """Send the caller to ``context,extension,1``; ``events()`` then ends without an event."""
        self._transferring = True
        try:
            # Until all that plays is over the caller would not go.
            await self._playbacks.stop_all()
            async with self._caller.required():
                await self._ari.continue_in_dialplan(self.channel_id, context, extension)
        except AsteriskError:
            self._transferring = False
            raise

    async def hang_up(self) -> None:
        async with self._caller.required():
            await self._ari.hang_up(self.channel_id)

    async def events(self) -> AsyncIterator[CallEvent]:
        while (event := await self._inbox.get()) is not None:
            yield event

    async def close(self) -> None:
        """Release leg, bridge and snoop, stop what plays, and listen no more; the caller is left where they are."""
        try:
            if not self._caller.left:
                await self._playbacks.stop_all()
        finally:
            self._leave(None)
        await self.drop_leg()
        for leg in self._consult_legs:
            await (leg.meet() if leg is self._meeting and self._transferring else leg.hang_up())

    # -- a human who is asked first ----------------------------------------------------------------------------

    def consult_leg(self) -> ConsultLeg:
        leg = AriConsultLeg(self._ari, self._subscriptions, self.channel_id, self.caller_number)
        self._consult_legs.append(leg)
        return leg

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        assert isinstance(leg, AriConsultLeg)
        await leg.hush()
        await self.set_variables({MEETING_VARIABLE: leg.channel_id})
        self._meeting = leg
        return MEETING_CONTEXT, MEETING_EXTENSION

    # -- the media leg -------------------------------------------------------------------------------------

    async def create_leg(self, leg: Leg) -> Mapping[str, str]:
        """Have Asterisk create the media leg, in place of an earlier one."""
        await self.drop_leg()
        self._leg = MediaLeg(self._ari, self._subscriptions, self._caller, leg, self._lost)
        return await self._leg.create()

    async def join(self, topology: Topology) -> None:
        """Wait until the leg is in our application, and join it to the caller.

        How long that may take is the caller's to say, by cancelling; ``drop_leg`` then releases it all.
        """
        if self._leg is None:
            raise AsteriskError("there is no media leg to join")
        if topology is not Topology.LISTENING:
            # A caller to whom a file plays enters no bridge before its end.
            await self._playbacks.stop_all()
        if self.orphan:
            # The silence under an earlier engine's whisper goes on, and drowns the sound of a bridge.
            async with self._caller.required():
                await self._ari.stop_silence(self.channel_id)
        await self._leg.join(topology)
        # What is whispered to a channel is not heard on it; a leg hears the caller, and we hear what it says.
        self._move_sound(self._leg.channel_id if topology is Topology.WHISPERED else self.channel_id)

    async def drop_leg(self) -> None:
        if self._leg is not None:
            await self._leg.drop()
            self._leg = None

    def _lost(self, reason: str) -> None:
        # A caller who leaves takes the channel that hears them along, a moment before we are told.
        if self._hangup_cause is None and not self._transferring and not self._caller.left:
            self._tell(MediaLost(reason))

    # -- files ---------------------------------------------------------------------------------------------

    async def play(self, playback_id: str, uri: str) -> None:
        await self._playbacks.play(playback_id, uri)

    async def pause_playback(self, playback_id: str) -> None:
        await self._playbacks.pause(playback_id)

    async def resume_playback(self, playback_id: str) -> None:
        await self._playbacks.resume(playback_id)

    async def stop_playback(self, playback_id: str) -> None:
        await self._playbacks.stop(playback_id)

    # -- the caller ----------------------------------------------------------------------------------------

    def _caller_event(self, event: ChannelEvent) -> None:
        match event:
            case ChannelDtmfReceived(_, digit):
                self._tell(DigitReceived(digit))
            case ChannelHold():
                self._tell(CallerHeld())
            case ChannelUnhold():
                self._tell(CallerUnheld())
            case PlaybackStarted():
                self._playbacks.begun(event)
            case PlaybackFinished():
                if ended := self._playbacks.finished(event):
                    self._tell(ended)
            case ChannelHangupRequest(_, cause):
                self._hangup_cause = cause
            case StasisEnd() if self._hangup_cause is not None:
                self._leave(CallerHungUp(self._hangup_cause))
            case StasisEnd():
                self._leave(None if self._transferring else TakenBack())
            case ChannelDestroyed(_, cause):
                self._leave(CallerHungUp(cause))

    def _tell(self, event: CallEvent | None) -> None:
        if self._inbox.full():
            self._log.warning("call does not read its events, the oldest is lost", lost=self._inbox.get_nowait())
        self._inbox.put_nowait(event)

    def _move_sound(self, heard_at: str) -> None:
        self.heard_at = heard_at
        for tell in tuple(self.when_moved):
            tell()

    def _leave(self, last: CallEvent | None) -> None:
        """The caller is no longer ours: whoever waits for the leg, or for events, learns it now."""
        if self._caller.left:
            return
        self._caller.end()
        self._subscriptions.drop(self.channel_id)
        self._playbacks.forget_all()
        if self._leg is not None:
            self._leg.abandon()
        self._move_sound("")
        if last is not None:
            self._tell(last)
        self._tell(None)
