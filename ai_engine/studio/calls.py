"""What `studio list`, `hangup`, `transfer`, `listen` and `whisper` do."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import ask, one
from ai_engine.studio.errors import NOT_FOUND, OK, UNREACHABLE, USAGE, Stop
from ai_engine.studio.live import Live, Row, find, live, remember
from ai_engine.studio.output import Cell, remark, say, short_ids, show_json, show_table, state
from ai_engine.studio.place import Place, place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import LiveCall, Transfer

_POLL_SECONDS = 1.0


# -- studio list ---------------------------------------------------------------------------------------------


def list_running(where: Where, *, as_json: bool) -> int:
    """Raises Stop: where no engine runs there is nothing to list, and that should be known."""
    here = place(where)
    now = live(where, here)
    if not now.engines:
        one(where, here)
    for silent in now.silent:
        remark(silent)
    if len(now.silent) == len(now.engines):
        raise Stop(UNREACHABLE, "no engine answers")
    remember(here, now.rows)
    if as_json:
        show_json([_row_json(number, row) for number, row in enumerate(now.rows, 1)])
    elif not now.rows:
        say("nothing runs: no call, and no agent in a room")
    else:
        _show_rows(now)
    return OK


def _show_rows(now: Live) -> None:
    several = len(now.engines) > 1
    ids = short_ids([row.id for row in now.rows])
    titles = ["#", "agent", "with", "state", "for", "turn", *(["engine"] if several else []), "id"]
    moment = datetime.now(UTC)
    show_table(
        titles,
        (
            [str(number), *_cells(row, moment), *([row.engine.id or row.engine.url] if several else []), id]
            for number, (row, id) in enumerate(zip(now.rows, ids, strict=True), 1)
        ),
        fold=("with", "state"),
        spare=("engine",),
    )


def _cells(row: Row, moment: datetime) -> Sequence[Cell]:
    if (room := row.room) is not None:
        door = f"dial {room.extension}" if room.extension else room.url
        return [room.agent, f"room {room.name}", f"{room.joined} joined", _span(room.started_at, moment), door]
    call = row.call
    assert call is not None
    way = {"inbound": "from", "outbound": "to", "room": "in room"}[call.direction]
    turn = f"{call.last_turn_ms:.0f} ms" if call.last_turn_ms is not None else ""
    word = f"{call.state}, {call.floor}" if call.floor and call.state == "talking" else call.state
    return [
        call.agent, f"{way} {call.room or call.number}", (word, str(state(call.state)[1])),
        _span(call.answered_at or call.since, moment), turn,
    ]  # fmt: skip


def _span(start: datetime, moment: datetime) -> str:
    minutes, seconds = divmod(max(0, int((moment - start).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _row_json(number: int, row: Row) -> dict[str, object]:
    thing = row.call if row.call is not None else row.room
    assert thing is not None
    engine = {"id": row.engine.id, "url": row.engine.url}
    return {"#": number, "kind": "call" if row.call is not None else "room", "engine": engine, **thing.as_json()}


# -- what is done to a call ----------------------------------------------------------------------------------


def hang_up(where: Where, targets: Sequence[str], *, everything: bool, as_json: bool) -> int:
    """Raises Stop."""
    if bool(targets) == everything:
        raise Stop(USAGE, "say which call: `studio hangup ID`, a number of `studio list`, or --all")
    here = place(where)
    now = _now(where, here)
    rows = [row for row in now.rows if row.call is not None] if everything else [_call(here, now, t) for t in targets]
    ended: list[LiveCall] = []
    trouble: Stop | None = None
    for row in rows:
        try:
            ended.append(ask(row.engine, lambda client, id=row.id: client.hang_up(id)))  # type: ignore[misc]
        except Stop as stop:
            if not (everything and stop.status == NOT_FOUND):  # it has ended by itself meanwhile
                remark(f"{row.id}: {stop}")
                trouble = stop
    if as_json:
        show_json([call.as_json() for call in ended])
    else:
        for call in ended:
            say(f"hung up: {call.agent} and {call.number or call.room or 'nobody'} ({call.call_id})")
        if not rows:
            say("no call is in progress")
    return trouble.status if trouble is not None else OK


def transfer(where: Where, target: str, extension: str | None, context: str | None) -> int:
    """Raises Stop."""
    try:
        goal = Transfer(extension=extension, context=context)
    except ValidationError as error:
        raise Stop(USAGE, f"{extension}: is no extension of a dialplan") from error
    here = place(where)
    row = _call(here, _now(where, here), target)
    call = ask(row.engine, lambda client: client.transfer(row.id, goal))
    say(f"{call.number or call.call_id} is sent to {extension or 'the human'}{f'@{context}' if context else ''}")
    return OK


def listen(where: Where, target: str, extension: str) -> int:
    """Until Ctrl-C, or the end of the call. Raises Stop."""
    here = place(where)
    row = _call(here, _now(where, here), target)

    async def heard(client: StudioClient) -> None:
        # Whoever is impatient while it is asked for does not leave a telephone that listens.
        asked = asyncio.ensure_future(client.listen(row.id, extension))
        try:
            await asyncio.shield(asked)
            say(f"{extension} is called and hears both sides; Ctrl-C ends that")
            while any(call.call_id == row.id for call in await client.calls()):  # noqa: ASYNC110  it is asked for
                await asyncio.sleep(_POLL_SECONDS)
        except asyncio.CancelledError:
            await client.stop_listening(await asked)
            raise

    try:
        ask(row.engine, heard)
    except KeyboardInterrupt:
        return OK
    return OK


def whisper(where: Where, target: str, text: str) -> int:
    """Raises Stop."""
    if not text.strip():
        raise Stop(USAGE, "there is nothing to whisper")
    here = place(where)
    row = _call(here, _now(where, here), target)
    ask(row.engine, lambda client: client.whisper(row.id, text))
    say(f"{row.call.agent if row.call is not None else 'the agent'} is told")
    return OK


def _now(where: Where, here: Place) -> Live:
    now = live(where, here)
    if not now.engines:
        one(where, here)
    return now


def _call(here: Place, now: Live, word: str) -> Row:
    row = find(here, now, word)
    if row.room is not None:
        raise Stop(USAGE, f"{word} is a room; `studio agent stop {row.room.name}` ends it")
    return row
