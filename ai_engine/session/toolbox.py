"""The tools of an agent: arguments checked, time limited, and an answer whatever happens."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from jsonschema import Draft202012Validator
from referencing import Registry

from ai_engine.session.ports import Tool, ToolContext, ToolSpec

log = structlog.get_logger(__name__)

Result = Mapping[str, Any]


class Toolbox:
    """What one agent may use."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        # A registry of its own, since the default one fetches what a schema refers to.
        self._checks = {
            name: Draft202012Validator(dict(tool.parameters), registry=Registry()) for name, tool in self._tools.items()
        }

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What an agent is told of them."""
        return tuple(self._tools.values())

    async def use(self, name: str, arguments: Mapping[str, Any], call: ToolContext) -> tuple[Result, float]:
        """What came of it, and how many milliseconds it took. Never raises but when it is cancelled."""
        began = time.perf_counter()
        result = await self._result(name, arguments, call)
        return result, (time.perf_counter() - began) * 1000

    async def _result(self, name: str, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        tool = self._tools.get(name)
        if tool is None:
            return _failed(f"there is no tool {name!r}; there are {', '.join(self._tools) or 'none'}")
        try:
            problem = next(iter(self._checks[name].iter_errors(dict(arguments))), None)
            if problem is not None:
                return _failed(f"{'.'.join(map(str, problem.absolute_path)) or 'arguments'}: {problem.message}")
            async with asyncio.timeout(tool.timeout_seconds):
                return await tool.run(arguments, call)
        except TimeoutError:
            return _failed(f"{name} did not answer within {tool.timeout_seconds:g} s")
        except Exception:  # noqa: BLE001 - the edge of somebody's tool: the call goes on, and the agent is told
            log.exception("tool failed", tool=name, call_id=call.call_id)
            return _failed(f"{name} failed")


def _failed(error: str) -> Result:
    return {"ok": False, "error": error}
