"""Every tool of the engine, shared by all calls, whichever configuration they began with."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ai_engine.app.after_call import AfterCall
from ai_engine.app.tool_set import ToolSet, servers_of
from ai_engine.config import EngineConfig
from ai_engine.observe.tool_tally import ToolTally
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Tool
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.calendar import calendar_tools
from ai_engine.tools.hangup import Hangup
from ai_engine.tools.leave_voicemail import LeaveVoicemail
from ai_engine.tools.report_call import ReportCall
from ai_engine.tools.send_dtmf import SendDtmf
from ai_engine.tools.transfer import Transfer

if TYPE_CHECKING:
    from ai_engine.app.outbound import Outbound
    from ai_engine.tools.mcp import McpServer

_DRAIN_SECONDS = 5.0
"""How long tools that are used after a call may go on when the engine stops."""


class CallTools:
    """Only what some agent has is made, and closed when no agent nor call has it any more."""

    def __init__(self, config: EngineConfig, outbound: "Outbound | None" = None) -> None:
        """``outbound`` where there are a calendar, and calls that were asked for."""
        self.http = SharedHttp()
        """For tools and providers; closed with the tools."""
        self._own = {tool.name: tool for tool in (*_own_tools(config), *_desk_tools(outbound))}
        self._tally = ToolTally()
        self._is_open = False
        self._closing: set[asyncio.Task[None]] = set()
        self._late: list[AfterCall] = []
        """Of calls that are over."""
        self._older: list[ToolSet] = []
        """Of configurations that are no more, but calls are: those that began with them."""
        self.now = self.prepare(config, {})
        """Of the configuration as it is."""

    def prepare(self, config: EngineConfig, known: Mapping[str, "McpServer"] | None = None) -> ToolSet:
        """The tools of another configuration, for ``adopt``; from any thread, blocks."""
        return ToolSet(
            config, self._own, servers_of(config, self.now.servers if known is None else known), self._tally, self.http,
            self._let_go,
        )  # fmt: skip

    def adopt(self, tools: ToolSet) -> None:
        """Calls that begin now have ``tools``; those in progress keep theirs."""
        self._older.append(self.now)
        self.now = tools
        self._open_servers()
        self._let_go()

    def open(self) -> None:
        """Begin to connect with MCP servers; returns at once."""
        self._is_open = True
        self._open_servers()

    async def close(self) -> None:
        """Comes after the last call."""
        sets = [self.now, *self._older]
        servers = {id(server): server for tools in sets for server in tools.servers.values()}
        after = (*(tools.after_call for tools in sets), *self._late)
        await asyncio.gather(
            *(one.drain(_DRAIN_SECONDS) for one in after),
            *(server.close() for server in servers.values()),
            *self._closing,
        )
        await self.http.close()

    def toolbox(self, agent: str, also: Iterable[str] = ()) -> Toolbox:
        """As ``ToolSet.toolbox``, of a call that begins now."""
        return self.now.toolbox(agent, also)

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `/health`; called from another thread."""
        after = (*(tools.after_call for tools in (self.now, *self._older)), *self._late)
        return {
            "used": self._tally.snapshot(),
            "after_calls": sum(one.pending for one in after),
            "mcp": {
                name: {
                    "up": server.up,
                    "tools": [tool.name for tool in server.tools],
                    "refused": server.refused,
                    "connects": server.connects,
                }
                for name, server in self.now.servers.items()
            },
        }

    def _open_servers(self) -> None:
        for server in self.now.servers.values() if self._is_open else ():
            if not server.opened:
                server.open()

    def _let_go(self) -> None:
        """Close what neither the configuration nor a call has any more."""
        over = [tools for tools in self._older if not tools.in_use]
        self._older = [tools for tools in self._older if tools.in_use]
        needed = {id(server) for tools in (self.now, *self._older) for server in tools.servers.values()}
        for tools in over:
            if tools.after_call.pending:
                self._late.append(tools.after_call)
            for server in tools.servers.values():
                if id(server) not in needed:
                    needed.add(id(server))
                    closing = asyncio.create_task(server.close(), name=f"close mcp {server.name}")
                    self._closing.add(closing)
                    closing.add_done_callback(self._closing.discard)
        self._late = [one for one in self._late if one.pending]


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
