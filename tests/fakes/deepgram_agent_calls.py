"""The functions that Deepgram's Voice Agent asks its client for."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from tests.fakes.deepgram_wire import Wire
from tests.fakes.scenario import Call

LATE_SECONDS = 0.25
"""How long an answer to a cancelled function may still be on its way."""


class Calls:
    """Those of one conversation, asked together and answered one by one."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open: dict[str, str] = {}
        """Names, by id."""
        self._results: dict[str, str] = {}
        self._all_answered = asyncio.Event()
        self._cancelled: dict[str, float] = {}
        """When, by id."""

    async def ask(self, tools: Sequence[Call]) -> list[dict[str, Any]]:
        """Have them called; what came of it, as a history has it."""
        asked: list[dict[str, Any]] = [
            {
                "id": f"func_{uuid4().hex[:16]}",
                "name": tool.name,
                "arguments": json.dumps(tool.arguments) if tool.raw is None else tool.raw,
                "client_side": True,
            }
            for tool in tools
        ]
        self._open = {one["id"]: one["name"] for one in asked}
        self._results = {}
        self._all_answered.clear()
        await self._wire.send({"type": "FunctionCallRequest", "functions": asked})
        await self._all_answered.wait()
        return [{**one, "response": self._results[one["id"]]} for one in asked]

    def take(self, message: dict[str, Any]) -> None:
        """A FunctionCallResponse."""
        id, name = message.get("id", ""), message["name"]
        if id in self._cancelled:
            if asyncio.get_running_loop().time() - self._cancelled[id] > LATE_SECONDS:
                self._wire.violate(f"FunctionCallResponse to {name}: it was cancelled")
        elif self._open.get(id) != name:
            self._wire.violate(f"FunctionCallResponse to {name}: it was not asked for, or is answered")
        else:
            del self._open[id]
            self._results[id] = message["content"]
            if not self._open:
                self._all_answered.set()

    async def cancel(self) -> None:
        """Those that were not answered."""
        if not self._open:
            return
        calls, self._open = self._open, {}
        self._cancelled |= dict.fromkeys(calls, asyncio.get_running_loop().time())
        functions = [{"id": id, "name": name} for id, name in calls.items()]
        await self._wire.send({"type": "FunctionCallCancelled", "functions": functions})
