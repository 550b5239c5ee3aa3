"""Calls placed by Twilio."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter

from ai_engine.jobs.ports import (
    Attempt,
    AttemptLost,
    CannotCall,
    RouteContext,
    SignedRequest,
    Started,
    Urls,
)
from ai_engine.jobs.settings import Server, Twilio
from ai_engine.jobs.status import HANDED_OVER, Progress, Status
from ai_engine.protocol.media_streams import StreamStarted
from ai_engine.telephony.streams import PATH, MediaSockets, StreamDoor, add_stream_route
from ai_engine.telephony.twilio_calls import Known, KnownCalls, Replays
from ai_engine.telephony.twilio_client import TwilioCall, TwilioClient, TwilioError
from ai_engine.telephony.twilio_routes import TwilioRoutes
from ai_engine.telephony.twilio_signature import valid
from ai_engine.telephony.twilio_status import progress_of
from ai_engine.telephony.twilio_twiml import connect_number, connect_stream

_EVENTS = ("initiated", "ringing", "answered", "completed")

_LONGEST_RING = 600
_LONGEST_CALL = 4 * 3600
_GOODBYE_SECONDS = 60
"""Beyond the longest conversation Twilio ends a call by itself: we may have died meanwhile."""

_SKEW = timedelta(seconds=60)
"""Between Twilio's clock and ours."""
_RECENT = timedelta(minutes=5)
"""A call that ended so long ago may be the one that was being dialled when the engine crashed."""

_LOOK_SECONDS = 10.0
_TRIES = 3
_CALL_NOT_IN_PROGRESS = 21220

log = structlog.get_logger(__name__)


