"""A telephone network whose only telephone is a page in the browser."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, Protocol
from urllib.parse import urlencode

from fastapi import APIRouter

from ai_engine.jobs.ports import Attempt, CallDesk, CannotCall, RouteContext, SignedRequest, Started, Urls
from ai_engine.jobs.settings import Server
from ai_engine.jobs.status import Progress, Status, normal
from ai_engine.protocol.media_streams import StreamStarted
from ai_engine.telephony.mock_routes import add_mock_routes
from ai_engine.telephony.streams import NORMAL, MediaSockets, StreamDoor, StreamLeg, add_stream_route

_PATIENCE = 3.0
"""It rings so many times as long as a real telephone: somebody has to open the page first."""

_CALLS_KEPT = 2000
_LINES_KEPT = 2000

_NEWS = {
    "queued": Progress(Status.DIALING),
    "initiated": Progress(Status.DIALING),
    "ringing": Progress(Status.DIALING),
    "answered": Progress(Status.IN_PROGRESS),
    "in_progress": Progress(Status.IN_PROGRESS),
    "completed": Progress(Status.COMPLETED),
    "busy": Progress(Status.BUSY, reason="busy"),
    "no_answer": Progress(Status.NO_ANSWER, reason="nobody answered"),
    "reject": Progress(Status.FAILED, reason="rejected"),
    "failed": Progress(Status.FAILED),
    "canceled": Progress(Status.CANCELED),
}


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """Words of one of the two, in the order they were said."""

    speaker: Literal["caller", "agent"]
    """``caller`` is who sits before the page."""
    text: str


class TranscriptFeed(Protocol):
    """Where the page reads along."""

    def lines(self, call_id: str, after: int) -> Sequence[TranscriptLine]:
        """What was said in a call, but for the first ``after`` lines. Returns at once."""
        ...


class TranscriptBoard:
    """A ``TranscriptFeed`` in memory, of the latest calls; every method may be called on any thread."""

    def __init__(self, calls_kept: int = 50) -> None:
        self._calls_kept = calls_kept
        self._said: dict[str, list[TranscriptLine]] = {}
        self._lock = Lock()

    def said(self, call_id: str, speaker: Literal["caller", "agent"], text: str) -> None:
        """``call_id`` is that of the record (``Assignment.call_id``). Returns at once; empty text is no line."""
        if not text.strip():
            return
        with self._lock:
            lines = self._said.setdefault(call_id, [])
            if len(lines) < _LINES_KEPT:
                lines.append(TranscriptLine(speaker, text.strip()))
            if len(self._said) > self._calls_kept:
                del self._said[next(iter(self._said))]

    def lines(self, call_id: str, after: int) -> Sequence[TranscriptLine]:
        with self._lock:
            return tuple(self._said.get(call_id, ())[after:])


@dataclass(slots=True)
class MockLine:
    """What the network knows of one call."""

    attempt: Attempt
    """The latest."""
    tokens: set[str] = field(default_factory=set)
    """Of all its attempts: a page that is open stays with the call."""
    ringing: asyncio.Task[None] | None = None
    hung_up: bool = False
    """We did; the page closes its stream, too."""
    close_stream: Callable[[int], None] | None = None
    """While there is one."""

    def allows(self, token: str) -> bool:
        """Whether a page with that token is one of this call."""
        return any(_same(token, known) for known in self.tokens)

    def rings_for(self, token: str) -> bool:
        """Whether such a page may refuse the attempt."""
        return _same(token, self.attempt.token) and not self.hung_up and self.close_stream is None


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode(), known.encode())


class MockTelephony:
    """Implements ``Telephony``: an attempt rings on the page until somebody presses a button or closes the browser.

    Everything is called on the office's event loop, as the port says.
    """

    id = "mock"

    def __init__(self, server: Server, door: StreamDoor, desk: Callable[[], CallDesk], feed: TranscriptFeed) -> None:
        """``door`` takes the page's sound; ``desk``, which is not called before there are calls, and ``feed`` are
        asked for what the page shows."""
        self.desk = desk
        self.feed = feed
        self.closed = False
        self.streams: MediaSockets | None = None
        """Once the routes are registered."""
        self._server = server
        self._door = door
        self._lines: dict[str, MockLine] = {}
        self._context: RouteContext | None = None

    def line(self, call_id: str) -> MockLine | None:
        """None where this network does not know the call."""
        return self._lines.get(call_id)

    # -- Telephony -------------------------------------------------------------------------------------------

    async def prepare_call(self, attempt: Attempt) -> str:
        return ""

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        if self._context is None:
            raise CannotCall("the mock page is not served (its routes were not registered)", retryable=False)
        self._ring(attempt)
        page = f"{urls.public or urls.local}/mock?{urlencode({'callId': attempt.call_id})}"
        return Started(user_hint=f"open {page} to start")

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        if self._of(attempt) is not None:
            return
        if await self._status(attempt) is Status.IN_PROGRESS:
            # Its stream ended with the engine that had it.
            await self._report(attempt, Progress(Status.FAILED, reason="the engine was restarted during the call"))
            return
        self._ring(attempt)

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        line = self._of(attempt)
        if line is None or line.hung_up:
            return
        line.hung_up = True
        self._stop_ringing(line)
        if line.close_stream is not None:
            line.close_stream(NORMAL)

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str:
        return '<?xml version="1.0" encoding="UTF-8"?><Response><Say>This call is a mock.</Say></Response>'

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool:
        return True

    def map_status(self, payload: Mapping[str, str]) -> Progress | None:
        return _NEWS.get(normal(payload.get("CallStatus", "")))

    def register_routes(self, router: APIRouter, context: RouteContext) -> None:
        self._context = context
        add_mock_routes(router, self)
        door = _Doorway(self._door, self._answered)
        self.streams = add_stream_route(
            router, context, door, self._server, self.validate_request, admit=self._admit, ended=self._ended
        )

    # -- for the routes --------------------------------------------------------------------------------------

    async def refuse(self, line: MockLine, outcome: str) -> None:
        """Somebody does not answer: ``busy``, ``no-answer`` or ``reject``."""
        self._stop_ringing(line)
        await self._report(line.attempt, _NEWS[normal(outcome)])

    async def close(self) -> None:
        """Let go of the pages, and ring no more; calls stay as they are."""
        self.closed = True
        ringing = [line.ringing for line in self._lines.values() if line.ringing is not None]
        for task in ringing:
            task.cancel()
        await asyncio.gather(*ringing, return_exceptions=True)

    # --------------------------------------------------------------------------------------------------------

    def _of(self, attempt: Attempt) -> MockLine | None:
        line = self._lines.get(attempt.call_id)
        return line if line is not None and line.attempt.number == attempt.number else None

    def _admit(self, attempt: Attempt, start: StreamStarted) -> bool:
        """Only those who ring here: calls of other networks have other ways to prove that they are meant."""
        line = self._of(attempt)
        return line is not None and not line.hung_up

    def _answered(self, attempt: Attempt, close: Callable[[int], None]) -> None:
        if (line := self._of(attempt)) is not None:
            self._stop_ringing(line)
            line.close_stream = close

    async def _ended(self, attempt: Attempt, start: StreamStarted, by_us: bool) -> None:
        line = self._of(attempt)
        if line is None or line.close_stream is None:
            await self._report(attempt, Progress(Status.FAILED, reason="the engine could not take the call"))
            return
        line.close_stream = None
        await self._report(attempt, Progress(Status.COMPLETED))

    def _ring(self, attempt: Attempt) -> None:
        line = self._lines.pop(attempt.call_id, None)
        if line is None or line.attempt.number != attempt.number:
            self._stop_ringing(line)
            line = MockLine(attempt, {attempt.token} | (line.tokens if line else set()))
        # The newest stands last; the oldest goes.
        self._lines[attempt.call_id] = line
        if len(self._lines) > _CALLS_KEPT:
            del self._lines[next(iter(self._lines))]
        if line.ringing is None:
            line.ringing = asyncio.create_task(self._give_up(attempt))

    async def _give_up(self, attempt: Attempt) -> None:
        await asyncio.sleep(attempt.ring_seconds * _PATIENCE)
        if await self._status(attempt) is Status.DIALING:
            await self._report(attempt, _NEWS["no_answer"])

    @staticmethod
    def _stop_ringing(line: MockLine | None) -> None:
        if line is not None and line.ringing is not None:
            line.ringing.cancel()

    async def _status(self, attempt: Attempt) -> Status | None:
        """None where the attempt is not the latest of its call any more."""
        record = await self.desk().status(attempt.call_id)
        return record.status if record is not None and record.attempt == attempt.number else None

    async def _report(self, attempt: Attempt, news: Progress) -> None:
        if self._context is not None:
            await asyncio.to_thread(self._context.report, attempt.call_id, attempt.number, news)


class _Doorway:
    """A ``StreamDoor`` that tells of the streams that go through."""

    def __init__(self, door: StreamDoor, answered: Callable[[Attempt, Callable[[int], None]], None]) -> None:
        self._door = door
        self._answered = answered

    def open(
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> StreamLeg:
        leg = self._door.open(attempt, start, send, close, hand_over)
        self._answered(attempt, close)
        return leg
