"""Values on their way from one thread to readers on another's event loop."""

import asyncio
import threading

import pytest

from ai_engine.observe.feed import Feed


async def test_what_another_thread_tells_arrives_in_order_at_every_reader() -> None:
    feed: Feed[int] = Feed(10_000)
    readers = [feed.read() for _ in range(5)]

    def tell() -> None:
        for number in range(5000):
            feed.tell(number)

    teller = threading.Thread(target=tell)
    teller.start()
    async with asyncio.timeout(10):
        for reader in readers:
            assert [await anext(reader) for _ in range(5000)] == list(range(5000))
    teller.join()
    for reader in readers:
        await reader.aclose()
    assert not feed.watched


async def test_a_slow_reader_misses_the_oldest_and_the_others_nothing() -> None:
    feed: Feed[int] = Feed(3)
    slow, quick = feed.read(), feed.read()
    seen = []
    for number in range(10):
        feed.tell(number)
        seen.append(await anext(quick))
    assert seen == list(range(10))
    assert [await anext(slow) for _ in range(3)] == [7, 8, 9]
    await slow.aclose()
    await quick.aclose()


async def test_who_waits_is_let_go_when_the_feed_is_closed() -> None:
    feed: Feed[int] = Feed()
    reader = feed.read()
    waiting = asyncio.create_task(_all(reader))
    await asyncio.sleep(0)
    feed.close()
    assert await waiting == []
    await reader.aclose()
    late = feed.read()
    feed.tell(1)
    with pytest.raises(StopAsyncIteration):
        await anext(late)
    assert not feed.watched


def test_a_reader_whose_loop_is_gone_troubles_nobody() -> None:
    feed: Feed[int] = Feed()

    async def look() -> None:
        feed.read()

    asyncio.run(look())
    feed.tell(1)


async def _all(reader: object) -> list[int]:
    return [value async for value in reader]  # type: ignore[attr-defined]
