"""The media socket: who is let in, and what becomes of those who do not keep the protocol."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from fastapi import APIRouter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ai_engine.errors import PeerError
from ai_engine.jobs.ports import Attempt, SignedRequest
from ai_engine.jobs.settings import Server
from ai_engine.protocol.media_streams import KeyPressed, SoundReceived, StreamStarted, StreamStopped
from ai_engine.telephony import stream_outbox, stream_socket
from ai_engine.telephony.streams import MediaSockets, StreamDoor, add_stream_route
from tests.telephony.twilio_parts import Book, Door, Leg, attempt, serving
from tests.waiting import until

SID = "MZ" + "1" * 32


def fits_its_port(door: Door) -> StreamDoor:
    """For mypy."""
    return door


@dataclass
class House:
    url: str
    sockets: MediaSockets
    book: Book
    door: Door
    validated: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, str, bool]] = field(default_factory=list)

    def connect(self) -> connect:
        return connect(f"{self.url.replace('http', 'ws')}/voice/stream", compression=None)

    @asynccontextmanager
    async def stream(self, one: Attempt | None = None) -> AsyncIterator[tuple[ClientConnection, Leg]]:
        one = self.book.add(one or attempt())
        legs = len(self.door.legs)
        async with self.connect() as socket:
            await socket.send(connected())
            await socket.send(start(one.call_id, one.token))
            await until(lambda: len(self.door.legs) > legs)
            yield socket, self.door.legs[-1]


@asynccontextmanager
async def house(
    server: Server | None = None,
    valid: Callable[[SignedRequest], bool] = lambda _: True,
    admit: Callable[[Attempt, StreamStarted], bool] | None = None,
) -> AsyncIterator[House]:
    book, door, router = Book(), Door(), APIRouter()
    made: list[House] = []

    def validate(request: SignedRequest, base: str) -> bool:
        made[0].validated.append((base, request.url))
        return valid(request)

    async def ended(one: Attempt, began: StreamStarted, by_us: bool) -> None:
        made[0].ended.append((one.key, began.stream_sid, by_us))

    sockets = add_stream_route(
        router, book.context(), door, server or Server(start_seconds=5), validate, admit=admit, ended=ended
    )
    async with serving(router) as url:
        made.append(House(url, sockets, book, door))
        yield made[0]
        await until(lambda: not sockets.counters["open"] and not sockets.counters["pending"])


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start(call_id: str, token: str, call_sid: str = "CA1") -> str:
    about = {"accountSid": "AC1", "callSid": call_sid, "streamSid": SID, "tracks": ["inbound"],
             "customParameters": {"callId": call_id, "token": token},
             "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}  # fmt: skip
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": SID, "start": about})


def media(ulaw: bytes = b"\x55" * 160, timestamp: int = 0) -> str:
    sound = {"track": "inbound", "chunk": "1", "timestamp": str(timestamp), "payload": b64encode(ulaw).decode()}
    return json.dumps({"event": "media", "streamSid": SID, "media": sound})


def stop() -> str:
    return json.dumps({"event": "stop", "streamSid": SID, "stop": {"accountSid": "AC1", "callSid": "CA1"}})


async def closed(socket: ClientConnection, seconds: float = 5.0) -> int:
    """The code with which the other side closes."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(seconds):
            async for _ in socket:
                pass
    assert socket.close_code is not None
    return socket.close_code


# -- a stream ------------------------------------------------------------------------------------------------


async def test_a_stream_from_start_to_stop() -> None:
    async with house() as it:
        async with it.stream() as (socket, leg):
            await socket.send(media(b"\x11" * 160))
            assert json.loads(await socket.recv())["event"] == "media"
            assert json.loads(await socket.recv()) == {"event": "mark", "streamSid": SID, "mark": {"name": "1"}}
            await socket.send(json.dumps({"event": "dtmf", "dtmf": {"digit": "#"}}))
            await socket.send(json.dumps({"event": "of the future"}))
            await socket.send(connected())
            await socket.send(stop())
            assert await closed(socket) == 1000
        assert leg.events[:2] == [SoundReceived(b"\x11" * 160, 0), KeyPressed("#")]
        assert leg.events[-1] == StreamStopped()
        assert leg.reasons == ["stopped"]
        assert leg.start.parameters["callId"] == "c0ffee"
        assert it.validated == [("https://voice.example.com", "/voice/stream")]
        await until(lambda: it.ended)
        assert it.ended == [("c0ffee-1", SID, False)]
        assert it.book.statuses == ["in_progress"]
        assert it.book.notes == [("c0ffee", "stream", SID)]
        assert (it.sockets.counters["accepted"], it.sockets.counters["stopped"]) == (1, 1)


