"""What one can have done: each asks what it must know, does it, and says in plain words how it went."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from textual.screen import ModalScreen

from ai_engine.errors import OffhookError
from ai_engine.studio.tui import forms
from ai_engine.studio.tui.bars import cut
from ai_engine.studio.tui.dialogs import Confirm
from ai_engine.switchboard.models import Applied, LiveCall, Room, StudioCall
from ai_engine.switchboard.ports import Refused, Switchboard
from ai_engine.trunks.number import SipNumber
from ai_engine.web.connection import EngineUnreachable

if TYPE_CHECKING:
    from ai_engine.studio.tui.app import StudioApp

T = TypeVar("T")


class Verbs:
    """Every method is a coroutine for a worker of the app."""

    def __init__(self, app: "StudioApp") -> None:
        self._app = app
        self._again: StudioCall | None = None
        """A call that was refused: what was typed is not lost."""
        self._extension = ""
        """The telephone that listened in last."""
        self._listeners: dict[str, str] = {}
        """Call to listener."""

    # -- calls -----------------------------------------------------------------------------------------------

    async def call(self, agent: str = "") -> None:
        board, again = self._app.board, self._again
        before = {"agent": again.agent, "to": again.to, "from": again.from_number or ""} if again else {}
        names = self._app.agent_names()
        agent = agent or (names[0] if names else "")
        numbers = [number.number for number in board.numbers]
        request = await self._ask(forms.call_form(names, numbers, agent, before))
        if request is None:
            return
        self._again = request
        record = await self._do(f"calling {request.to}", lambda engine: engine.call(request))
        if record is not None:
            self._again = None
            self._told(f"Calling {record.request.to} with {request.agent}; the job is {record.id}.")

    async def hang_up(self, call: LiveCall) -> None:
        if not await self._confirmed(f"Hang up on {_who(call)}?"):
            return
        if await self._do("hanging up", lambda engine: engine.hang_up(call.call_id)):
            self._told(f"Hung up on {_who(call)}.")

    async def transfer(self, call: LiveCall) -> None:
        where = await self._ask(forms.transfer_form(""))
        if where is None:
            return
        if await self._do("the transfer", lambda engine: engine.transfer(call.call_id, where)):
            self._told(f"{_who(call)} is sent to {where.extension or 'the human'}.")

    async def listen(self, call: LiveCall) -> None:
        """Or stop it, where we listen already."""
        if listener := self._listeners.pop(call.call_id, ""):
            if await self._did("no longer listening", lambda engine: engine.stop_listening(listener)):
                self._told(f"Nobody listens to {_who(call)} any more.")
            return
        asked = await self._ask(forms.listen_form(self._extension))
        if asked is None:
            return
        self._extension = asked.extension
        listening = await self._do("listening in", lambda engine: engine.listen(call.call_id, asked.extension))
        if listening is not None:
            self._listeners[call.call_id] = listening
            self._told(f"{asked.extension} rings and hears {_who(call)}; l again to stop.")

    async def whisper(self, call: LiveCall) -> None:
        asked = await self._ask(forms.whisper_form())
        if asked is not None and await self._did(
            "the whisper", lambda engine: engine.whisper(call.call_id, asked.text)
        ):
            self._told(f"The agent was told: {cut(asked.text, 50)}")

    # -- agents ----------------------------------------------------------------------------------------------

    async def start(self, agent: str = "") -> None:
        names = self._app.agent_names()
        request = await self._ask(forms.room_form(names, agent or (names[0] if names else "")))
        if request is None:
            return
        room = await self._do(f"starting {request.agent}", lambda engine: engine.start_room(request))
        if room is not None:
            self._told(f"{room.agent} runs in room {room.name}; {_ways_in(room)}.")

    async def stop(self, agent: str) -> None:
        rooms = [room for room in self._app.board.rooms if room.agent == agent]
        if not rooms:
            self._failed(f"{agent} runs in no room; s starts it in one.")
            return
        names = ", ".join(room.name for room in rooms)
        if not await self._confirmed(f"Stop {agent} in {names}? Everybody in there is hung up on."):
            return
        for room in rooms:
            if await self._do("stopping it", partial(_stop, room.id)):
                self._told(f"{agent} has stopped in {room.name}.")

    # -- numbers ---------------------------------------------------------------------------------------------

    async def reconcile(self) -> None:
        applied = await self._do("reconciling", lambda engine: engine.reconcile())
        if applied is not None:
            self._told(_of(applied))

    async def add_number(self) -> None:
        number = await self._ask(forms.number_form(self._app.agent_names()))
        if number is None:
            return
        held = any(other.number == number.number for other in self._app.board.numbers)
        if held and not await self._confirmed(f"{number.number} is there already. Replace it?"):
            return
        if await self._stored(lambda: self._app.sources.numbers.add(number, replace=held)):
            await self._applied(f"{number.number} is imported")

    async def remove_number(self, number: SipNumber) -> None:
        question = f"Remove {number.number} ({number.address})? Its password is forgotten, and calls to it are refused."
        if await self._confirmed(question) and await self._stored(
            lambda: self._app.sources.numbers.remove(number.number)
        ):
            await self._applied(f"{number.number} is removed")

    async def _stored(self, work: Callable[[], object]) -> bool:
        try:
            await asyncio.to_thread(work)
        except (OffhookError, OSError) as error:
            self._failed(str(error))
            return False
        self._app.feed.hurry()
        return True

    async def _applied(self, done: str) -> None:
        if self._app.feed.switchboard is None:
            self._told(f"{done}; Asterisk learns of it when the engine starts.")
            return
        applied = await self._do(f"{done}, but applying it", lambda engine: engine.reconcile())
        if applied is not None:
            self._told(f"{done}. {_of(applied)}")

    # --------------------------------------------------------------------------------------------------------

    async def _ask(self, form: ModalScreen[T | None]) -> T | None:
        return await self._app.push_screen_wait(form)

    async def _confirmed(self, question: str) -> bool:
        return await self._app.push_screen_wait(Confirm(question))

    async def _did(self, what: str, work: Callable[[Switchboard], Awaitable[None]]) -> bool:
        async def done(engine: Switchboard) -> bool:
            await work(engine)
            return True

        return bool(await self._do(what, done))

    async def _do(self, what: str, work: Callable[[Switchboard], Awaitable[T]]) -> T | None:
        """The answer; None where there was none, which is then said."""
        engine = self._app.feed.switchboard
        if engine is None:
            self._failed(f"Not done: {self._app.board.link.why} It goes on by itself when the engine is back.")
            return None
        self._app.tell(f"{what} …")
        try:
            answer = await work(engine)
        except (Refused, EngineUnreachable) as problem:
            self._failed(f"Not done ({what}): {problem}")
            return None
        self._app.feed.hurry()
        return answer

    def _told(self, text: str) -> None:
        self._app.tell(text)

    def _failed(self, text: str) -> None:
        self._app.tell(text, bad=True)


async def _stop(room: str, engine: Switchboard) -> Room:
    return await engine.stop_room(room)


def _who(call: LiveCall) -> str:
    return call.number or (f"room {call.room}" if call.room else call.call_id)


def _ways_in(room: Room) -> str:
    ways = [f"dial {room.extension}" if room.extension else "", f"open {room.url}" if room.url else ""]
    return " or ".join(filter(None, ways)) or "nobody can join it yet"


def _of(applied: Applied) -> str:
    wrong = [f"{trunk.number}: {trunk.detail or trunk.state}" for trunk in applied.trunks if trunk.state == "failed"]
    if wrong:
        return "Not applied: " + "; ".join(wrong)
    return f"Asterisk has them ({applied.backend}): {len(applied.written)} written, {len(applied.removed)} removed."
