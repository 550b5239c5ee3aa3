"""The responses of a session, of which the provider makes one at a time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ai_engine.call.events import ReplyId
from ai_engine.providers.openai_realtime import wire
from ai_engine.providers.openai_realtime.captions import Captions, Pace
from ai_engine.providers.openai_realtime.wire import Message


@dataclass(slots=True, eq=False)
class Response:
    """From being asked for to being forgotten."""

    event_id: str
    """Of our message that asked for it; empty for one the provider began by itself."""
    asked: Message
    """What is different in it."""
    captions: Captions
    id: str = ""
    """Known once the provider has begun."""
    reply: ReplyId | None = None
    """Known once it was announced, which is when it has something to say."""
    sound_ms: dict[str, float] = field(default_factory=dict)
    """How much came of each message in it, by item."""
    done: bool = False
    ended: bool = False
    """The session knows that nothing more comes."""
    refused: bool = False
    """What still comes of it is dropped."""
    unwanted: bool = False
    """Nothing of it stays in the conversation but what was heard."""


class Responses:
    """Asks for responses, for each when the one before is done and nobody holds them back."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._numbers = count(1)
        self._pace = Pace()
        self._due: Message | None = None
        self._held = False
        self._by_id: dict[str, Response] = {}
        self.active: Response | None = None
        """Asked for, and not done."""

    @property
    def coming(self) -> bool:
        """Whether one is being made, or to be asked for."""
        return self._due is not None or self.active is not None

    def want(self, response: Message | None = None) -> None:
        """Another response is due, one for all who want it; a sentence of the moment gives way to an answer."""
        if self._due is None or not response:
            self._due = response or {}
        self.ask()

    def hold(self, held: bool) -> None:
        """Nothing is asked for while ``held``."""
        self._held = held
        self.ask()

    def ask(self) -> None:
        """Ask for what is due, if that can be."""
        if self._due is None or self._held or self.active is not None:
            return
        due, self._due = self._due, None
        self.active = self._new(f"create_{next(self._numbers)}", due)
        self._send(wire.create(self.active.event_id, due))

    def withdraw(self) -> None:
        """What nobody has heard of yet is not wanted now; it is due again."""
        response = self.active
        if response is None or response.reply is not None or response.refused:
            return
        response.refused = response.unwanted = True
        if response.id:
            self._send(wire.cancel(response.id))
        self.want(response.asked)

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        """``reply`` was heard so far and no further, which is what the provider is to remember of it."""
        response = next((one for one in self._by_id.values() if one.reply == reply), None)
        if response is None or response.unwanted:
            return
        if not response.done and not response.refused:
            self._send(wire.cancel(response.id))
        response.refused = response.unwanted = True
        for number, (item, ms) in enumerate(response.sound_ms.items(), 1):
            heard = min(heard_ms, ms)
            heard_ms -= heard
            if heard < 1:
                self._send(wire.delete(item))
            elif heard < ms or (not response.done and number == len(response.sound_ms)):
                self._send(wire.truncate(item, int(heard)))

    # -- what the provider says ------------------------------------------------------------------------------

    def created(self, id: str) -> None:
        """One has begun: ours, or one of the provider's own, which answers everything said so far."""
        response = self.active
        if response is None or response.id:
            response = self.active = self._new("", {})
            if not self._due:
                self._due = None
        response.id = id
        self._by_id[id] = response
        if response.refused:
            self._send(wire.cancel(id))

    def open(self, id: str) -> Response | None:
        """The response of that id, unless it is refused."""
        response = self._by_id.get(id)
        return None if response is None or response.refused else response

    def finished(self, id: str) -> Response | None:
        """It is done, whatever became of it; None when it was never heard of."""
        response = self._by_id.get(id)
        if response is not None:
            response.done = True
            if response is self.active:
                self.active = None
        return response

    def came_too_early(self) -> None:
        """Another is still being made: ask again when it is done."""
        if self.active is not None:
            self.want(self.active.asked)

    def not_begun(self, event_id: str) -> Response | None:
        """What the message ``event_id`` asked for is not made; None when that message was another."""
        response = self.active
        if response is None or response.id or response.event_id != event_id:
            return None
        self.active = None
        return response

    def forget(self, response: Response, output: Iterable[Mapping[str, Any]]) -> None:
        """Of a response that was broken off: let the conversation have no call, nor, if unwanted, any unheard word."""
        kinds = ("message", "function_call") if response.unwanted else ("function_call",)
        for item in output:
            if item["type"] in kinds and item["id"] not in response.sound_ms:
                self._send(wire.delete(item["id"]))

    def give_up(self, response: Response, output: Iterable[Mapping[str, Any]]) -> None:
        """It failed, and is made anew from its beginning: let the conversation have nothing of it."""
        response.refused = response.unwanted = True
        response.sound_ms.clear()
        self.forget(response, output)
        self.want(response.asked)

    def _new(self, event_id: str, asked: Message) -> Response:
        return Response(event_id, asked, Captions(self._pace))
