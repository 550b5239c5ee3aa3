"""A real ``WebServer`` on a free port of this machine, over a desk in memory.

async with front_door(tokens=["…"]) as door:
    door.url, door.desk, door.server
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from ai_engine.jobs.ports import RouteContext, Telephony, Urls
from ai_engine.jobs.settings import Server
from ai_engine.web.server import WebServer
from ai_engine.web.studio_api import Studio
from tests.fakes.call_desk import MemoryDesk

TOKEN = "a-token-that-nobody-guesses"


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """It listens."""

    server: WebServer
    desk: MemoryDesk
    url: str


def no_calls() -> RouteContext:
    """What a network may ask of a house without calls."""
    return RouteContext(
        urls=lambda: Urls(""), find=lambda _: None, report=lambda *_: None, note=lambda *_: None
    )  # fmt: skip


@asynccontextmanager
async def front_door(
    desk: MemoryDesk | None = None,
    tokens: Sequence[str] = (),
    telephony: Sequence[Telephony] = (),
    snapshot: Mapping[str, Any] | None = None,
    penance_seconds: float = 0.01,
    studio: Studio | None = None,
    **settings: Any,
) -> AsyncIterator[FrontDoor]:
    """``settings`` are those of ``call_agent.server``."""
    desk = desk or MemoryDesk()
    server = WebServer(
        Server(**{"port": 0, **settings}),
        [SecretStr(token) for token in tokens],
        desk,
        telephony,
        no_calls(),
        lambda: snapshot or {},
        version="1.2",
        studio=studio,
        penance_seconds=penance_seconds,
    )
    await server.start()
    try:
        yield FrontDoor(server, desk, f"http://127.0.0.1:{server.port}")
    finally:
        await server.stop()
