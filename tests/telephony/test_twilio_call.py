"""A call over Twilio as it runs in the engine: webhooks and sockets in one thread, the call in another."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvloop
from fastapi import APIRouter

from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import ulaw_to_pcm
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived
from ai_engine.jobs.settings import Server
from ai_engine.telephony.streams import StreamDoor
from ai_engine.telephony.twilio import TwilioTelephony
from ai_engine.transports.media_stream import MediaStreamCall
from ai_engine.transports.media_stream_door import MediaStreamDoor
from ai_engine.transports.wheel import TimerWheel
from tests.fakes.line import NotingLine
from tests.fakes.twilio_fake import FakeCall, Script, TwilioServer
from tests.telephony.twilio_parts import PUBLIC, Book, attempt, serving, settings
from tests.waiting import until

WORDS = bytes(range(0x81, 0xFF)) * 30
"""Mu-law that PCM and back leaves as it is, without silence."""


def fits_its_port(door: MediaStreamDoor) -> StreamDoor:
    """For mypy: the two rooms do not know each other."""
    return door


class EchoLine(NotingLine):
    """Says what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.due: deque[bytes] = deque()

    def frame_received(self, pcm: bytes) -> None:
        super().frame_received(pcm)
        self.due.append(pcm)

    def next_frame(self) -> bytes | None:
        return self.due.popleft() if self.due else None

    def upcoming(self, frames: int) -> Sequence[bytes]:
        return list(self.due)[:frames]


class CallLoop:
    """The thread of calls: each call is an echo until a key is pressed."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.lines: list[EchoLine] = []
        self.events: list[CallEvent] = []
        self.calls: list[MediaStreamCall] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def door(self) -> MediaStreamDoor:
        async def make() -> MediaStreamDoor:
            return MediaStreamDoor(TimerWheel(), self._begin)

        return asyncio.run_coroutine_threadsafe(make(), self.loop).result(5)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _begin(self, call: MediaStreamCall) -> None:
        assert threading.current_thread() is self._thread
        self.tasks.add(self.loop.create_task(self._hold(call)))

    async def _hold(self, call: MediaStreamCall) -> None:
        self.calls.append(call)
        line = EchoLine()
        (await call.transport.invite(SLIN8).connected({})).attach(line)
        self.lines.append(line)
        async for event in call.events():
            self.events.append(event)
            if isinstance(event, DigitReceived):
                await call.hang_up()
        await call.close()


@pytest.fixture
def calls() -> Iterator[CallLoop]:
    loop = CallLoop()
    yield loop
    loop.close()


@asynccontextmanager
async def talking(calls: CallLoop, *, says: bytes = WORDS) -> AsyncIterator[tuple[FakeCall, Book, TwilioTelephony]]:
    twilio, book, router = TwilioServer(scripts=[Script(says=says)]), Book(), APIRouter()
    async with twilio.listening():
        telephony = TwilioTelephony(settings(twilio.url), Server(), calls.door())
        telephony.register_routes(router, book.context())
        async with serving(router) as url:
            twilio.reach = {PUBLIC: url}
            await telephony.start_call(book.add(attempt()), book.urls, again=False)
            call = await twilio.next_call()
            await until(lambda: calls.lines)
            yield call, book, telephony
            await twilio.settle()
        await telephony.close()
    assert twilio.violations == []


async def test_both_hear_each_other_and_the_caller_hangs_up(calls: CallLoop) -> None:
    async with talking(calls) as (call, book, _):
        await until(lambda: WORDS in bytes(call.heard))
        assert ulaw_to_pcm(WORDS) in b"".join(calls.lines[0].heard)
        assert calls.calls[0].assignment == attempt().assignment
        call.hang_up()
        await call.done()
        await until(lambda: calls.events == [CallerHungUp()])
        assert book.statuses[-1] == "completed"


async def test_the_engine_hangs_up_and_the_last_words_are_heard(calls: CallLoop) -> None:
    async with talking(calls) as (call, book, telephony):
        await until(lambda: len(calls.lines[0].heard) * 160 >= len(WORDS) + 800)  # so that all was given to be sent
        await call.press("0")
        await call.done()
        assert WORDS in bytes(call.heard)
        assert (call.closed_with, call.status, book.statuses[-1]) == (1000, "completed", "completed")
        assert telephony.streams is not None
        assert telephony.streams.counters["closed_by_us"] == 1


async def test_a_connection_that_breaks_ends_the_call(calls: CallLoop) -> None:
    async with talking(calls) as (call, book, _):
        call.drop()
        await call.done()
        await until(lambda: calls.events == [CallerHungUp()])
        assert book.statuses[-1] == "completed"
