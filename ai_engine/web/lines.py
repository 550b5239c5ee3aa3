"""Values as lines of JSON, to whoever reads them as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from ai_engine.jobs.request import Wire

_QUIET_SECONDS = 10.0
_BYTES_TOGETHER = 16_384
"""Lines are sent together where many wait; then the peer is waited for."""


async def as_lines(values: AsyncIterator[Wire], quiet_seconds: float = _QUIET_SECONDS) -> AsyncGenerator[bytes, None]:
    """An empty line at first, and after ``quiet_seconds`` without any: a sign of life. ``values`` are closed in any
    case."""
    coming = asyncio.create_task(_next(values))
    try:
        await asyncio.sleep(0)  # from here on nothing is missed
        yield b"\n"
        while True:
            if not (await asyncio.wait({coming}, timeout=quiet_seconds))[0]:
                yield b"\n"
                continue
            together = b""
            while coming.done() and len(together) < _BYTES_TOGETHER:
                if (value := coming.result()) is None:
                    yield together
                    return
                together += _line(value)
                coming = asyncio.create_task(_next(values))
                await asyncio.sleep(0)
            yield together
    finally:
        # In a task of its own: when the peer has gone, whatever we wait for ourselves is cancelled again and again.
        await asyncio.shield(asyncio.create_task(_close(values, coming)))


async def _close(values: AsyncIterator[Wire], coming: "asyncio.Task[Wire | None]") -> None:
    coming.cancel()
    await asyncio.gather(coming, return_exceptions=True)
    if (close := getattr(values, "aclose", None)) is not None:
        await close()


async def _next(values: AsyncIterator[Wire]) -> Wire | None:
    """None at the end."""
    try:
        return await anext(values)
    except StopAsyncIteration:
        return None


def _line(value: Wire) -> bytes:
    return value.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