async def test_we_close_behind_what_we_said() -> None:
    async with house() as it:
        async with it.stream() as (socket, leg):
            for number in range(100):
                leg.send(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": str(number)}}))
            leg.close(1000)
            leg.close(1011)
            leg.send("nothing comes after this")
            got = [json.loads(text)["mark"]["name"] async for text in socket]
            assert got == [str(number) for number in range(100)]
            assert socket.close_code == 1000
        await until(lambda: it.ended)
        assert it.ended == [("c0ffee-1", SID, True)]
        assert leg.reasons == ["closed by us"]


async def test_from_another_thread() -> None:
    async with house() as it, it.stream() as (socket, leg):
        await asyncio.to_thread(leg.send, "one")
        await asyncio.to_thread(leg.send, "two")
        await asyncio.to_thread(leg.close, 1000)
        assert [text async for text in socket] == ["one", "two"]


async def test_a_connection_that_breaks() -> None:
    async with house() as it:
        async with it.stream() as (socket, leg):
            socket.transport.abort()
            await until(lambda: leg.reasons)
        assert it.sockets.counters["gone"] == 1
        await until(lambda: it.ended)
        assert it.ended == [("c0ffee-1", SID, False)]


async def test_a_store_that_fails_does_not_end_a_conversation() -> None:
    async with house() as it:
        it.book.failing = 1
        async with it.stream() as (socket, leg):
            await socket.send(media())
            await until(lambda: leg.events)
            await socket.send(stop())
            assert await closed(socket) == 1000


# -- who is not let in ---------------------------------------------------------------------------------------


async def test_a_socket_that_is_not_signed_is_not_accepted() -> None:
    async with house(valid=lambda request: request.headers.get("x-right") == "yes") as it:
        with pytest.raises(InvalidStatus) as refused:
            async with it.connect():
                pass
        assert refused.value.response.status_code == 401
        assert it.sockets.counters["invalid_signatures"] == 1
        assert it.sockets.counters["pending"] == 0


@pytest.mark.parametrize(
    ("call_id", "token", "counter"),
    [
        ("c0ffee", "token-of-c0ffee-2", "wrong_tokens"),
        ("c0ffee", "", "wrong_tokens"),
        ("c0ffee", "ü\udcff", "wrong_tokens"),
        ("nobody", "token-of-c0ffee-1", "unknown_calls"),
        ("", "", "unknown_calls"),
    ],
)
async def test_a_start_without_the_right_token(call_id: str, token: str, counter: str) -> None:
    async with house() as it, it.connect() as socket:
        it.book.add(attempt())
        await socket.send(start(call_id, token))
        assert await closed(socket) == 1008
        assert it.sockets.counters[counter] == 1
        assert it.door.legs == []


async def test_an_attempt_without_a_token_lets_nobody_in() -> None:
    async with house() as it, it.connect() as socket:
        one = it.book.add(attempt())
        it.book.attempts[one.call_id] = Attempt(one.call_id, 1, one.to, "", one.assignment)
        await socket.send(start(one.call_id, ""))
        assert await closed(socket) == 1008


async def test_a_token_lets_in_once() -> None:
    async with house() as it, it.stream() as (_, leg), it.connect() as second:
        await second.send(start("c0ffee", "token-of-c0ffee-1"))
        assert await closed(second) == 1008
        assert leg.reasons == []
        assert it.sockets.counters["wrong_tokens"] == 1


async def test_a_call_that_its_network_does_not_know_as_this_one() -> None:
    async with house(admit=lambda _, began: began.call_sid == "CA2") as it, it.connect() as socket:
        one = it.book.add(attempt())
        await socket.send(start(one.call_id, one.token, "CA1"))
        assert await closed(socket) == 1008
        async with it.connect() as other:
            await other.send(start(one.call_id, one.token, "CA2"))
            await until(lambda: it.door.legs)


async def test_secrets_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async with house() as it, it.connect() as socket:
        it.book.add(attempt())
        await socket.send(start("c0ffee", "a-guess-of-mine"))
        await closed(socket)
        async with it.stream():
            pass
    said = capsys.readouterr().out
    assert "wrong token" in said
    assert "a-guess-of-mine" not in said
    assert "token-of" not in said


async def test_who_says_nothing_is_shut_out() -> None:
    async with house(Server(start_seconds=0.05)) as it, it.connect() as socket:
        await socket.send(connected())
        assert await closed(socket) == 1008
        assert it.sockets.counters["start_timeouts"] == 1


async def test_so_many_may_be_undecided() -> None:
    async with house(Server(pending_streams=3, pending_streams_per_address=2)) as it:
        async with it.connect(), it.connect() as second:
            await until(lambda: it.sockets.counters["pending"] == 2)
            with pytest.raises(InvalidStatus) as refused:
                await it.connect()
            assert refused.value.response.status_code == 429
            await second.close()
            await until(lambda: it.sockets.counters["pending"] == 1)
            async with it.connect():
                pass
        assert it.sockets.counters["too_many_of_an_address"] == 1
        await until(lambda: not it.sockets.counters["pending"])
        assert it.sockets._pending == {}


async def test_so_many_may_be_undecided_in_all() -> None:
    server = Server(pending_streams=1, trusted_proxies=("127.0.0.1/32",))
    async with house(server) as it, it.connect():
        await until(lambda: it.sockets.counters["pending"] == 1)
        url = f"{it.url.replace('http', 'ws')}/voice/stream"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"X-Forwarded-For": "192.0.2.9"})
        assert refused.value.response.status_code == 503
        assert it.sockets.counters["too_many_pending"] == 1


