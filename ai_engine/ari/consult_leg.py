"""The channel of a human who is asked whether they take a caller, from the first ring until nothing is left."""

import asyncio
from uuid import uuid4

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import CONSULT_PREFIX
from ai_engine.ari.presence import GONE
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import (
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelEvent,
    Dial,
    PlaybackFinished,
    StasisEnd,
    StasisStart,
)
from ai_engine.session.ports import Outcome

log = structlog.get_logger(__name__)

MEETING_CONTEXT, MEETING_EXTENSION = "offhook-attended", "join"
"""The place in the dialplan that bridges a caller with the channel that ``MEETING_VARIABLE`` names."""
MEETING_VARIABLE = "OFFHOOK_CONSULT"

_OTHER_HALF_PREFIX = "other-half-of-"

_DEAD_ENGINE_SECONDS = 5
"""So much longer than we do Asterisk itself lets it ring: it counts only where we no longer do."""
_MEETING_SECONDS = 2.0

_CAUSES = {
    16: Outcome.NO_ANSWER,
    17: Outcome.BUSY,
    18: Outcome.NO_ANSWER,
    19: Outcome.NO_ANSWER,
    20: Outcome.NO_ANSWER,
    21: Outcome.DECLINED,
}
"""Q.850: normal clearing, busy, no response, no answer, absent, rejected."""


class AriConsultLeg:
    """Implements ``ConsultLeg``."""

    def __init__(self, ari: Ari, subscriptions: Subscriptions, caller_id: str, caller_number: str) -> None:
        """``caller_id`` is the id of the caller's channel; the human's telephone shows ``caller_number``."""
        self.channel_id = f"{CONSULT_PREFIX}{uuid4()}"
        self._ari = ari
        self._subscriptions = subscriptions
        self._caller_id = caller_id
        self._caller_number = caller_number
        self._keys: asyncio.Queue[str | None] = asyncio.Queue()
        self._settled = asyncio.Event()
        """They answered, or never will."""
        self._gone = asyncio.Event()
        self._asked = False
        self._dial_status = ""
        self._cause = 0
        self._playback_id = ""

    async def ring(self, context: str, extension: str, seconds: float) -> Outcome | None:
        await self._require_meeting_place()
        # Events may come before the answer.
        self._subscriptions.add(self.channel_id, self._channel_event)
        self._asked = True
        await self._ari.call_extension(
            self.channel_id,
            # Bridge() takes the first channel whose id begins with what it is given, and Asterisk's own choice does.
            f"{_OTHER_HALF_PREFIX}{self.channel_id}",
            f"{extension}@{context}",
            caller_id=self._caller_number,
            seconds=round(seconds) + _DEAD_ENGINE_SECONDS,
            originator=self._caller_id,
        )
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            return Outcome.NO_ANSWER
        return self._why_not(f"{extension}@{context}") if self._gone.is_set() else None

    async def play(self, uri: str) -> None:
        self._playback_id = f"{self.channel_id}-question"
        await self._ari.play(self.channel_id, self._playback_id, uri)

    async def key(self) -> str | None:
        return await self._keys.get()

    async def hush(self) -> None:
        """Stop what plays: until it is over the channel would not go anywhere."""
        if self._playback_id:
            try:
                await self._ari.stop_playback(self._playback_id)
            except AsteriskError as error:
                if error.status != 404:
                    raise

    async def hang_up(self) -> None:
        if not self._asked:
            return
        self._asked = False
        self._subscriptions.drop(self.channel_id)
        try:
            await self._ari.hang_up(self.channel_id)
        except AsteriskError as error:
            if error.status not in GONE:
                log.warning("a human's telephone could not be hung up", channel=self.channel_id, reason=str(error))

    async def meet(self) -> None:
        """The caller was sent to the meeting place: wait until this channel is there too, or hang it up."""
        if not self._asked:
            return
        try:
            async with asyncio.timeout(_MEETING_SECONDS):
                await self._gone.wait()
        except TimeoutError:
            log.error("caller and human did not meet; the dialplan has the caller", channel=self.channel_id)
            await self.hang_up()
        self._subscriptions.drop(self.channel_id)

    # ------------------------------------------------------------------------------------------------------

    async def _require_meeting_place(self) -> None:
        place = f"{MEETING_EXTENSION} in context {MEETING_CONTEXT}"
        try:
            there = await self._ari.has_extension(self._caller_id, MEETING_CONTEXT, MEETING_EXTENSION)
        except AsteriskError as error:
            if error.status != 500:
                raise
            raise AsteriskError(f"cannot tell whether the dialplan has {place}: load func_dialplan.so") from error
        if not there:
            raise AsteriskError(f"the dialplan has no {place} (docs/snippets)")

    def _why_not(self, whom: str) -> Outcome:
        if self._dial_status == "BUSY":
            return Outcome.BUSY
        if self._cause not in _CAUSES:
            raise AsteriskError(f"{whom} could not be called (cause {self._cause})")
        return _CAUSES[self._cause]

    def _channel_event(self, event: ChannelEvent) -> None:
        match event:
            case Dial(_, status):
                self._dial_status = status
            case StasisStart():
                self._settled.set()
            case ChannelDtmfReceived(_, digit):
                self._keys.put_nowait(digit)
            case PlaybackFinished():
                self._playback_id = ""
            case StasisEnd() if self._settled.is_set():
                self._left()
            case ChannelDestroyed(_, cause):
                self._cause = cause
                self._left()

    def _left(self) -> None:
        self._gone.set()
        self._settled.set()
        self._keys.put_nowait(None)
