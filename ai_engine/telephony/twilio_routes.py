"""What Twilio asks of us over HTTP: what to do with a call that was answered, and to hear how far calls have come."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import structlog
from fastapi import Request, Response

from ai_engine.jobs.ports import Attempt, RouteContext, SignedRequest, Urls
from ai_engine.jobs.settings import Server
from ai_engine.jobs.status import Progress, Status
from ai_engine.telephony.incoming import Incoming, TooLarge, public_base, read
from ai_engine.telephony.twilio_calls import Known, KnownCalls, Replays
from ai_engine.telephony.twilio_signature import SIGNATURE, form_of
from ai_engine.telephony.twilio_twiml import HANG_UP

log = structlog.get_logger(__name__)


class Network(Protocol):
    """What the routes ask of ``TwilioTelephony``."""

    id: str
    counters: Counter[str]
    known: KnownCalls
    replays: Replays

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool: ...

    def map_status(self, payload: Mapping[str, str]) -> Progress | None: ...

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str: ...


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class TwilioRoutes:
    """``POST /voice`` and ``POST /status``."""

    def __init__(self, network: Network, server: Server, context: RouteContext) -> None:
        self._network = network
        self._server = server
        self._context = context
        self._counters = network.counters

    async def voice(self, request: Request) -> Response:
        """401: not signed by Twilio; 413; 500: we have no public address; else TwiML, which hangs up on a call that is
        not ours, or that somebody has hung up meanwhile."""
        if not self._context.urls().public:
            return Response("no public address (call_agent.server.public_base_url)", 500)
        try:
            incoming = await self._genuine(request)
        except _Refused as refused:
            return Response(str(refused), refused.status)
        return Response(await self._answered(incoming), media_type="text/xml")

    async def status(self, request: Request) -> Response:
        """401: not signed by Twilio; 413; else 200, also for calls that we do not know."""
        try:
            incoming = await self._genuine(request)
        except _Refused as refused:
            return Response(str(refused), refused.status)
        attempt = self._attempt(incoming)
        if attempt is None:
            self._counters["unknown_calls"] += 1
        else:
            known = self._network.known.of(attempt.key)
            async with known.lock:
                await self._take(incoming, attempt, known)
        return Response()

    # ----------------------------------------------------------------------------------------------------------

    async def _genuine(self, request: Request) -> Incoming:
        """Raises _Refused."""
        try:
            incoming = await read(request, self._server.body_bytes)
        except TooLarge:
            self._counters["too_large"] += 1
            raise _Refused(413, "too large") from None
        if _query(incoming).get("provider", self._network.id) != self._network.id:
            raise _Refused(404, "another provider's call")
        peer = request.client.host if request.client else ""
        base = public_base(self._server, peer, incoming.headers, self._context.urls().public)
        if not self._network.validate_request(incoming, base):
            self._counters["invalid_signatures"] += 1
            log.warning("a request that Twilio did not sign", peer=peer, path=request.url.path)
            raise _Refused(401, "the signature is not valid")
        return incoming

    def _attempt(self, incoming: Incoming) -> Attempt | None:
        """The one that the query names; None where it is over, or not the latest."""
        query = _query(incoming)
        attempt = self._context.find(query.get("callId", ""))
        named = query.get("attempt", "")
        return attempt if attempt is not None and named in ("", str(attempt.number)) else None

    async def _answered(self, incoming: Incoming) -> str:
        attempt = self._attempt(incoming)
        if attempt is None:
            self._counters["unknown_calls"] += 1
            return HANG_UP
        known = self._network.known.of(attempt.key)
        sid = dict(form_of(incoming)).get("CallSid", "")
        if not self._is_ours(known, sid) or known.over or known.unwanted:
            return HANG_UP
        known.answered = True
        try:
            await self._report(attempt, Progress(Status.IN_PROGRESS, sid))
        except Exception:  # noqa: BLE001 - somebody is on the line, and the stream will bring the same news
            log.exception("news of a call could not be kept", call_id=attempt.call_id)
        return self._network.build_voice_response(attempt, self._context.urls())

    async def _take(self, incoming: Incoming, attempt: Attempt, known: Known) -> None:
        form = dict(form_of(incoming))
        if not self._is_ours(known, form.get("CallSid", "")):
            return
        replay = _mark_of(incoming), form.get("SequenceNumber", "")
        if self._network.replays.heard(*replay):
            self._counters["replays"] += 1
            return
        news = self._network.map_status(form)
        if news is None:
            return
        if known.over or (news.sequence is not None and news.sequence <= known.sequence):
            self._counters["stale"] += 1
            return
        try:
            await self._report(attempt, news)
        except BaseException:
            self._network.replays.forget(*replay)
            raise
        self._counters["news"] += 1
        known.sequence = known.sequence if news.sequence is None else news.sequence
        known.answered |= news.status is Status.IN_PROGRESS
        known.over = news.status.over

    def _is_ours(self, known: Known, sid: str) -> bool:
        """Whether the call is the attempt's: the one we were told when we dialled, or the first we hear of."""
        if not sid or known.sid not in ("", sid):
            self._counters["foreign"] += 1
            log.warning("news of a call that is not the attempt's", call_sid=sid[:64], ours=known.sid)
            return False
        known.sid = sid
        return True

    async def _report(self, attempt: Attempt, news: Progress) -> None:
        await asyncio.to_thread(self._context.report, attempt.call_id, attempt.number, news)


def _query(incoming: Incoming) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(incoming.url).query, keep_blank_values=True))


def _mark_of(incoming: Incoming) -> str:
    """What two requests share only when they are one: the signature, or without one the same by other means."""
    whole = incoming.url.encode(errors="replace") + b"\0" + incoming.body
    return incoming.headers.get(SIGNATURE) or hashlib.sha256(whole).hexdigest()
