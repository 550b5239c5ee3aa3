"""Finds the engines that run, and asks them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ai_engine.host.registry import Registry
from ai_engine.studio.client import StudioClient
from ai_engine.studio.errors import CALL_FAILED, NOT_CAPABLE, NOT_FOUND, UNREACHABLE, Stop
from ai_engine.studio.place import Place
from ai_engine.studio.where import Where
from ai_engine.switchboard.ports import Refused
from ai_engine.web.connection import EngineUnreachable

T = TypeVar("T")

_STATUS = {"not-found": NOT_FOUND, "not-capable": NOT_CAPABLE, "refused": CALL_FAILED, "asterisk": UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Engine:
    """One that runs here, or is said to run somewhere."""

    url: str
    token: str = field(default="", repr=False)
    id: str = ""
    """Empty for one that was named by its URL."""


def engines(where: Where, place: Place) -> list[Engine]:
    """Those named by URL, then those of this machine, the oldest first. Raises Stop where ``--engine`` names none."""
    try:
        here = [Engine(one.url, one.token, one.id) for one in Registry(place.settings.directory).living()]
    except OSError as error:
        raise Stop(UNREACHABLE, f"the list of running engines cannot be read: {error}") from error
    if where.engine:
        return [_chosen(where.engine, here)]
    token = where.token()
    known = {one.url.rstrip("/"): one for one in here}
    named = [_named(url, token, known.pop(url, None)) for url in where.urls()]
    return named + list(known.values())


def _named(url: str, token: str, entry: Engine | None) -> Engine:
    """One of this machine may be named by its URL, too: then its token is known."""
    return entry if entry is not None and not token else Engine(url, token, entry.id if entry is not None else "")


def _chosen(id: str, here: list[Engine]) -> Engine:
    found = [one for one in here if one.id == id] or [one for one in here if one.id.startswith(id)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one.id for one in here) or "none"
    raise Stop(
        NOT_FOUND, f"there is no engine {id!r}" if not found else f"{id!r} is the beginning of several engines: {known}"
    )


def one(where: Where, place: Place) -> Engine:
    """The first. Raises Stop when there is none."""
    for engine in engines(where, place):
        return engine
    raise Stop(
        UNREACHABLE,
        f"no engine runs here (none in {place.settings.directory / 'run'}): start it with "
        f"`offhook --config {where.config}`, or name one elsewhere with `studio --url URL …` and CALL_AGENT_TOKEN",
    )


def ask(engine: Engine, question: Callable[[StudioClient], Awaitable[T]]) -> T:
    """The answer of one engine. Raises Stop."""

    async def asked() -> T:
        async with StudioClient(engine.url, engine.token) as client:
            return await question(client)

    return run(asked())


def run(work: Coroutine[Any, Any, T]) -> T:
    """``work`` that speaks with engines, from its beginning to its end. Raises Stop."""
    try:
        return asyncio.run(work)
    except Refused as refusal:
        raise Stop(_STATUS.get(refusal.kind, CALL_FAILED), str(refusal)) from refusal
    except EngineUnreachable as error:
        raise Stop(UNREACHABLE, str(error)) from error


async def ask_all(
    several: list[Engine], question: Callable[[StudioClient], Awaitable[T]]
) -> list[tuple[Engine, T | EngineUnreachable]]:
    """The answers of all, or why there is none."""

    async def asked(engine: Engine) -> T | EngineUnreachable:
        async with StudioClient(engine.url, engine.token, timeout_seconds=5.0) as client:
            try:
                return await question(client)
            except EngineUnreachable as error:
                return error

    return list(zip(several, await asyncio.gather(*map(asked, several)), strict=True))
