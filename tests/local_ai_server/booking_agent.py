"""The shipped agent that makes appointments, and a calendar it asks."""

import json
from pathlib import Path
from typing import Any

from ai_engine.config import load
from local_ai_server.agent import Agent, read_agent
from local_ai_server.llm.base import Act, Verdict
from local_ai_server.llm.happenings import Record
from local_ai_server.llm.intents import Intents

SHIPPED = Path(__file__).parents[2] / "config" / "ai-agent.yaml"

FREE = {
    "ok": True,
    "available": True,
    "start": "2026-03-10T10:00:00+01:00",
    "spoken": "Tuesday, March tenth, at ten",
    "day": "2026-03-10",
}
TAKEN = {
    "ok": True,
    "available": False,
    "reason": "that time is taken",
    "day": "2026-03-10",
    "offer": "Tuesday at ten thirty, or Tuesday at eleven",
    "alternatives": [{"start": "2026-03-10T10:30:00+01:00"}, {"start": "2026-03-10T11:00:00+01:00"}],
}
FOUND = {
    "ok": True,
    "day": "2026-03-11",
    "offer": "Wednesday at nine, or Wednesday at two",
    "slots": [{"start": "2026-03-11T09:00:00+01:00"}, {"start": "2026-03-11T14:00:00+01:00"}],
}
BOOKED = {"ok": True, "eventId": "e1", "spoken": "Tuesday, March tenth, at ten"}


def definition() -> dict[str, Any]:
    """The ``agent`` of a ``start`` message."""
    secrets = {"ASTERISK_ARI_USERNAME": "a", "ASTERISK_ARI_PASSWORD": "b"}
    return dict(load(SHIPPED, secrets).agent("booking"))


class Talk:
    """A conversation with ``agent``, as its record has it."""

    def __init__(self, agent: Agent | None = None) -> None:
        self.agent = agent or read_agent(definition())
        self.record: list[tuple[str, str]] = []
        self.understood_nothing = False
        """Of the latest answer: it was none."""

    async def says(self, text: str) -> tuple[str, Act | None]:
        """What the caller's ``text`` is answered with."""
        self.record.append(("caller", text))
        return await self.answer()

    async def came(self, act: Act | None, result: dict[str, Any]) -> tuple[str, Act | None]:
        """What is said when the tool that ``act`` asked for came to ``result``."""
        assert act is not None
        self.record.append(("tool", f"{act.name}({json.dumps(dict(act.arguments))}) -> {json.dumps(result)}"))
        return await self.answer()

    async def answer(self) -> tuple[str, Act | None]:
        """``("", None)`` for what was not understood, or is answered with silence."""
        record: Record = tuple(self.record)
        pieces = [piece async for piece in Intents().answer(self.agent, record)]
        said = "".join(piece for piece in pieces if isinstance(piece, str))
        if said:
            self.record.append(("agent", said))
        self.understood_nothing = pieces == [Verdict.NOT_UNDERSTOOD]
        assert Verdict.NOT_UNDERSTOOD not in pieces or self.understood_nothing
        return said, next((piece for piece in pieces if isinstance(piece, Act)), None)
