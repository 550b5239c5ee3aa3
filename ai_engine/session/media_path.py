"""Which way the sound of a call travels: the ways that are left, tried in order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallEvent, FellBack
from ai_engine.errors import AsteriskError, MediaError, PeerError
from ai_engine.session.ports import CallControl, Invitation, Media, Topology, Transport


class Downstream(StrEnum):
    """How the agent's voice reaches the caller."""

    STREAM = "stream"
    """Frame by frame over the media connection."""
    FILE = "file"
    """As files that Asterisk plays."""


@dataclass(frozen=True, slots=True)
class Way:
    """A transport, and what the agent's voice does with it."""

    transport: Transport
    downstream: Downstream

    def __str__(self) -> str:
        return f"{self.transport.name}/{self.downstream}"

    @property
    def topology(self) -> Topology:
        return Topology.LISTENING if self.downstream is Downstream.FILE else self.transport.topology


def ways(transports: Sequence[Transport], preferred: Downstream, *, files: bool) -> list[Way]:
    """Every way, best first: the transports in their order, those of the preferred downstream before the others.

    ``files``: whether there is anywhere to put files. Where files are preferred and possible, streams come last.
    """
    kinds = sorted(Downstream, key=lambda kind: kind is not preferred)
    return [Way(transport, kind) for kind in kinds for transport in transports if files or kind is Downstream.STREAM]


_AGAIN_SECONDS = 1.0
"""Until every way is tried once more, for a call that had sound before."""


class NoWay(PeerError):
    """Every way was tried."""


class MediaPath:
    """The one media connection of a call, opened, and opened anew over another way when it fails."""

    def __init__(
        self,
        control: CallControl,
        ways: Sequence[Way],
        format: AudioFormat,
        seconds: float,
        happened: Callable[[CallEvent], None],
    ) -> None:
        """``seconds`` is how long one way may take."""
        self._control = control
        self._all = list(ways)
        self._left = list(ways)
        self._format = format
        self._seconds = seconds
        self._happened = happened
        self._invitation: Invitation | None = None
        self._media: Media | None = None
        self.way: Way | None = None
        """The one in use."""

    @property
    def leg_uuid(self) -> UUID | None:
        """Of the leg that was asked for last; its channel's id and the transport's log lines end in it."""
        return None if self._invitation is None else self._invitation.leg.uuid

    async def open(self) -> Media:
        """Connect over the first way that works. Raises NoWay, CallGone."""
        while self._left:
            way = self._left[0]
            try:
                async with asyncio.timeout(self._seconds):
                    self._media = await self._connect(way)
            except TimeoutError:
                # It would take as long again with files: a caller who hears nothing does not wait that long.
                self._left = [other for other in self._left if other.transport is not way.transport]
                await self._give_up(way, f"no media connection within {self._seconds:g} s")
            except (AsteriskError, PeerError, MediaError) as error:
                await self._give_up(way, str(error))
            else:
                self.way = way
                return self._media
        raise NoWay("there is no other way for sound to travel")

    async def reopen(self, reason: str, *, voice_failed: bool = False) -> Media:
        """The way in use failed. A lost stream goes on as files, over another transport if there is one; with
        ``voice_failed`` no file is tried again.

        Raises NoWay, CallGone.
        """
        assert self.way is not None
        broken = None if voice_failed else self.way.transport
        self._left.sort(key=lambda way: (way.downstream is not Downstream.FILE, way.transport is broken))
        if voice_failed:
            self._left = [way for way in self._left if way.downstream is not Downstream.FILE]
        await self._give_up(self.way, reason)
        try:
            return await self.open()
        except NoWay:
            # All at once means that Asterisk is away for a moment, or that we are.
            await asyncio.sleep(_AGAIN_SECONDS)
            self._left = [way for way in self._all if not (voice_failed and way.downstream is Downstream.FILE)]
            return await self.open()

    def close(self) -> None:
        """End the connection; nobody may connect any more."""
        if self._media is not None:
            self._media.close()
        if self._invitation is not None:
            self._invitation.withdraw()

    async def _connect(self, way: Way) -> Media:
        self._invitation = invitation = way.transport.invite(self._format)
        facts = await self._control.create_leg(invitation.leg)
        media = await invitation.connected(facts)
        try:
            await self._control.join(way.topology)
        except BaseException:
            media.close()
            raise
        return media

    async def _give_up(self, way: Way, reason: str) -> None:
        self._left = [other for other in self._left if other != way]
        self.close()
        self._media = None
        await self._control.drop_leg()
        self._happened(FellBack(str(way), reason))
