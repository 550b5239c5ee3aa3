"""Tools that are used once a call is over."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from ai_engine.call.events import AgentStarted, CallEvent
from ai_engine.tools.answer import Result
from ai_engine.tools.http import HttpTool

log = structlog.get_logger(__name__)

_WAITS_SECONDS = (1.0, 5.0)
"""Before each further attempt."""


@dataclass(slots=True)
class _Call:
    facts: dict[str, str]
    began: float
    lines: list[Mapping[str, Any]] = field(default_factory=list)


class AfterCall:
    """Implements ``Observer``: what it does happens in the background, and delays nobody's end."""

    def __init__(
        self,
        tools: Mapping[str, Sequence[HttpTool]],
        used: Callable[[str, Result], None],
        waits_seconds: Sequence[float] = _WAITS_SECONDS,
    ) -> None:
        """``tools`` by agent; ``used`` is told the name and the result of each attempt."""
        self._tools = tools
        self._used = used
        self._waits = waits_seconds
        self._calls: dict[str, _Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """How many are being used."""
        return len(self._tasks)

    async def drain(self, seconds: float) -> None:
        """Give those in use ``seconds`` to come to an end, then give them up."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("tools after a call were given up", tools=sorted(task.get_name() for task in late))
            await asyncio.wait(late)

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        if self._tools.get(facts["agent"]):
            self._calls[call_id] = _Call(dict(facts), now)

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        if isinstance(event, AgentStarted) and call_id in self._calls:
            self._calls[call_id].facts |= {"provider": event.provider}

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """No tool hears the call."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        if call_id in self._calls:
            self._calls[call_id].lines = list(lines)

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        values = {
            **call.facts,
            "call_id": call_id,
            "outcome": str(reason),
            "duration_seconds": round(now - call.began),
            "transcript": "\n".join(f"{line['speaker']}: {line['text']}" for line in call.lines),
            "turns": [{"speaker": line["speaker"], "text": line["text"]} for line in call.lines],
        }
        for tool in self._tools[call.facts["agent"]]:
            task = asyncio.create_task(self._use(tool, values), name=tool.name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _use(self, tool: HttpTool, values: Mapping[str, Any]) -> None:
        for wait in (*self._waits, None):
            result = await tool.ask(values)
            self._used(tool.name, result)
            if result["ok"]:
                return
            if wait is not None:
                await asyncio.sleep(wait)
        log.error("tool failed after the call", tool=tool.name, call_id=values["call_id"], error=result["error"])
