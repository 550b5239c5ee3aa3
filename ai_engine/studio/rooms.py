"""What `studio agent start` and `stop` do."""

from contextlib import aclosing

from pydantic import ValidationError

from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import Engine, ask, one
from ai_engine.studio.errors import OK, USAGE, Stop
from ai_engine.studio.live import find, live
from ai_engine.studio.output import remark, say, show_facts, show_json
from ai_engine.studio.place import place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import Room, RoomRequest
from ai_engine.switchboard.ports import Refused


def start_agent(where: Where, agent: str, *, channel: str | None, foreground: bool, as_json: bool) -> int:
    """Raises Stop."""
    try:
        request = RoomRequest(agent=agent, channel=channel)
    except ValidationError as error:
        raise Stop(USAGE, f"--channel {channel}: must be made of letters, digits, _ and -, 40 at most") from error
    engine = one(where, place(where))
    room = ask(engine, lambda client: client.start_room(request))
    if as_json:
        show_json(room.as_json())
    else:
        say(f"{room.agent} runs in room {room.name}.")
        show_facts([("id", room.id), ("dial", room.extension), ("open", room.url)])
    return _stay(engine, room, quiet=as_json) if foreground else OK


def stop_agent(where: Where, word: str, *, as_json: bool) -> int:
    """By the room's id or name, its agent, or a number of the list. Raises Stop."""
    here = place(where)
    now = live(where, here)
    if not now.engines:
        one(where, here)
    of_agent = [row for row in now.rows if row.room is not None and row.room.agent == word]
    row = of_agent[0] if len(of_agent) == 1 else find(here, now, word)
    if row.room is None:
        raise Stop(USAGE, f"{word} is a call; `studio hangup {row.id}` ends it")
    room = ask(row.engine, lambda client: client.stop_room(row.id))
    if as_json:
        show_json(room.as_json())
    else:
        say(f"{room.agent} is stopped; room {room.name} is closed.")
    return OK


def _stay(engine: Engine, room: Room, *, quiet: bool) -> int:
    """Until Ctrl-C, or until somebody else stops the room."""

    async def watched(client: StudioClient) -> None:
        calls: set[str] = set()
        async with aclosing(client.events()) as events:
            async for event in events:
                if event.kind == "call_started" and event.data.get("room") == room.name:
                    calls.add(event.call_id)
                    say("somebody joins" if not quiet else "", "dim")
                elif event.kind == "said" and event.call_id in calls and not quiet:
                    say(f"{event.data.get('who', '')!s:7} {event.data.get('text', '')}")
                elif event.kind == "call_ended" and event.call_id in calls:
                    calls.discard(event.call_id)
                elif event.kind == "room_changed" and not any(one.id == room.id for one in await client.rooms()):
                    remark(f"room {room.name} was closed by somebody else")
                    return

    try:
        ask(engine, watched)
    except KeyboardInterrupt:
        ask(engine, lambda client: _closed(client, room))
        remark(f"room {room.name} is closed")
    return OK


async def _closed(client: StudioClient, room: Room) -> None:
    try:
        await client.stop_room(room.id)
    except Refused as refusal:
        if refusal.kind != "not-found":
            raise
