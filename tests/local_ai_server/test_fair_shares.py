"""Many calls on few workers: nobody is starved, and who would only wait is told so at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from local_ai_server.llm.intents import Intents
from local_ai_server.processes import ProcessPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.serving import Client, calling, http, kinds, serving
from tests.local_ai_server.slow_models import VOICE, slow_pool
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "This is one of very many sentences. " * 60
SECONDS = 0.05
"""Of every job."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    async with slow_pool(1, SECONDS) as pool:
        yield pool


async def test_long_texts_do_not_keep_others_from_being_heard(pool: ProcessPool) -> None:
    sentences: list[int] = []

    async def count(talker: Client) -> None:
        while (message := await talker.next())["type"] != "reply_end":
            sentences.extend([1] if message["type"] == "sound" else [])

    async with serving(pool) as (_, address), AsyncExitStack() as stack:
        asker, *talkers = [await stack.enter_async_context(calling(address, voice=VOICE)) for _ in range(9)]
        counting = [asyncio.create_task(count(talker)) for talker in talkers]
        for talker in talkers:
            await talker.send("say", text=LONG)
        await until(lambda: len(sentences) > 8)
        await asker.send("turn_begin", turn=1)
        await asker.send("turn_end", turn=1)
        before = len(sentences)
        said = await asker.until("sound")
        # eight talk: one of their sentences is under way, and one may begin between the transcript and the voice
        assert len(sentences) - before <= 5
        assert [m["text"] for m in said if m["type"] == "final"] == ["yes"]
        for talker in talkers:
            await talker.send("cancel", reply=1, heard_ms=0)
        await asyncio.gather(*counting)


async def test_two_long_texts_share_alike(pool: ProcessPool) -> None:
    async with (
        serving(pool) as (_, address),
        calling(address, voice=VOICE) as first,
        calling(address, voice=VOICE) as second,
    ):
        order: list[int] = []

        async def listen(number: int, client: Client) -> None:
            await client.send("say", text=LONG)
            while order.count(number) < 8:
                if (await client.next())["type"] == "sound":
                    order.append(number)

        await asyncio.gather(listen(1, first), listen(2, second))
    assert all(abs(order[:end].count(1) - order[:end].count(2)) <= 2 for end in range(len(order) - 2))


async def test_a_new_call_that_would_wait_is_told_busy_at_once(pool: ProcessPool) -> None:
    async with serving(pool, busy_seconds=2.5 * SECONDS) as (server, address):
        async with AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(calling(address, voice=VOICE)) for _ in range(5)]
            for talker in talkers:
                await talker.send("say", text=LONG)
                stack.callback(talker.wire.transport.abort)
            await until(lambda: pool.queue == 4)
            assert await http(address, "/ready") == (200, {"status": "busy"})
            async with connect(f"ws://{address}/v1") as wire:
                refused = Client(wire)
                await refused.send("start", protocol=1, call_id="late", agent=AGENT)
                error = await refused.next()
                assert (error["code"], error["fatal"]) == ("busy", True)
                assert "would wait" in error["message"]
                assert await refused.closed() == 1013
            assert server.counts["busy"] >= 1
            _, health = await http(address, "/health")
            assert health["status"] == "busy"
            assert health["jobs"]["running"] == 1
            assert health["jobs"]["waiting_urgent"] + health["jobs"]["waiting_other"] == health["queue"] == 4
            assert health["jobs"]["delay_seconds"] > 2.5 * SECONDS
        await until(lambda: pool.idle == 1)
        assert await http(address, "/ready") == (200, {"status": "ok"})
        async with calling(address, voice=VOICE) as client:
            await client.send("say", text="Hello.")
            assert kinds(await client.until("reply_end"))[-2:] == ["sound", "reply_end"]


async def test_who_wants_only_words_does_not_wait_for_voices(pool: ProcessPool) -> None:
    async with serving(pool, Intents(), busy_seconds=0.0) as (_, address), AsyncExitStack() as stack:
        talker = await stack.enter_async_context(calling(address, voice=VOICE))
        await talker.send("say", text=LONG)
        await talker.until("sound")
        async with calling(address, {"parts": ["llm"]}) as asker:
            await asker.send("text", turn=1, text="where are you")
            assert kinds(await asker.until("reply_end")) == ["reply", "token", "reply_end"]
