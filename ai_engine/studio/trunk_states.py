"""How our numbers' trunks stand in Asterisk, as an engine says that runs."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import Engine, ask, engines
from ai_engine.studio.errors import UNREACHABLE, Stop
from ai_engine.studio.output import remark, say
from ai_engine.studio.place import Place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import TrunkState
from ai_engine.trunks.number import SipNumber

_ONLINE_SECONDS = 6.0
"""So long Asterisk may take for its first OPTIONS to a new trunk."""
_AGAIN_SECONDS = 0.5
_SETTLED = ("online", "failed")


def applied(where: Where, here: Place, number: SipNumber, *, wait: bool = False) -> TrunkState | None:
    """Have the engine that runs here make Asterisk's trunks those of the store; how that of ``number`` stands then,
    with ``wait`` some seconds later. None, and a remark, where that cannot be had."""
    engine = _engine(where, here)
    if engine is None:
        remark("no engine runs here: the trunk is made in Asterisk at the engine's next start")
        return None
    try:
        return ask(engine, lambda client: _settled(client, number, _ONLINE_SECONDS if wait else 0.0))
    except Stop as stop:
        remark(f"the number is kept, but not applied: {stop}")
        return None


def forgotten(where: Where, here: Place, number: SipNumber) -> None:
    """Have the objects of a number that was removed taken out of Asterisk, now or later."""
    engine = _engine(where, here)
    if engine is None:
        remark("no engine runs here: its trunk is taken out of Asterisk at the engine's next start")
        return
    try:
        done = ask(engine, lambda client: client.reconcile())
    except Stop as stop:
        remark(f"Asterisk still knows its trunk, until the engine reaches it: {stop}")
        return
    if number.object_id in done.removed:
        say(f"Asterisk has forgotten {number.object_id}.")


def states(where: Where, here: Place, numbers: Sequence[SipNumber]) -> Mapping[str, TrunkState]:
    """Of each number; ``unknown``, and why, where nobody can say."""
    engine = _engine(where, here)
    try:
        if engine is None:
            raise Stop(UNREACHABLE, "no engine runs here that could ask Asterisk")
        told = ask(engine, lambda client: client.trunks())
    except Stop as stop:
        remark(str(stop))
        return {one.number: _unlike(one, "unknown", str(stop)) for one in numbers}
    return {one.number: _found(one, told) for one in numbers}


def _engine(where: Where, here: Place) -> Engine | None:
    return next(iter(engines(where, here)), None)


async def _settled(client: StudioClient, number: SipNumber, seconds: float) -> TrunkState:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    now = _found(number, (await client.reconcile()).trunks)
    while now.state not in _SETTLED and loop.time() < deadline:
        await asyncio.sleep(_AGAIN_SECONDS)
        now = _found(number, await client.trunks())
    return now


def _found(number: SipNumber, trunks: Iterable[TrunkState]) -> TrunkState:
    why = "the engine does not look after it: has it the same studio.directory?"
    return next((one for one in trunks if one.number == number.number), _unlike(number, "missing", why))


def _unlike(number: SipNumber, state: str, detail: str) -> TrunkState:
    return TrunkState.model_validate(
        {"number": number.number, "object_id": number.object_id, "state": state, "detail": detail}
    )
