"""The latest lines of the log: through the real pipe, as they are written."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum

import pytest
import structlog

from ai_engine.observe.log_ring import LogRing
from ai_engine.observe.logs import LogPipe
from ai_engine.switchboard.models import LogLine
from tests.fakes.log_pipe import started
from tests.waiting import until

JOB = "0f9ab0d2-3d2c-4f62-9d07-000000000001"


class Colour(Enum):
    RED = 1


@pytest.fixture
def pipe() -> Iterator[LogPipe]:
    with started() as (pipe, _):
        yield pipe


async def read(ring: LogRing, call_id: str = "") -> list[LogLine]:
    return [line async for line in ring.read(call_id)]


async def lines_of(pipe: LogPipe, count: int, call_id: str = "") -> list[LogLine]:
    await until(lambda: len(pipe.ring) >= count)
    return await read(pipe.ring, call_id)


async def test_a_line_is_kept_as_it_is_written_without_its_secrets(pipe: LogPipe) -> None:
    log = structlog.get_logger("ours")
    log.warning(
        "it happened", call_id="call-1", password="swordfish", url="x?token=swordfish", what=Colour.RED, n=(1, {2})
    )
    (line,) = await lines_of(pipe, 1)
    assert (line.level, line.event, line.call_id) == ("warning", "it happened", "call-1")
    assert abs((datetime.now(UTC) - line.at).total_seconds()) < 10
    assert line.fields == {"password": "[hidden]", "url": "x?token=[hidden]", "what": "Colour.RED", "n": [1, [2]]}
    assert "swordfish" not in line.model_dump_json()


async def test_what_belongs_to_a_call(pipe: LogPipe) -> None:
    log = structlog.get_logger("ours")
    log.info("a call is asked for", call=JOB)
    log.info("channel created", channel="offhook-out-1")
    log.info("call started", call_id=f"{JOB}-1", channel="offhook-out-1", job=JOB)
    log.info("call started", call_id="another", channel="chan-2")
    log.info("caller said", call_id=f"{JOB}-1", text="hello")
    log.info("engine drains", calls=2)
    await until(lambda: len(pipe.ring) == 6)
    about = ["a call is asked for", "channel created", "call started", "caller said"]
    assert [line.event for line in await read(pipe.ring, f"{JOB}-1")] == about
    assert [line.event for line in await read(pipe.ring, JOB)] == about
    assert [line.call_id for line in await read(pipe.ring, "another")] == ["another"]
    assert await read(pipe.ring, "nobody") == []


async def test_who_follows_gets_what_is_there_and_what_comes_once(pipe: LogPipe) -> None:
    log = structlog.get_logger("ours")
    log.info("first", call_id="call-1")
    await until(lambda: len(pipe.ring) == 1)
    following = pipe.ring.read("call-1", follow=True)
    assert (await anext(following)).event == "first"
    coming = asyncio.create_task(anext(following))
    await asyncio.sleep(0)
    log.info("other", call_id="call-2")
    log.info("second", call_id="call-1")
    async with asyncio.timeout(5):
        assert (await coming).event == "second"
        pipe.ring.close()
        with pytest.raises(StopAsyncIteration):
            await anext(following)


async def test_old_lines_make_room() -> None:
    ring = LogRing(most_lines=3)
    for number in range(5):
        ring(
            None, "", {"timestamp": "2026-11-28T21:00:00Z", "level": "info", "event": str(number), "_record": object()}
        )
    assert [line.event for line in await read(ring)] == ["2", "3", "4"]
