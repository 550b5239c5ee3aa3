"""What the file says of the tools agents may use."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field

from ai_engine.config.call_agent import CALL_TOOLS
from ai_engine.settings import Seconds, Section, Word
from ai_engine.tools import BUILT_IN, template
from ai_engine.tools.http_settings import HttpToolSettings
from ai_engine.tools.mcp_settings import McpServerSettings

ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
ServerName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,48}$")]

CALL_FACTS = frozenset({"agent", "call_id", "caller", "dialled"})
"""What every tool, greeting and prompt may say of the call."""
OUTCOME_FACTS = frozenset({"duration_seconds", "outcome", "provider", "transcript", "turns"})
"""What a tool that runs after the call may say beside that."""


class Destination(Section):
    """A place in the dialplan that an agent may transfer a caller to."""

    context: Word = "offhook"
    """Dialplan context."""
    extension: Word
    """Extension in that context; priority 1 is used."""
    description: str = ""
    """Who is there and when to connect a caller with them; the model reads this."""
    attended: bool = False
    """True calls that person first and connects the caller only when they answer."""
    ring_seconds: Seconds = 25
    """How long an attended transfer lets them ring."""


class Voicemail(Section):
    """The place in the dialplan where a caller leaves a message."""

    context: Word = "offhook"
    """Dialplan context."""
    extension: Word = "voicemail"
    """Extension in that context; priority 1 is used."""
    description: str | None = None
    """When to offer it; the model reads this. Absent means a sentence of the engine's own."""


class ToolsSection(Section):
    """The tools agents may use beside `hangup`, `transfer` and `send_dtmf`; an agent's `tools` names its own."""

    destinations: Mapping[Word, Destination] = {}
    """Where `transfer` can send a caller, by name."""
    voicemail: Voicemail | None = None
    """Where `leave_voicemail` sends a caller; absent: there is no such tool."""
    http: Mapping[ToolName, HttpToolSettings] = {}
    """Tools that are an HTTP request, by name."""
    mcp: Mapping[ServerName, McpServerSettings] = {}
    """Servers of tools (Model Context Protocol), by name; agents name them `NAME.*` or `NAME.TOOL`."""

    @property
    def own(self) -> tuple[str, ...]:
        """The engine's own tools, which an agent has that names none."""
        return (*BUILT_IN, *(("leave_voicemail",) if self.voicemail else ()))

    @property
    def found_facts(self) -> frozenset[str]:
        """What `pre_call` tools find out, by name."""
        return frozenset(name for tool in self.http.values() if tool.when == "pre_call" for name in tool.result)

    def secrets(self, names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """The environment variables that the tools ``names`` of an agent need, and where each is asked for."""
        for name in names:
            server = name.partition(".")[0]
            if name in self.http:
                yield from ((key, ("tools", "http", name)) for key in self.http[name].secrets())
            elif server in self.mcp:
                yield from ((key, ("tools", "mcp", server)) for key in self.mcp[server].secrets())

    def stranger(self, name: str, *, calls: bool) -> str | None:
        """Why an agent cannot have the tool ``name``; None when it can. ``calls``: there is a `call_agent`."""
        server, dot, tool = name.partition(".")
        of_calls = CALL_TOOLS if calls else ()
        if name in (*self.own, *self.http, *of_calls):
            return None
        if name in CALL_TOOLS:
            return f"{name} needs call_agent"
        if name == "leave_voicemail":
            return "leave_voicemail needs tools.voicemail"
        if dot and server in self.mcp:
            if tool != "*" and set("*?[") & set(tool):
                return f"write {server}.* for all of its tools, or the whole name of one"
            if tool == "*" or self.mcp[server].allows(tool):
                return None
            return f"tools.mcp.{server}.allowed leaves {tool!r} out"
        known = (*self.own, *of_calls, *self.http, *(f"{server}.*" for server in self.mcp))
        return f"there is no tool {name!r} (known: {', '.join(known)})"

    def offers(self, names: tuple[str, ...], tool: str) -> bool:
        """Whether ``tool``, as an agent asks for it, may be one of those that its section ``names``."""
        mcp = [(name.partition(".")[0], name) for name in names if "." in name]
        return tool in names or any(
            tool.startswith(f"{server}_") if name.endswith(".*") else tool == re.sub(r"[^\w-]", "_", name)
            for server, name in mcp
        )

    def unfound(self, names: tuple[str, ...], texts: Iterable[str]) -> Iterator[str]:
        """Facts that ``texts`` or the tools ``names`` of an agent speak of, and none of those tools finds out."""
        finders = {fact: name for name, tool in self.http.items() if tool.when == "pre_call" for fact in tool.result}
        used = [*texts, *(self.http[name].templates for name in names if name in self.http)]
        for fact in dict.fromkeys(template.places(used)):
            if fact in finders and finders[fact] not in names:
                yield f"{{{fact}}} is found out by the tool {finders[fact]}, which this agent does not have"

    def contradictions(self, *, calls: bool) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Values that are right alone and wrong together: where, and what to do. ``calls``: there is a `call_agent`."""
        own = (*BUILT_IN, "leave_voicemail", *(CALL_TOOLS if calls else ()))
        found: dict[str, str] = {}
        for name, tool in self.http.items():
            place = ("tools", "http", name)
            if name in own:
                yield place, f"{name} is a tool of the engine's own; choose another name"
            facts = CALL_FACTS
            if tool.when == "in_call":
                facts |= self.found_facts
            elif tool.when == "post_call":
                facts |= self.found_facts | OUTCOME_FACTS
            for inside, why in tool.contradictions(facts):
                yield (*place, *inside), why
            if tool.when == "pre_call":
                for fact in tool.result:
                    if fact in CALL_FACTS | OUTCOME_FACTS | {"channel"}:
                        yield (*place, "result", fact), f"{fact!r} is already a fact of the call"
                    elif fact in found:
                        yield (*place, "result", fact), f"{found[fact]} finds out {fact!r} already"
                    found[fact] = name
        for name, server in self.mcp.items():
            for inside, why in server.contradictions():
                yield ("tools", "mcp", name, *inside), why
