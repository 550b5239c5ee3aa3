"""What a shell completes: names of agents, numbers and calls. Whatever goes wrong, nothing is offered."""

import os
from collections.abc import Callable, Iterable

import typer

from ai_engine.studio.where import Where


def agents(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, _agents)


def numbers(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, _numbers)


def calls(ctx: typer.Context, incomplete: str) -> list[str]:
    """Of those that are in progress."""
    return _beginning(incomplete, ctx, _calls)


def rooms(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, _rooms)


def recordings(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, _recordings)


def _agents(where: Where) -> Iterable[str]:
    from ai_engine.studio.agent_names import agent_names  # noqa: PLC0415  see teaching
    from ai_engine.studio.place import place  # noqa: PLC0415

    return agent_names(place(where))


def _numbers(where: Where) -> Iterable[str]:
    from ai_engine.studio.place import place  # noqa: PLC0415
    from ai_engine.trunks.store import NumberStore  # noqa: PLC0415

    store = NumberStore(place(where).settings.directory, where.given())
    return [number.number for number in store.numbers()]


def _calls(where: Where) -> Iterable[str]:
    from ai_engine.studio.live import live  # noqa: PLC0415
    from ai_engine.studio.place import place  # noqa: PLC0415

    return [row.id for row in live(where, place(where)).rows if row.call is not None]


def _rooms(where: Where) -> Iterable[str]:
    from ai_engine.studio.live import live  # noqa: PLC0415
    from ai_engine.studio.place import place  # noqa: PLC0415

    return [row.room.name for row in live(where, place(where)).rows if row.room is not None]


def _recordings(where: Where) -> Iterable[str]:
    from ai_engine.studio.history import recorded  # noqa: PLC0415
    from ai_engine.studio.place import place  # noqa: PLC0415

    return [folder.call_id for folder in recorded(place(where).recordings)]


def _beginning(incomplete: str, ctx: typer.Context, find: Callable[[Where], Iterable[str]]) -> list[str]:
    root = ctx.find_root().params
    where = Where(dict(os.environ), **{"config": root["config"]} if root.get("config") else {})  # noqa: TID251
    try:
        return [one for one in find(where) if one.startswith(incomplete)]
    except Exception:  # noqa: BLE001  a shell that is being typed at shows no errors
        return []