async def test_so_many_streams_there_may_be() -> None:
    async with house(Server(streams=1)) as it, it.stream():
        with pytest.raises(InvalidStatus) as refused:
            await it.connect()
        assert refused.value.response.status_code == 503
        assert it.sockets.counters["too_many"] == 1


async def test_an_engine_that_takes_no_calls() -> None:
    async with house() as it, it.connect() as socket:
        one = it.book.add(attempt())
        it.door.objection = PeerError("the engine takes no more calls")
        await socket.send(start(one.call_id, one.token))
        assert await closed(socket) == 1013
        await until(lambda: it.ended)
        assert it.ended == [(one.key, SID, True)]


# -- who does not keep the protocol --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (media(), 1002),
        (stop(), 1002),
        ("{", 1002),
        ("[]", 1002),
        ('"start"', 1002),
        (json.dumps({"event": "start"}), 1002),
        (json.dumps({"event": "start", "start": {"streamSid": SID, "mediaFormat": {"encoding": "audio/L16"}}}), 1002),
        (b"\0\1", 1003),
        ("x" * 70_000, 1009),
        ("[" * 60_000, 1002),
    ],
)
async def test_before_start(message: str | bytes, code: int) -> None:
    async with house() as it, it.connect() as socket:
        await socket.send(message)
        assert await closed(socket) == code
        assert it.sockets.counters["protocol_errors"] == 1


async def test_endless_prologues() -> None:
    async with house() as it, it.connect() as socket:
        for _ in range(20):
            await socket.send(connected())
        assert await closed(socket) == 1002
        assert it.sockets.counters["protocol_errors"] == 1


