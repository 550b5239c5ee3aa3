"""What calls have in common that have no channel of ours in Asterisk: their connection is the call."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Protocol

import structlog

from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.ports import ConsultLeg, Leg, Topology

_INBOX_SIZE = 64

log = structlog.get_logger(__name__)


class Connection(Protocol):
    """As far as it says whether the call is still there."""

    lost: asyncio.Event


class BareCall:
    """The part of ``CallControl`` for which there is nothing to do, or no way to do it, and the ``Owner`` of the
    connection. What needs a command of Asterisk raises AsteriskError."""

    needs: ClassVar[str]
    """What it would take."""

    def __init__(self, channel_id: str, connection: Connection) -> None:
        self.channel_id = channel_id
        self._lost = connection.lost
        self._inbox: asyncio.Queue[CallEvent | None] = asyncio.Queue(_INBOX_SIZE)
        self._left = False

    # -- what the session asks -----------------------------------------------------------------------------

    async def answer(self) -> None:
        """Nothing to do: there is a connection because somebody answered."""
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
        """Nothing to do: there is no channel."""

    async def keep_alive(self, seconds: int) -> None:
        """Nothing to do: when we die the connection does, too, which is as good as a dead-man switch."""

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
        raise AsteriskError(f"asking a human first needs {self.needs}")

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        raise AsteriskError(f"asking a human first needs {self.needs}")

    async def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived``, at last ``CallerHungUp``; or ``MediaLost`` and ``TakenBack`` when it was we who ended the
        connection, because its peer broke the rules or something of ours broke.
        """
        while (event := await self._inbox.get()) is not None:
            yield event

    # -- what the connection tells -------------------------------------------------------------------------

    def digit_received(self, digit: str) -> None:
        self._tell(DigitReceived(digit))

    def connection_ended(self, reason: str, *, failed: bool) -> None:
        if failed:
            self._tell(MediaLost(reason))
        self._leave(TakenBack() if failed else CallerHungUp())

    # ------------------------------------------------------------------------------------------------------

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
        if self._left or self._lost.is_set():
            raise CallGone(f"call {self.channel_id} left")

    def _refuse(self, what: str) -> None:
        self._check_here()
        raise AsteriskError(f"{what} needs {self.needs}")
