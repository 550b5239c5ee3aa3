"""The tools of one configuration, which the calls that began with it keep."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ai_engine.app.after_call import AfterCall
from ai_engine.call.events import CallEvent
from ai_engine.config import EngineConfig
from ai_engine.observe.tool_tally import ToolTally
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Observer, Tool
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.answer import cut
from ai_engine.tools.http import HttpTool
from ai_engine.tools.template import as_text

if TYPE_CHECKING:
    from ai_engine.tools.mcp import McpServer


class ToolSet:
    """Which agent has which tools, before, in and after a call. Implements ``Observer``, to know who uses it."""

    def __init__(
        self,
        config: EngineConfig,
        own: Mapping[str, Tool],
        servers: Mapping[str, "McpServer"],
        tally: ToolTally,
        http: SharedHttp,
        let_go: Callable[[], None],
    ) -> None:
        """``own`` are the engine's, by name; ``let_go`` is called when a call has ended."""
        self._config = config
        self._own = own
        self.servers = servers
        """Of MCP, by name."""
        self._tally = tally
        self._let_go = let_go
        keys = _keys(config)
        self._named = {agent: config.tools_of(agent) for agent in config.agents}
        used = {name for names in self._named.values() for name in names}
        self._requests = {
            name: HttpTool(name, settings, keys, http) for name, settings in config.tools.http.items() if name in used
        }
        self.after_call = AfterCall({agent: [*self._of(agent, "post_call")] for agent in config.agents}, tally.count)
        self.observers: tuple[Observer, ...] = (tally, self.after_call, self)
        """For each call that has these tools."""
        self._calls: set[str] = set()
        self._beginning = 0

    @property
    def in_use(self) -> bool:
        """Whether a call has them."""
        return bool(self._calls or self._beginning)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A call is about to begin with them; it must begin in the same turn of the loop as this ends."""
        self._beginning += 1
        try:
            yield
        finally:
            self._beginning -= 1

    def toolbox(self, agent: str, also: Iterable[str] = ()) -> Toolbox:
        """What ``agent`` may use in a call that begins now, and ``also`` these. Raises KeyError."""
        return Toolbox(self._in_call(agent, also))

    async def find_out(self, agent: str, facts: Mapping[str, str]) -> dict[str, str]:
        """What the tools before a call found out, by name; empty where they did not. Raises KeyError."""
        tools = [*self._of(agent, "pre_call")]
        results = await asyncio.gather(*(tool.ask(facts) for tool in tools))
        found: dict[str, str] = {}
        for tool, result in zip(tools, results, strict=True):
            self._tally.count(tool.name, result)
            for name in self._config.tools.http[tool.name].result:
                found[name] = cut(as_text(result["result"][name])) if result["ok"] else ""
        return found

    def _in_call(self, agent: str, also: Iterable[str]) -> Iterator[Tool]:
        for name in dict.fromkeys((*self._named[agent], *also)):
            server, _, pattern = name.partition(".")
            if name in self._own:
                yield self._own[name]
            elif server in self.servers:
                yield from (tool for tool in self.servers[server].tools if pattern in ("*", tool.own_name))
        yield from self._of(agent, "in_call")

    def _of(self, agent: str, when: str) -> Iterator[HttpTool]:
        for name in self._named[agent]:
            if name in self._requests and self._config.tools.http[name].when == when:
                yield self._requests[name]

    # -- who uses it -----------------------------------------------------------------------------------------

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        self._calls.add(call_id)

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        """Changes nothing."""

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """Changes nothing."""

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Changes nothing."""

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        self._calls.discard(call_id)
        self._let_go()


def servers_of(config: EngineConfig, known: Mapping[str, "McpServer"]) -> dict[str, "McpServer"]:
    """The MCP servers that an agent of ``config`` has, by name; those of ``known`` that are as they were stay."""
    names = {name.partition(".")[0] for agent in config.agents for name in config.tools_of(agent) if "." in name}
    if not names:
        return {}
    # Most of a second, and 30 MB, that nobody should pay for who has no such server.
    from ai_engine.tools.mcp import McpServer  # noqa: PLC0415

    keys = _keys(config)
    servers: dict[str, McpServer] = {}
    for name, settings in config.tools.mcp.items():
        if name in names:
            before = known.get(name)
            same = before is not None and before.is_for(settings, keys)
            servers[name] = before if same else McpServer(name, settings, keys)  # type: ignore[assignment]
    return servers


def _keys(config: EngineConfig) -> dict[str, str]:
    return {name: key.get_secret_value() for name, key in config.secrets.keys.items()}
