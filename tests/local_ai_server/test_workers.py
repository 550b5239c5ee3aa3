"""The pool of worker processes: parallel, cancellable, and whole again after a death."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from local_ai_server.agent import read_agent
from local_ai_server.errors import AgentError, JobFailed
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.eventually import eventually
from tests.local_ai_server.phone_speech import caller

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEMO = read_agent(AGENT)
ENDLESS = "This sentence is spoken again and again. " * 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with asyncio.timeout(20):
        pool = await WorkerPool(2, "pocketsphinx", "flite").__aenter__()
    yield pool
    await pool.__aexit__(None, None, None)


async def idle(pool: WorkerPool) -> None:
    await eventually(lambda: pool.idle == pool.size)


async def test_every_worker_is_prepared(pool: WorkerPool) -> None:
    assert await pool.run_everywhere("prepare", DEMO) == [(16000, 16000)] * 2


async def test_a_turn_is_transcribed(pool: WorkerPool) -> None:
    heard = await pool.run("transcribe", DEMO, caller("when are you open", "rms"), 16000, False)
    assert heard.text == "when are you open"


async def test_a_refusal_is_the_agents(pool: WorkerPool) -> None:
    with pytest.raises(AgentError, match="flite voice 'bob'"):
        await pool.run("prepare", read_agent({"name": "x", "voice": "bob"}))
    assert pool.replaced == 0


async def test_streams_run_side_by_side_and_a_third_waits(pool: WorkerPool) -> None:
    order: list[int] = []

    async def listen(number: int, chunks: int) -> None:
        async with aclosing(pool.stream("speak", DEMO, ENDLESS, False)) as stream:
            async for _ in stream:
                order.append(number)
                if order.count(number) == chunks:
                    return

    async with asyncio.timeout(20):
        await asyncio.gather(listen(1, 3000), listen(2, 3000), listen(3, 5))
    assert {1, 2} <= set(order[:2900])
    assert order.index(3) >= 3000


async def test_closing_a_stream_frees_its_worker_at_once(pool: WorkerPool) -> None:
    stream = pool.stream("speak", DEMO, ENDLESS, False)
    await anext(stream)
    assert pool.idle == 1
    await stream.aclose()
    loop = asyncio.get_running_loop()
    started = loop.time()
    await idle(pool)
    assert loop.time() - started < 1.0  # all of it would take many seconds


async def test_a_withdrawn_job_that_waits_is_never_done(pool: WorkerPool) -> None:
    streams = [pool.stream("speak", DEMO, ENDLESS, False) for _ in range(2)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    waiting = asyncio.create_task(pool.run("prepare", DEMO))
    await asyncio.sleep(0)
    assert pool.queue == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert pool.queue == 0
    for stream in streams:
        await stream.aclose()
    await idle(pool)


async def test_a_killed_worker_fails_its_job_alone_and_is_replaced(pool: WorkerPool) -> None:
    doomed = pool.stream("speak", DEMO, ENDLESS, False)
    await anext(doomed)
    before = set(pool.process_ids())
    busy = [hired.process.pid for hired in pool._workers.values() if hired.job]
    spared = asyncio.create_task(pool.run("transcribe", DEMO, caller("goodbye", "rms"), 16000, False))
    os.kill(busy[0] or 0, signal.SIGKILL)
    with pytest.raises(JobFailed, match="died"):
        async for _ in doomed:
            pass
    assert (await spared).text == "goodbye"
    await eventually(lambda: pool.alive == 2)
    assert pool.replaced == 1
    assert len(set(pool.process_ids()) - before) == 1
    assert (await pool.run("transcribe", DEMO, caller("goodbye", "awb"), 16000, False)).text == "goodbye"


async def test_a_backend_that_throws_costs_its_worker_only(pool: WorkerPool) -> None:
    replaced = pool.replaced
    with pytest.raises(JobFailed, match="TypeError"):
        await pool.run("transcribe", DEMO, None, 16000, False)
    assert (await pool.run("transcribe", DEMO, caller("goodbye", "rms"), 16000, False)).text == "goodbye"
    assert pool.replaced == replaced + 1


async def test_a_pool_that_cannot_load_says_so() -> None:
    with pytest.raises(JobFailed, match="could not start"):
        async with asyncio.timeout(20), WorkerPool(1, "no-such-backend", "flite"):
            pass


async def test_nothing_is_left_when_the_pool_closes() -> None:
    async with asyncio.timeout(20), WorkerPool(1, "pocketsphinx", "flite") as pool:
        (process,) = (hired.process for hired in pool._workers.values())
    process.join(5)
    assert not process.is_alive()
