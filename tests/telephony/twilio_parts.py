"""A server with Twilio's routes, and an office's end of its streams, for the tests of this room."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import APIRouter, FastAPI

from ai_engine.host.listener import Listener
from ai_engine.jobs.ports import Assignment, Attempt, RouteContext, Urls
from ai_engine.jobs.settings import Server, Twilio
from ai_engine.jobs.status import Progress
from ai_engine.protocol.media_streams import Event, SoundReceived, StreamStarted, encode_mark, encode_sound
from ai_engine.telephony.twilio import TwilioTelephony
from tests.fakes.twilio_fake import ACCOUNT, FROM, TOKEN, TwilioServer

PUBLIC = "https://voice.example.com"
TO = "+14155550123"


def attempt(call_id: str = "c0ffee", number: int = 1, *, to: str = TO, message: str = "", **more: object) -> Attempt:
    assignment = Assignment(call_id, number, "front-desk", message=message, max_seconds=120)
    return Attempt(call_id, number, to, f"token-of-{call_id}-{number}", assignment, **more)  # type: ignore[arg-type]


@dataclass
class Book:
    """What the rest of the engine knows of calls (a ``RouteContext``)."""

    public: str = PUBLIC
    attempts: dict[str, Attempt] = field(default_factory=dict)
    news: list[tuple[str, int, Progress]] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    failing: int = 0
    """So many reports fail."""
    forgets: bool = True
    """False: attempts that are over are found nevertheless."""
    slow: dict[int, float] = field(default_factory=dict)
    """Seconds that it takes to keep the news of a sequence number."""

    def add(self, one: Attempt) -> Attempt:
        self.attempts[one.call_id] = one
        return one

    @property
    def urls(self) -> Urls:
        return Urls("http://127.0.0.1:4545", self.public)

    @property
    def statuses(self) -> list[str]:
        return [progress.status.value for _, _, progress in self.news]

    def context(self) -> RouteContext:
        return RouteContext(lambda: self.urls, lambda id: self.attempts.get(id), self._report, self._note)

    def _report(self, call_id: str, number: int, progress: Progress) -> None:
        with_no_loop()
        if self.failing:
            self.failing -= 1
            raise OSError("the disk is full")
        time.sleep(self.slow.get(-1 if progress.sequence is None else progress.sequence, 0.0))
        self.news.append((call_id, number, progress))
        if progress.status.over and self.forgets:
            self.attempts.pop(call_id, None)

    def _note(self, call_id: str, kind: str, text: str) -> None:
        with_no_loop()
        self.notes.append((call_id, kind, text))


def with_no_loop() -> None:
    """Raises AssertionError on an event loop, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise AssertionError("called on an event loop")


class Leg:
    """A leg that says every sound again, and notes the rest."""

    def __init__(
        self,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None,
    ) -> None:
        self.start = start
        self.send = send
        self.close = close
        self.hand_over = hand_over
        self.events: list[Event] = []
        self.reasons: list[str] = []
        self.echo = True

    @property
    def heard(self) -> bytes:
        return b"".join(event.ulaw for event in self.events if isinstance(event, SoundReceived))

    def received(self, event: Event) -> None:
        self.events.append(event)
        if self.echo and isinstance(event, SoundReceived):
            self.send(encode_sound(self.start.stream_sid, event.ulaw))
            self.send(encode_mark(self.start.stream_sid, str(len(self.events))))

    def ended(self, reason: str) -> None:
        self.reasons.append(reason)


class Door:
    """A ``StreamDoor`` of such legs."""

    def __init__(self) -> None:
        self.legs: list[Leg] = []
        self.attempts: list[Attempt] = []
        self.objection: Exception | None = None

    def open(
        self,
        attempt: Attempt,
        start: StreamStarted,
        send: Callable[[str], None],
        close: Callable[[int], None],
        hand_over: Callable[[], Future[None]] | None = None,
    ) -> Leg:
        if self.objection is not None:
            raise self.objection
        self.attempts.append(attempt)
        self.legs.append(Leg(start, send, close, hand_over))
        return self.legs[-1]


def settings(api: str = "http://127.0.0.1:9", **more: object) -> Twilio:
    given = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from_number": FROM, "api_base_url": api, **more}
    return Twilio.model_validate(given, strict=False)


@asynccontextmanager
async def serving(router: APIRouter, most_message_bytes: int = 256 * 1024) -> AsyncIterator[str]:
    """The base URL at which ``router`` is served, as the product serves it."""
    app = FastAPI()
    app.include_router(router)
    listener = Listener(app, "127.0.0.1", 0, most_connections=200, most_message_bytes=most_message_bytes)
    await listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.stop()


@dataclass
class Stage:
    """Twilio, and us."""

    twilio: TwilioServer
    telephony: TwilioTelephony
    book: Book
    door: Door
    url: str

    async def dial(self, one: Attempt) -> str:
        self.book.add(one)
        started = await self.telephony.start_call(one, self.book.urls, again=False)
        assert started.provider_call_id
        return started.provider_call_id


@asynccontextmanager
async def stage(server: Server | None = None, **more: object) -> AsyncIterator[Stage]:
    twilio = TwilioServer(pace=0.004)
    async with twilio.listening():
        book, door, router = Book(), Door(), APIRouter()
        telephony = TwilioTelephony(settings(twilio.url, **more), server or Server(), door, look_seconds=0.02)
        telephony.register_routes(router, book.context())
        try:
            async with serving(router) as url:
                twilio.reach = {PUBLIC: url}
                yield Stage(twilio, telephony, book, door, url)
                await twilio.settle()
        finally:
            await telephony.close()


@asynccontextmanager
async def restarted(url: str, book: Book | None = None) -> AsyncIterator[TwilioTelephony]:
    """An engine that remembers nothing, at the same Twilio."""
    telephony = TwilioTelephony(settings(url), Server(), Door(), look_seconds=0.02)
    telephony.register_routes(APIRouter(), (book or Book()).context())
    try:
        yield telephony
    finally:
        await telephony.close()
