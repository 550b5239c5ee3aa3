"""The whole server over a real WebSocket on loopback."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from local_ai_server import protocol
from local_ai_server.agent import Agent
from local_ai_server.llm.base import Piece
from local_ai_server.tools import OWN, Tools
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.eventually import eventually
from tests.local_ai_server.phone_speech import caller
from tests.local_ai_server.serving import Client, calling, http, kinds, seconds, serving, words

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "This sentence is spoken again and again, and nobody knows when it will end. " * 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    pool = await WorkerPool(2, "pocketsphinx", "flite").__aenter__()
    yield pool
    await pool.__aexit__(None, None, None)


@pytest_asyncio.fixture(loop_scope="module")
async def address(pool: WorkerPool) -> AsyncIterator[str]:
    async with serving(pool) as (_, address):
        yield address


async def test_ready_says_rates_and_backends(address: str) -> None:
    async with connect(f"ws://{address}/v1") as wire:
        client = Client(wire)
        await client.send("start", protocol=1, call_id="c", agent={**AGENT, "language": "de-DE"}, history=[])
        assert await client.next() == {
            "type": "ready",
            "protocol": 1,
            "input_rate": 16000,
            "output_rate": 22050,
            "backends": {"stt": "pocketsphinx", "llm": "intents", "tts": "flite"},
            "notes": False,
        }


async def test_greeting(address: str) -> None:
    async with calling(address) as client:
        await client.send("greet")
        said = await client.until("reply_end")
    assert said[0] == {"type": "reply", "reply": 1, "turn": None}
    assert words(said, "token") == words(said, "clause") == AGENT["greeting"]
    assert kinds(said)[-1] == "reply_end"
    assert 2 < seconds(said) < 8


async def test_a_turn_from_speech_to_speech(address: str) -> None:
    async with calling(address) as client:
        await client.turn(1, "what are your opening hours")
        said = [m for m in await client.until("reply_end") if m["type"] != "partial"]
    assert said[0]["type"] == "final"
    assert said[0]["text"] == "what are your opening hours"
    assert 0.5 <= said[0]["confidence"] <= 1
    assert said[1] == {"type": "reply", "reply": 1, "turn": 1}
    assert {m["reply"] for m in said[1:]} == {1}
    assert words(said, "clause") == AGENT["intents"]["hours"]["answer"]
    order = kinds(said)
    assert order[2] == "token"
    assert order.index("clause") < order.index("sound")
    assert said[-1] == {"type": "reply_end", "reply": 1, "cancelled": False}


async def test_partials_come_while_the_turn_is_open(address: str) -> None:
    async with calling(address) as client:
        await client.send("turn_begin", turn=1)
        pcm = caller("tell me about your services", "rms")
        await client.wire.send(pcm[: 64 * 1024 - 2])
        partial = await client.next()
        assert partial["type"] == "partial"
        assert partial["turn"] == 1
        await client.send("turn_drop", turn=1)


async def test_goodbye_asks_for_the_hangup_after_its_sound(address: str) -> None:
    async with calling(address) as client:
        await client.turn(1, "no that's all goodbye", "awb")
        said = await client.until("reply_end")
        await client.send("tool_result", id="tool-1", result={"status": "ok"})
        await client.send("status")
        assert (await client.next())["type"] == "status"
    assert kinds(said)[-3:] == ["sound", "tool", "reply_end"]
    assert said[-2] == {
        "type": "tool", "reply": 1, "id": "tool-1", "name": "hangup", "arguments": {}, "goes_on": False
    }  # fmt: skip


async def test_not_understood_three_times_asks_for_a_human(address: str) -> None:
    async with calling(address) as client:
        for turn in (1, 2, 3):
            await client.turn(turn, "my dog ate the homework again")
            said = await client.until("reply_end")
            assert next(m for m in said if m["type"] == "final")["text"] == ""
            assert words(said, "clause") == AGENT["fallback"]
            assert ("tool" in kinds(said)) is (turn == 3)
    assert said[-2]["name"] == "transfer"


async def test_understanding_forgives_earlier_trouble(address: str) -> None:
    async with calling(address, fallback_limit=2) as client:
        for turn, text in enumerate(["banana", "when are you open", "banana"], 1):
            await client.send("text", turn=turn, text=text)
            said = await client.until("reply_end")
    assert "tool" not in kinds(said)


async def test_typed_spoken_and_prompted_lines(address: str) -> None:
    async with calling(address) as client:
        await client.send("text", turn=4, text="Are you open on Saturday?")
        answer = await client.until("reply_end")
        await client.send("say", text="Please hold the line.")
        line = await client.until("reply_end")
        await client.send("nudge")
        nudge = await client.until("reply_end")
        await client.send("digit", digit="5")
    assert answer[0] == {"type": "reply", "reply": 1, "turn": 4}
    assert words(answer, "clause") == "On saturday we are open from nine to five."
    assert words(line, "clause") == "Please hold the line."
    assert words(nudge, "clause") == AGENT["nudge"]


async def test_cancel_stops_at_once_and_only_the_end_follows(address: str) -> None:
    async with calling(address, greeting=LONG) as client:
        await client.send("greet")
        await client.until("sound")
        await client.send("cancel", reply=1, heard_ms=100)
        rest = await client.until("reply_end")
        assert rest[-1] == {"type": "reply_end", "reply": 1, "cancelled": True}
        assert seconds(rest) < 60  # of some 250 s: what was under way when the cancel arrived
        await client.send("cancel", reply=1, heard_ms=100)
        await client.send("say", text="Yes?")
        after = await client.until("reply_end")
    assert {m["reply"] for m in after} == {2}
    assert words(after, "clause") == "Yes?"


class Parrot:
    """A model that repeats what it is told of the conversation."""

    async def start(self) -> None: ...

    async def prepare(self, agent: Agent) -> None: ...

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        yield json.dumps(record)

    def understands(self, agent: Agent, text: str, record: tuple[tuple[str, str], ...], *, exactly: bool) -> bool:
        return not exactly

    async def close(self) -> None: ...


async def test_the_record_holds_what_the_caller_heard(pool: WorkerPool) -> None:
    async with serving(pool, Parrot()) as (_, address), calling(address) as client:
        await client.send("greet")
        await client.until("reply_end")
        await client.send("cancel", reply=1, heard_ms=1200)
        await client.send("digit", digit="5")
        await client.send("text", turn=1, text="banana")
        (agent, greeting), *rest = json.loads(words(await client.until("reply_end"), "token"))
    assert agent == "agent"
    assert AGENT["greeting"].startswith(greeting)
    assert 1 <= len(greeting.split()) <= 4
    assert rest == [["caller", "[key 5]"], ["caller", "banana"]]


HOURS = AGENT["intents"]["hours"]["answer"]


async def test_coughs_before_the_answer_do_not_lose_the_question(address: str) -> None:
    async with calling(address, fallback_limit=1) as client:
        await client.turn(1, "when are you open")
        await client.until("reply_end")
        for turn in (2, 3):
            await client.send("cancel", reply=turn - 1, heard_ms=0)
            said = await client.cough(turn)
            assert said[0] == {"type": "final", "turn": turn, "text": "", "confidence": 0.0}
            assert said[1] == {"type": "reply", "reply": turn, "turn": turn}
            assert words(said, "clause") == HOURS
            assert "tool" not in kinds(said)


async def test_a_cough_while_the_answer_is_made_does_not_lose_the_question(address: str) -> None:
    slow = {"slow": {"phrases": ["when are you open"], "answer": LONG, "action": "hangup"}}
    async with calling(address, intents=slow) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("clause")
        await client.send("cancel", reply=1, heard_ms=0)
        assert "tool" not in kinds(await client.until("reply_end"))
        await client.send("turn_begin", turn=2)
        await client.send("turn_end", turn=2)
        assert words(await client.until("clause"), "clause") == LONG.split(" and nobody")[0]


async def test_a_question_asked_before_its_turn_was_dropped_is_not_lost(address: str) -> None:
    async with calling(address, greeting=LONG) as client:
        await client.send("greet")
        await client.until("sound")
        await client.turn(1, "when are you open")
        await client.until("final")
        await client.send("turn_drop", turn=1)
        await client.send("cancel", reply=1, heard_ms=100)
        await client.until("reply_end")
        assert words(await client.cough(2), "clause") == HOURS


@pytest.mark.parametrize(
    "between",
    [
        [],
        [("cancel", {"reply": 1, "heard_ms": 20})],
        [("cancel", {"reply": 1, "heard_ms": 0}), ("nudge", {})],
        [("cancel", {"reply": 1, "heard_ms": 0}), ("text", {"turn": 2, "text": "banana"})],
    ],
    ids=["heard", "heard in part", "another line heard", "another turn"],
)
async def test_an_old_question_is_forgotten(address: str, between: list[tuple[str, dict[str, Any]]]) -> None:
    async with calling(address) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("reply_end")
        for type, fields in between:
            await client.send(type, **fields)
            if type != "cancel":
                await client.until("reply_end")
        assert words(await client.cough(3), "clause") == AGENT["fallback"]


async def test_a_question_stays_open_while_no_line_is_heard(address: str) -> None:
    async with calling(address) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("reply_end")
        await client.send("cancel", reply=1, heard_ms=0)
        await client.send("nudge")
        await client.until("reply_end")
        await client.send("cancel", reply=2, heard_ms=0)
        assert words(await client.cough(2), "clause") == HOURS


async def test_a_question_answered_late_is_recorded_once(pool: WorkerPool) -> None:
    async with serving(pool, Parrot()) as (_, address), calling(address) as client:
        await client.send("text", turn=1, text="banana")
        await client.until("reply_end")
        await client.send("cancel", reply=1, heard_ms=0)
        assert json.loads(words(await client.cough(2), "token")) == [["caller", "banana"]]


BRIEF: dict[str, Any] = {"brief": True}


@pytest.mark.parametrize(("said", "heard"), [("wait", "wait"), ("okay", "okay"), ("hold on", "hold on"), (None, "")])
async def test_a_brief_turn_that_asks_for_nothing_is_only_transcribed(
    address: str, said: str | None, heard: str
) -> None:
    async with calling(address, fallback_limit=1) as client:
        if said:
            await client.turn(1, said, **BRIEF)
        else:
            await client.send("turn_begin", turn=1)
            await client.send("turn_end", turn=1, **BRIEF)
        final = (await client.until("final"))[-1]
        rest = await client.settled()
    assert (final["turn"], final["text"]) == (1, heard)
    assert [message for message in rest if message["type"] in ("tool", "final")] == []
    assert [message["turn"] for message in rest if message["type"] == "reply"] == [None]


async def test_a_brief_turn_that_asks_for_something_is_answered(address: str) -> None:
    async with calling(address) as client:
        await client.turn(1, "goodbye", "awb", **BRIEF)
        said = await client.until("reply_end")
    assert words(said, "clause") == AGENT["intents"]["goodbye"]["answer"]
    assert said[-2]["name"] == "hangup"


async def test_a_word_for_silence_is_no_likeness_of_an_intent(address: str) -> None:
    likely = {"goodbye": {"phrases": ["no thank you"], "answer": "Bye.", "action": "hangup"}}
    async with calling(address, intents=likely) as client:
        await client.turn(1, "no", **BRIEF)
        assert (await client.until("final"))[-1]["text"] == "no"
        assert [m["turn"] for m in await client.settled() if m["type"] == "reply"] == [None]


async def test_brief_sounds_are_no_misunderstandings(address: str) -> None:
    async with calling(address, fallback_limit=2) as client:
        for turn in (1, 3):
            await client.send("turn_begin", turn=turn)
            await client.send("turn_end", turn=turn, **BRIEF)
            await client.until("final")
        assert "tool" not in kinds(await client.cough(4))
        await client.turn(5, "okay", **BRIEF)
        assert "tool" in kinds(await client.cough(6))


@pytest.mark.parametrize(("end", "fields"), [("turn_drop", {}), ("turn_end", BRIEF)])
async def test_an_answer_kept_from_being_heard_by_nothing_is_given_again(
    address: str, end: str, fields: dict[str, Any]
) -> None:
    async with calling(address) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("reply_end")
        await client.send("turn_begin", turn=2)
        await client.send("cancel", reply=1, heard_ms=0)
        await client.send(end, turn=2, **fields)
        said = await client.until("reply_end")
        assert words(said, "clause") == HOURS
        assert next(m for m in said if m["type"] == "reply") == {"type": "reply", "reply": 2, "turn": None}
        await client.send("turn_begin", turn=3)
        await client.send("turn_drop", turn=3)
        assert words(await client.settled(), "clause") == "Settled."


async def test_who_called_for_silence_is_not_answered_after_all(address: str) -> None:
    async with calling(address) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("reply_end")
        await client.turn(2, "wait", **BRIEF)
        await client.until("final")
        await client.send("cancel", reply=1, heard_ms=0)
        assert words(await client.cough(3), "clause") == AGENT["fallback"]


async def test_the_goodbye_to_a_caller_who_is_silent(address: str) -> None:
    async with calling(address, goodbye="Nobody there. Bye.") as client:
        await client.send("nudge", last=True)
        assert words(await client.until("reply_end"), "clause") == "Nobody there. Bye."


@pytest.mark.parametrize("rate", [8000, 16000])
async def test_sound_is_taken_at_the_rate_of_the_line(address: str, rate: int) -> None:
    async with connect(f"ws://{address}/v1", compression=None) as wire:
        client = Client(wire)
        await client.send("start", protocol=1, call_id="c", agent=AGENT, rate=rate)
        assert (await client.next())["input_rate"] == rate
        await client.send("turn_begin", turn=1)
        pcm = caller("when are you open", "rms", rate=rate)
        await wire.send(pcm[:30000])
        await wire.send(pcm[30000:])
        await client.send("turn_end", turn=1)
        assert (await client.until("final"))[-1]["text"] == "when are you open"


async def test_a_second_turn_is_answered_after_the_first(address: str) -> None:
    async with calling(address) as client:
        await client.turn(1, "when are you open")
        await client.turn(2, "where are you")
        first, second = await client.until("reply_end"), await client.until("reply_end")
    assert {m["reply"] for m in first if "reply" in m} == {1}
    assert {m["reply"] for m in second if "reply" in m} == {2}
    assert words(second, "clause") == AGENT["intents"]["address"]["answer"]


async def test_a_dropped_turn_is_not_answered(address: str) -> None:
    async with calling(address) as client:
        await client.turn(1, "when are you open")
        await client.send("turn_drop", turn=1)
        await client.send("turn_begin", turn=2)
        await client.wire.send(bytes(640))
        await client.send("turn_drop", turn=2)
        await client.send("text", turn=3, text="where are you")
        said = await client.until("reply_end")
    assert [m["turn"] for m in said if m["type"] == "reply"] == [3]


async def test_an_empty_turn_is_speech_not_understood(address: str) -> None:
    async with calling(address) as client:
        await client.send("turn_begin", turn=1)
        await client.send("turn_end", turn=1)
        said = await client.until("reply_end")
    assert said[0] == {"type": "final", "turn": 1, "text": "", "confidence": 0.0}


async def test_an_endless_turn_ends_by_itself(address: str) -> None:
    async with calling(address) as client:
        await client.send("turn_begin", turn=1)
        for _ in range(protocol.MAX_TURN_BYTES // 65536):
            await client.wire.send(bytes(65536))
        said = await client.until("reply_end")
    assert "final" in kinds(said)


async def test_sound_outside_a_turn_is_counted(pool: WorkerPool) -> None:
    async with serving(pool) as (server, address):
        async with calling(address) as client:
            await client.wire.send(bytes(640))
            await client.send("status")
            assert (await client.next())["sessions"] == 1
        await eventually(lambda: server.counts["sound_dropped"] == 1)


@pytest.mark.parametrize(
    "data",
    [
        "hello",
        '{"type": "fly"}',
        '{"type": "greet", "loud": true}',
        '{"type": "turn_begin", "turn": "1"}',
        b"\0",
        bytes(65538),
        '{"type": "start", "protocol": 1, "call_id": "again", "agent": {"name": "x"}}',
    ],
)
async def test_malformed_messages_are_shut_out(pool: WorkerPool, data: str | bytes) -> None:
    async with serving(pool) as (server, address), calling(address) as client:
        await client.wire.send(data)
        error = await client.next()
        assert (error["type"], error["code"], error["fatal"]) == ("error", "bad_message", True)
        assert await client.closed() == 1008
        assert server.counts["bad_message"] == 1


async def test_an_oversized_frame_is_shut_out(pool: WorkerPool) -> None:
    async with serving(pool) as (server, address), calling(address) as client:
        with pytest.raises(ConnectionClosed):  # noqa: PT012 - the close may overtake the sending
            await client.wire.send(bytes(2 * 1024 * 1024))
            await client.next()
        assert await client.closed() == 1009
        await eventually(lambda: server.counts["bad_message"] == 1)


async def test_turn_numbers_grow(address: str) -> None:
    async with calling(address) as client:
        await client.send("turn_begin", turn=5)
        await client.send("turn_begin", turn=5)
        assert (await client.next())["message"] == "turn 5 came after turn 5"
        assert await client.closed() == 1008


async def test_a_flood_of_lines_is_shut_out(address: str) -> None:
    async with calling(address) as client:
        for _ in range(40):
            await client.send("say", text="Hello there, how are you today?")
        assert (await client.until("error"))[-1]["code"] == "bad_message"


@pytest.mark.parametrize(
    ("first", "complaint"),
    [
        ({"type": "greet"}, "the first message must be `start`"),
        ({"type": "start", "protocol": 9, "call_id": "c", "agent": {"name": "x"}}, "protocol must be 1"),
        ({"type": "start", "protocol": 1, "call_id": "c", "agent": {"name": "x", "voice": "bob"}}, "voice 'bob'"),
        ({"type": "start", "protocol": 1, "call_id": "c", "agent": {"name": "x", "voice": "a:b"}}, "voice engine 'a'"),
        (
            {
                "type": "start",
                "protocol": 1,
                "call_id": "c",
                "agent": {"name": "x", "intents": {"a": {"phrases": ["zzyzxy road"], "answer": ""}}},
            },
            "dictionary: zzyzxy",
        ),
    ],
)
async def test_a_bad_start_is_explained(address: str, first: dict[str, Any], complaint: str) -> None:
    async with connect(f"ws://{address}/v1") as wire:
        client = Client(wire)
        await wire.send(json.dumps(first))
        error = await client.next()
        assert error["code"] == "bad_message"
        assert complaint in error["message"]
        assert await client.closed() == 1008


async def test_start_must_come_in_time(pool: WorkerPool) -> None:
    async with serving(pool, start_seconds=0.1) as (_, address), connect(f"ws://{address}/v1") as wire:
        client = Client(wire)
        assert "within 0.1 s" in (await client.next())["message"]
        assert await client.closed() == 1008


async def test_too_many_sessions_are_told_busy(pool: WorkerPool) -> None:
    async with serving(pool, max_sessions=1) as (server, address):
        async with calling(address) as first:
            async with connect(f"ws://{address}/v1") as wire:
                second = Client(wire)
                assert (await second.next())["code"] == "busy"
                assert await second.closed() == 1013
            await first.send("greet")
            assert (await first.until("reply_end"))[-1]["cancelled"] is False
        assert server.counts["busy"] == 1


async def test_a_client_that_stops_reading_is_dropped_and_the_others_are_served(pool: WorkerPool) -> None:
    async with serving(pool, send_seconds=0.5) as (server, address), calling(address) as other:
        deaf = await connect(f"ws://{address}/v1", compression=None, max_queue=1)
        client = Client(deaf)
        await client.send("start", protocol=1, call_id="deaf", agent={**AGENT, "greeting": LONG}, history=[])
        await client.next()
        await client.send("greet")
        async with asyncio.timeout(20):
            turn = 0
            while not server.counts["slow_client"]:
                turn += 1
                await other.send("text", turn=turn, text="where are you")
                await other.until("reply_end")
        deaf.transport.abort()
        await other.send("status")
        assert (await other.next())["sessions"] == 1


async def test_a_killed_worker_ends_the_reply_but_not_the_call(pool: WorkerPool) -> None:
    async with serving(pool) as (_, address), calling(address, greeting=LONG) as client:
        await client.send("greet")
        await client.until("sound")
        for pid in pool.process_ids():
            os.kill(pid, signal.SIGKILL)
        rest = await client.until("reply_end")
        assert rest[-1]["cancelled"] is True
        assert (rest[-2]["type"], rest[-2]["code"], rest[-2]["fatal"]) == ("error", "internal", False)
        await client.turn(1, "where are you")
        said = await client.until("reply_end")
    assert words(said, "clause") == AGENT["intents"]["address"]["answer"]


async def test_health(pool: WorkerPool) -> None:
    await eventually(lambda: pool.alive == 2)  # a test before may have killed some
    async with serving(pool) as (_, address):
        assert await http(address, "/live") == (200, {"status": "ok"})
        assert await http(address, "/ready") == (200, {"status": "ok"})
        status, health = await http(address, "/health?x=1")
        assert status == 200
        assert health["backends"]["stt"] == "pocketsphinx"
        assert health["workers"] == 2
        assert (await http(address, "/v2"))[0] == 404


async def test_not_ready_without_workers() -> None:
    pool = WorkerPool(1, "pocketsphinx", "flite")
    async with serving(pool) as (_, address):
        assert await http(address, "/ready") == (503, {"status": "unavailable"})
        assert (await http(address, "/live"))[0] == 200


async def test_garbage_on_the_port_disturbs_nobody(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as vandal:
        vandal.sendall(b"\x00\xff" * 500)
        async with calling(address) as client:
            await client.send("say", text="Hello.")
            assert (await client.until("reply_end"))[-1]["cancelled"] is False


async def test_closing_the_server_ends_the_sessions(pool: WorkerPool) -> None:
    async with serving(pool) as (_, address):
        wire = await connect(f"ws://{address}/v1")
        client = Client(wire)
        await client.send("start", protocol=1, call_id="c", agent=AGENT, history=[])
        await client.next()
    assert await client.closed() == 1001
