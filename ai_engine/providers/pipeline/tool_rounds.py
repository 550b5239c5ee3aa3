"""The tools a model has asked for, until all of them are answered."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from ai_engine.call.events import ReplyId, ToolAsked
from ai_engine.providers.pipeline.outbox import Outbox
from ai_engine.providers.pipeline.ports import ToolCall
from ai_engine.providers.pipeline.record import Answer, Record

_ENDING = frozenset({"hangup", "transfer"})
"""After these there is nothing left to say, unless they failed."""

_MOST_ROUNDS = 5
_MOST_BROKEN_ROUNDS = 2


class ToolRounds:
    """Asks the session, and enters what came of it in the record."""

    def __init__(self, record: Record, outbox: Outbox) -> None:
        self._record = record
        self._outbox = outbox
        self._numbers = count(1)
        self._asked: dict[str, tuple[Answer, int]] = {}
        self._rounds = 0
        self._broken_rounds = 0
        self.goes_on = False
        """Something came of them that the model has to know."""

    @property
    def waiting(self) -> bool:
        return bool(self._asked)

    @property
    def exhausted(self) -> bool:
        """The model asks and asks, or again for what makes no sense."""
        return self._rounds >= _MOST_ROUNDS or self._broken_rounds >= _MOST_BROKEN_ROUNDS

    def begin(self) -> None:
        """The caller has said something new."""
        self._rounds = self._broken_rounds = 0

    def ask(self, reply: ReplyId, calls: tuple[ToolCall, ...]) -> bool:
        """Whether any of them makes sense; what does not is answered with a complaint."""
        answer = self._record.tools_asked(reply, calls)
        if not self._asked:
            self.goes_on = False
        for place, call in enumerate(calls):
            arguments = _object(call.arguments)
            if arguments is None:
                error = f"the arguments of {call.name} are no JSON object; ask again with valid JSON"
                answer.results[place] = {"ok": False, "error": error}
                self.goes_on = True
                continue
            id = self._put(call.name, arguments, goes_on=call.name not in _ENDING)
            self._asked[id] = (answer, place)
        makes_sense = len(answer.results) < len(calls)
        self._rounds += 1
        self._broken_rounds = 0 if makes_sense else self._broken_rounds + 1
        return makes_sense

    def transfer(self) -> None:
        """Hand the caller to a person without the model's asking."""
        self._put("transfer", {}, goes_on=False)

    def answer(self, id: str, result: Mapping[str, Any]) -> bool:
        """Whether it was the last one that was waited for."""
        asked = self._asked.pop(id, None)
        if asked is None:
            return False
        answer, place = asked
        answer.results[place] = result
        if answer.calls[place].name not in _ENDING or not result.get("ok", True):
            self.goes_on = True
        return not self._asked

    def _put(self, name: str, arguments: dict[str, Any], *, goes_on: bool) -> str:
        id = f"tool-{next(self._numbers)}"
        self._outbox.put(ToolAsked(id, name, arguments, goes_on))
        return id


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