@pytest.mark.parametrize(
    ("message", "code", "counter"),
    [
        (start("c0ffee", "token-of-c0ffee-1"), 1002, "second_starts"),
        (b"\0\1", 1003, "protocol_errors"),
        ("x" * 70_000, 1009, "protocol_errors"),
        ("nothing", 1002, "protocol_errors"),
        (json.dumps({"event": "media", "media": {"payload": "*"}}), 1002, "protocol_errors"),
        (json.dumps({"event": "mark"}), 1002, "protocol_errors"),
    ],
)
async def test_after_start_and_nobody_else_suffers(message: str | bytes, code: int, counter: str) -> None:
    async with house() as it, it.stream(attempt("other")) as (good, unharmed), it.stream() as (socket, leg):
        await socket.send(message)
        assert await closed(socket) == code
        await until(lambda: leg.reasons)
        assert it.sockets.counters[counter] == 1
        await good.send(media())
        await until(lambda: unharmed.events)
        assert unharmed.reasons == []


async def test_floods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_socket, "_MOST_IN_A_WINDOW", 20)
    async with house() as it, it.stream() as (socket, leg):
        leg.echo = False
        for _ in range(21):
            await socket.send(media())
        assert await closed(socket) == 1008
        assert it.sockets.counters["floods"] == 1
        assert len(leg.events) == 20


async def test_a_leg_that_breaks_harms_nobody_else() -> None:
    async with house() as it, it.stream(attempt("other")) as (good, unharmed), it.stream() as (socket, leg):
        leg.start = None  # type: ignore[assignment]
        await socket.send(media())
        assert await closed(socket) == 1011
        assert it.sockets.counters["faults"] == 1
        await good.send(media())
        await until(lambda: unharmed.events)


async def test_who_does_not_read_is_shut_out() -> None:
    async with house() as it, it.stream() as (socket, leg):
        socket.transport.pause_reading()
        for _ in range(60):
            leg.send("x" * 60_000)  # until kernel, transport and queue are full
            await asyncio.sleep(0)
        for _ in range(300):
            leg.send("x" * 60_000)
        await until(lambda: leg.reasons)
        assert leg.reasons == ["does not read"]
        assert it.sockets.counters["slow_readers"] == 1
        socket.transport.abort()


async def test_who_does_not_read_is_noticed_while_a_write_waits_for_it() -> None:
    """The queue fills up only when the writer is held up already, and does not come back to look."""
    async with house() as it, it.stream() as (socket, leg):
        socket.transport.pause_reading()
        async with asyncio.timeout(10):
            while not leg.reasons:
                leg.send("x" * 20_000)
                await asyncio.sleep(0.001)
        assert leg.reasons == ["does not read"]
        assert it.sockets.counters["slow_readers"] == 1
        socket.transport.abort()


async def test_who_does_not_read_cannot_keep_us_from_hanging_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_outbox, "LINGER_SECONDS", 0.1)
    async with house() as it, it.stream() as (socket, leg):
        socket.transport.pause_reading()
        for _ in range(200):
            leg.send("x" * 60_000)
            await asyncio.sleep(0.001)
        assert leg.reasons == []
        leg.close(1000)
        await until(lambda: leg.reasons)
        assert leg.reasons == ["closed by us"]
        assert it.sockets.counters["closed_by_us"] == 1
        socket.transport.abort()
        await until(lambda: it.ended)
        assert it.ended[0][2], "the network is not told that it was us"


# -- several networks ----------------------------------------------------------------------------------------


async def test_two_networks_share_the_socket_and_its_limits() -> None:
    books, door, router = (Book(), Book()), Door(), APIRouter()
    sockets = [
        add_stream_route(
            router, book.context(), door, Server(), lambda request, _, i=i: request.headers.get("x-of") == i
        )
        for i, book in zip(("a", "b"), books, strict=True)
    ]
    assert sockets[0] is sockets[1]
    assert len(router.routes) == 1
    for book in books:
        book.add(attempt())
    async with serving(router) as url:
        where = f"{url.replace('http', 'ws')}/voice/stream"
        with pytest.raises(InvalidStatus):
            await connect(where)
        async with connect(where, additional_headers={"X-Of": "b"}) as socket:
            await socket.send(start("c0ffee", "token-of-c0ffee-1"))
            await until(lambda: books[1].statuses)
        assert books[0].statuses == []
