"""Every tool of the engine: which agent has which, before, in and after a call."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ai_engine.app.after_call import AfterCall
from ai_engine.config import EngineConfig
from ai_engine.observe.tool_tally import ToolTally
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Observer, Tool
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.answer import cut
from ai_engine.tools.calendar import calendar_tools
from ai_engine.tools.hangup import Hangup
from ai_engine.tools.http import HttpTool
from ai_engine.tools.leave_voicemail import LeaveVoicemail
from ai_engine.tools.report_call import ReportCall
from ai_engine.tools.send_dtmf import SendDtmf
from ai_engine.tools.template import as_text
from ai_engine.tools.transfer import Transfer

if TYPE_CHECKING:
    from ai_engine.app.outbound import Outbound
    from ai_engine.tools.mcp import McpServer

_DRAIN_SECONDS = 5.0
"""How long tools that are used after a call may go on when the engine stops."""


class CallTools:
    """Shared by all calls; only what some agent has is made."""

    def __init__(self, config: EngineConfig, outbound: "Outbound | None" = None) -> None:
        """``outbound`` where there are a calendar, and calls that were asked for."""
        self._config = config
        self._keys = {name: key.get_secret_value() for name, key in config.secrets.keys.items()}
        self.http = SharedHttp()
        """For tools and providers; closed with the tools."""
        self._named = {agent: config.tools_of(agent) for agent in config.agents}
        used = {name for names in self._named.values() for name in names}
        self._own = {tool.name: tool for tool in (*_own_tools(config), *_desk_tools(outbound))}
        self._requests = {
            name: HttpTool(name, settings, self._keys, self.http)
            for name, settings in config.tools.http.items()
            if name in used
        }
        self._servers = self._mcp_servers({name.partition(".")[0] for name in used if "." in name})
        self._tally = ToolTally()
        self._after_call = AfterCall(
            {agent: [*self._of(agent, "post_call")] for agent in config.agents}, self._tally.count
        )
        self.observers: tuple[Observer, ...] = (self._tally, self._after_call)

    def open(self) -> None:
        """Begin to connect with MCP servers; returns at once."""
        for server in self._servers.values():
            server.open()

    async def close(self) -> None:
        """Comes after the last call."""
        servers = (server.close() for server in self._servers.values())
        await asyncio.gather(self._after_call.drain(_DRAIN_SECONDS), *servers)
        await self.http.close()

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

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `/health`; called from another thread."""
        return {
            "used": self._tally.snapshot(),
            "after_calls": self._after_call.pending,
            "mcp": {
                name: {
                    "up": server.up,
                    "tools": [tool.name for tool in server.tools],
                    "refused": server.refused,
                    "connects": server.connects,
                }
                for name, server in self._servers.items()
            },
        }

    def _in_call(self, agent: str, also: Iterable[str]) -> Iterator[Tool]:
        for name in dict.fromkeys((*self._named[agent], *also)):
            server, _, pattern = name.partition(".")
            if name in self._own:
                yield self._own[name]
            elif server in self._servers:
                yield from (tool for tool in self._servers[server].tools if pattern in ("*", tool.own_name))
        yield from self._of(agent, "in_call")

    def _of(self, agent: str, when: str) -> Iterator[HttpTool]:
        for name in self._named[agent]:
            if name in self._requests and self._config.tools.http[name].when == when:
                yield self._requests[name]

    def _mcp_servers(self, names: set[str]) -> dict[str, "McpServer"]:
        if not names:
            return {}
        # Most of a second, and 30 MB, that nobody should pay for who has no such server.
        from ai_engine.tools.mcp import McpServer  # noqa: PLC0415

        return {
            name: McpServer(name, settings, self._keys)
            for name, settings in self._config.tools.mcp.items()
            if name in names
        }


def _own_tools(config: EngineConfig) -> Iterator[Tool]:
    yield from (Hangup(), SendDtmf(), Transfer(config.tools.destinations))
    if (voicemail := config.tools.voicemail) is not None:
        yield LeaveVoicemail(voicemail.context, voicemail.extension, voicemail.description)


def _desk_tools(outbound: "Outbound | None") -> Iterator[Tool]:
    if outbound is None:
        return
    settings = outbound.settings
    yield from calendar_tools(outbound, settings.calendar, settings.defaults, outbound.zone, partial(datetime.now, UTC))
    yield ReportCall(outbound)