class TwilioTelephony:
    """Implements ``Telephony``; everything is called on the office's event loop, as the port says."""

    id = "twilio"

    def __init__(
        self,
        settings: Twilio,
        server: Server,
        door: StreamDoor,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """``door`` takes the sound of calls. ``now`` is the time of day, ``clock`` counts seconds.

        A call of before a restart is looked at every ``look_seconds``.
        """
        self.counters: Counter[str] = Counter()
        """``dialled``, ``adopted``, and of requests: ``invalid_signatures``, ``too_large``, ``unknown_calls``,
        ``foreign`` (of a call that is not the attempt's), ``replays``, ``stale``, ``news``."""
        self.replays = Replays(clock)
        self.known = KnownCalls()
        self.streams: MediaSockets | None = None
        """Once the routes are registered."""
        self._settings = settings
        self._server = server
        self._door = door
        self._now = now
        self._look_seconds = look_seconds
        self._client = TwilioClient(settings)
        self._context: RouteContext | None = None
        self._looking: set[asyncio.Task[None]] = set()

    # -- Telephony -------------------------------------------------------------------------------------------

    async def prepare_call(self, attempt: Attempt) -> str:
        """Nothing to do: Twilio tells the id of a call when it dials."""
        return ""

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        if not urls.public:
            raise CannotCall(
                "Twilio has to reach this server: set call_agent.server.public_base_url, or let a tunnel be opened"
            )
        known = self.known.of(attempt.key)
        known.watched = True
        call = await self._found(attempt, known, self._now() - _RECENT) if again else None
        if call is None and not known.sid:
            if known.unwanted:
                raise CannotCall("it was hung up before it was dialled", retryable=False)
            call = await self._dial(attempt, known, urls)
        if call is not None:
            known.sid = call.sid
        if known.unwanted:
            await self.end_call(attempt, known.sid)
        return Started(known.sid)

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        known = self.known.of(attempt.key)
        if known.watched or not provider_call_id:
            return
        known.watched = True
        known.sid = provider_call_id
        if not await self._look(attempt, known):
            task = asyncio.create_task(self._keep_looking(attempt, known), name=f"watch {attempt.key}")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        known = self.known.of(attempt.key)
        sid = provider_call_id or known.sid
        if not sid:
            known.unwanted = True
        if not sid or known.over or known.handed_over:
            return
        try:
            await self._end(sid, known)
        except TwilioError as error:
            log.error("a call could not be hung up", call_id=attempt.call_id, call_sid=sid, error=str(error))

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str:
        scheme, _, rest = urls.public.rstrip("/").partition("://")
        url = f"{'ws' if scheme == 'http' else 'wss'}://{rest}{PATH}"
        return connect_stream(url, {"callId": attempt.call_id, "token": attempt.token})

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool:
        if not self._settings.validate_signature:
            return True
        token, key = self._settings.auth_token, self._settings.signature_key
        return valid(request, public_base_url, token.get_secret_value(), key.get_secret_value())

    def map_status(self, payload: Mapping[str, str]) -> Progress | None:
        return progress_of(payload)

    def register_routes(self, router: APIRouter, context: RouteContext) -> None:
        """``POST /voice``, ``POST /status`` and the WebSocket ``/voice/stream``."""
        self._context = context
        routes = TwilioRoutes(self, self._server, context)
        router.add_api_route("/voice", routes.voice, methods=["POST"], include_in_schema=False)
        router.add_api_route("/status", routes.status, methods=["POST"], include_in_schema=False)
        self.streams = add_stream_route(
            router,
            context,
            self._door,
            self._server,
            self.validate_request,
            admit=self._owns,
            ended=self._stream_ended,
            hand_over=partial(self._hand_over, human) if (human := self._settings.human_number) else None,
        )

    async def close(self) -> None:
        """Look after no call any more; they stay as they are."""
        looking = list(self._looking)
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await self._client.close()

    # -- dialling --------------------------------------------------------------------------------------------

    async def _dial(self, attempt: Attempt, known: Known, urls: Urls) -> TwilioCall:
        began = self._now()
        try:
            call = await self._client.create(self._fields(attempt, urls))
        except TwilioError as error:
            found = await self._found(attempt, known, began - _SKEW) if error.unknown else None
            if found is None:
                raise CannotCall(str(error), retryable=error.temporary) from None
            return found
        self.counters["dialled"] += 1
        return call

    def _fields(self, attempt: Attempt, urls: Urls) -> list[tuple[str, str]]:
        query = urlencode({"provider": self.id, "callId": attempt.call_id, "attempt": attempt.number})
        status = f"{urls.public.rstrip('/')}/status?{query}"
        longest = ceil(attempt.assignment.max_seconds) + _GOODBYE_SECONDS
        fields = [
            ("To", attempt.to),
            ("From", self._settings.from_number),
            ("Url", f"{urls.public.rstrip('/')}/voice?{query}"),
            ("Method", "POST"),
            ("StatusCallback", status),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in _EVENTS),
            ("Timeout", str(min(max(ceil(attempt.ring_seconds), 1), _LONGEST_RING))),
            ("TimeLimit", str(min(longest, _LONGEST_CALL))),
        ]
        if self._settings.answering_machine:
            # To leave a message, the machine must have said its own.
            fields += [
                ("MachineDetection", "DetectMessageEnd" if attempt.assignment.message else "Enable"),
                ("AsyncAmd", "true"),
                ("AsyncAmdStatusCallback", status),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]
        return fields

    async def _found(self, attempt: Attempt, known: Known, since: datetime) -> TwilioCall | None:
        """The call that was dialled for the attempt although nobody told us; None: none was.

        Twilio lets nobody tag a call, so it is the newest one to that number that is no other attempt's, and lives or
        was made after ``since``. Raises AttemptLost when it is over, CannotCall when Twilio does not say.
        """
        if known.over:
            raise AttemptLost("the call was dialled before, and is over")
        if known.sid:
            return None
        try:
            calls = await self._client.latest(attempt.to, self._settings.from_number)
        except TwilioError as error:
            raise CannotCall(f"whether it was dialled before is not known: {error}") from None
        others = self.known.sids(but=attempt.key)
        ours = [call for call in calls if call.sid not in others and call.direction in ("", "outbound-api")]
        living = [call for call in ours if not _over(call)]
        recent = [call for call in ours if call.created is not None and call.created >= since]
        if not living and recent:
            raise AttemptLost(f"the call was dialled before, and is over: {recent[0].status}")
        if living:
            self.counters["adopted"] += 1
            log.warning("a call that was dialled before is taken up", attempt=attempt.key, call_sid=living[0].sid)
        return living[0] if living else None

    # -- afterwards ------------------------------------------------------------------------------------------

    async def _end(self, sid: str, known: Known) -> None:
        """Raises TwilioError."""
        for word in ("completed",) if known.answered else ("canceled", "completed"):
            with suppress(_NotInProgress):
                if _over(await self._insist(partial(self._client.update, sid, word))):
                    return

    async def _insist(self, update: Callable[[], Awaitable[TwilioCall]]) -> TwilioCall:
        """Raises TwilioError, and _NotInProgress for a call that is over, or answered where it was to be canceled."""
        for tries in range(_TRIES):
            try:
                return await update()
            except TwilioError as error:
                if error.status == 404 or error.code == _CALL_NOT_IN_PROGRESS:
                    raise _NotInProgress from None
                if not error.temporary or tries == _TRIES - 1:
                    raise
            await asyncio.sleep(0.5 * (tries + 1))
        raise AssertionError

    async def _keep_looking(self, attempt: Attempt, known: Known) -> None:
        """Until it is over: Twilio's callbacks may go to an address that we had before the restart."""
        while not known.over:
            await asyncio.sleep(self._look_seconds)
            if known.over or await self._look(attempt, known):
                return

    async def _look(self, attempt: Attempt, known: Known) -> bool:
        """Report what Twilio says of the call; whether it is over."""
        try:
            call = await self._client.fetch(known.sid)
        except TwilioError as error:
            if error.status != 404:
                log.warning("a call could not be looked at", attempt=attempt.key, error=str(error))
                return False
            news: Progress | None = Progress(Status.FAILED, known.sid, reason="Twilio knows no such call")
        else:
            fields = {"CallSid": known.sid, "CallStatus": call.status, "AnsweredBy": call.answered_by}
            news = progress_of(fields)
        async with known.lock:
            if news is None or known.over or self._context is None:
                return known.over
            if news.status is not Status.DIALING:
                await asyncio.to_thread(self._context.report, attempt.call_id, attempt.number, news)
            known.answered |= news.status is Status.IN_PROGRESS
            known.over = news.status.over
        return known.over

    def _owns(self, attempt: Attempt, start: StreamStarted) -> bool:
        known = self.known.of(attempt.key)
        return start.account_sid == self._settings.account_sid and known.sid in ("", start.call_sid)

    async def _hand_over(self, human: str, attempt: Attempt, start: StreamStarted) -> None:
        """Have Twilio connect the callee with the number ``human``: none of our calls any more. Raises CannotCall."""
        known = self.known.of(attempt.key)
        twiml = connect_number(human, self._settings.from_number)
        try:
            await self._insist(partial(self._client.redirect, start.call_sid, twiml, _LONGEST_CALL))
        except _NotInProgress:
            raise CannotCall("the call is over") from None
        except TwilioError as error:
            raise CannotCall(f"no human can be reached: {error}") from None
        known.handed_over = True
        async with known.lock:
            await self._tell_handed_over(attempt, known, start.call_sid)

    async def _tell_handed_over(self, attempt: Attempt, known: Known, sid: str) -> None:
        assert self._context is not None
        try:
            news = Progress(Status.COMPLETED, sid, reason=HANDED_OVER)
            await asyncio.to_thread(self._context.report, attempt.call_id, attempt.number, news)
        except Exception:  # noqa: BLE001 - a human has the call, and Twilio will tell of its end
            log.exception("news of a call could not be kept", call_id=attempt.call_id)
        else:
            known.over = True

    async def _stream_ended(self, attempt: Attempt, start: StreamStarted, by_us: bool) -> None:
        if by_us:
            await self.end_call(attempt, start.call_sid)


class _NotInProgress(Exception):
    """Twilio cannot do that to a call in this state."""


def _over(call: TwilioCall) -> bool:
    news = progress_of({"CallStatus": call.status})
    return news is not None and news.status.over
