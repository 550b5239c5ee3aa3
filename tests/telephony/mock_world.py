"""The mock network at a real port, with a desk in memory that dials again, and a door whose calls a test plays."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from ai_engine.jobs.ports import Assignment, Attempt, RouteContext, Urls
from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.retry import delay_seconds
from ai_engine.jobs.settings import Retry, Server
from ai_engine.jobs.status import Progress, Status, may_follow
from ai_engine.protocol.media_streams import (
    Event,
    KeyPressed,
    MarkReturned,
    SoundReceived,
    StreamStarted,
    encode_clear,
    encode_mark,
    encode_sound,
)
from ai_engine.telephony.mock import MockTelephony, TranscriptBoard
from ai_engine.web.server import WebServer


@dataclass
class Leg:
    """Our end of a stream: what came, with the loop's time of each mark, and what may be said."""

    attempt: Attempt
    start: StreamStarted
    send: Callable[[str], None]
    close: Callable[[int], None]
    sound: list[bytes] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    digits: list[str] = field(default_factory=list)
    over: str = ""

    def received(self, event: Event) -> None:
        match event:
            case SoundReceived():
                self.sound.append(event.ulaw)
            case MarkReturned():
                self.marks[event.name] = asyncio.get_running_loop().time()
            case KeyPressed():
                self.digits.append(event.digit)

    def ended(self, reason: str) -> None:
        self.over = reason

    def play(self, ulaw: bytes, piece_bytes: int = 4000) -> None:
        """All at once."""
        for begin in range(0, len(ulaw), piece_bytes):
            self.send(encode_sound(self.start.stream_sid, ulaw[begin : begin + piece_bytes]))

    def mark(self, name: str) -> None:
        self.send(encode_mark(self.start.stream_sid, name))

    def clear(self) -> None:
        self.send(encode_clear(self.start.stream_sid))


@dataclass
class Door:
    """Takes every stream in."""

    legs: list[Leg] = field(default_factory=list)

    def open(
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> Leg:
        assert hand_over is None, "there is nobody but the page"
        self.legs.append(Leg(attempt, start, send, close))
        return self.legs[-1]


class Desk:
    """A ``CallDesk`` in memory, for one network: the rules are those of ``jobs``."""

    def __init__(self, retry: Retry) -> None:
        self.network: MockTelephony
        self.urls: Urls
        self.records: dict[str, CallRecord] = {}
        self.notes: dict[str, list[TimelineEntry]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.news: list[tuple[str, int, Progress]] = []
        self._retry = retry
        self._loop = asyncio.get_running_loop()
        self._dials: set[asyncio.Task[None]] = set()

    async def call_agent(self, request: CallRequest, ring_seconds: float = 30.0) -> CallRecord:
        now = datetime.now(UTC)
        record = CallRecord(id=str(uuid4()), request=request, provider="mock", created_at=now, updated_at=now)
        self.records[record.id] = record
        await self.dial(record.id, ring_seconds)
        return self.records[record.id]

    async def dial(self, call_id: str, ring_seconds: float) -> None:
        record = self.records[call_id]
        number = record.attempt + 1
        attempt = Attempt(
            call_id,
            number,
            record.request.to,
            f"token-{number}",
            Assignment(call_id, number, "anna"),
            ring_seconds=ring_seconds,
        )
        self.attempts[call_id] = attempt
        self.change(call_id, status=Status.DIALING, attempt=number, next_attempt_at=None)
        self.note(call_id, "dialing", record.request.to)
        started = await self.network.start_call(attempt, self.urls, again=False)
        self.change(call_id, user_hint=started.user_hint)

    def change(self, call_id: str, **changes: Any) -> None:
        self.records[call_id] = self.records[call_id].model_copy(update=changes)

    def settle(self, call_id: str, **changes: Any) -> None:
        self.change(call_id, completed_at=datetime.now(UTC), **changes)
        self.note(call_id, "settled", "")

    def find(self, call_id: str) -> Attempt | None:
        return self.attempts.get(call_id)

    def note(self, call_id: str, kind: str, text: str) -> None:
        entry = TimelineEntry(at=datetime.now(UTC), kind=kind, text=text, attempt=self.records[call_id].attempt)
        self.notes.setdefault(call_id, []).append(entry)

    def report(self, call_id: str, number: int, news: Progress) -> None:
        record = self.records[call_id]
        if record.settled or record.attempt != number or not may_follow(record.status, news.status):
            return
        self.news.append((call_id, number, news))
        self.change(call_id, status=news.status, last_error=news.reason or None)
        self.note(call_id, "answered" if news.status is Status.IN_PROGRESS else news.status, "")
        if news.status.over:
            self._loop.call_soon_threadsafe(self._over, call_id, number, news)

    def _over(self, call_id: str, number: int, news: Progress) -> None:
        del self.attempts[call_id]
        delay = delay_seconds(self._retry, news.status, number, retryable=news.retryable, chance=0.5)
        if delay is None:
            booked = self.records[call_id].scheduled_event is not None
            outcome = "scheduled" if booked else "not_scheduled"
            self.settle(call_id, outcome=outcome if news.status is Status.COMPLETED else None)
            return
        self.change(call_id, next_attempt_at=datetime.now(UTC) + timedelta(seconds=delay))
        self.note(call_id, "retry", f"in {delay:g} s")
        dial = asyncio.create_task(self._dial_later(call_id, delay))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial_later(self, call_id: str, delay: float) -> None:
        await asyncio.sleep(delay)
        await self.dial(call_id, 30.0)

    async def status(self, call_id: str) -> CallRecord | None:
        return self.records.get(call_id)

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        return list(self.records.values())[:limit]

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        return tuple(self.notes.get(call_id, ()))

    async def cancel(self, call_id: str) -> CallRecord | None:
        attempt = self.attempts.pop(call_id)
        self.settle(call_id, status=Status.CANCELED)
        await self.network.end_call(attempt, "")
        return self.records[call_id]

    async def report_call(self, call_id: str, report: Report) -> None:
        self.change(call_id, report=report, outcome="reported")


@dataclass
class World:
    """All of it."""

    network: MockTelephony
    desk: Desk
    door: Door
    board: TranscriptBoard
    context: RouteContext
    url: str
    """Without a slash at the end."""

    async def ring(self, **more: Any) -> CallRecord:
        request = CallRequest(
            to="+1 415 555 0123", goal="a dentist's appointment", duration_minutes=30, callee_name="Dr. Lee", **more
        )
        return await self.desk.call_agent(request)


@asynccontextmanager
async def mock_world(retry_ms: int = 0, most: int = 3) -> AsyncIterator[World]:
    """A number is dialled again after ``retry_ms``, ``most`` times in all."""
    desk = Desk(Retry(initial_delay_ms=retry_ms, max_attempts=most, backoff_factor=1))
    door, board = Door(), TranscriptBoard()
    network = desk.network = MockTelephony(Server(), door, lambda: desk, board)
    context = RouteContext(lambda: desk.urls, desk.find, desk.report, desk.note)
    server = WebServer(Server(port=0), [], desk, [network], context, dict)
    await server.start()
    desk.urls = Urls(local=f"http://127.0.0.1:{server.port}")
    try:
        yield World(network, desk, door, board, context, desk.urls.local)
    finally:
        await network.close()
        await server.stop()
