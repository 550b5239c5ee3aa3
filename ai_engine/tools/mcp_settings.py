"""What the file says of an MCP server."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field

from ai_engine.settings import HttpUrl, Seconds, Section
from ai_engine.tools import template
from ai_engine.tools.http_settings import HeaderName, HeaderText

Pattern = Annotated[str, Field(pattern=r"^\S+$")]


class McpServerSettings(Section):
    """A server of tools, reached by `url` (streamable HTTP) or started with `command` (standard input and output).
    `${NAME}` is a secret of `.env`."""

    url: HttpUrl | None = None
    """Where it listens."""
    headers: Mapping[HeaderName, HeaderText] = {}
    """Sent with every request to `url`."""
    command: str | None = None
    """The program, started with the engine and started anew when it ends."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    env: Mapping[str, str] = {}
    """Its environment, beside PATH, HOME and the like."""
    allowed: tuple[Pattern, ...] = ("*",)
    """Which of its tools may be used: names as the server has them, or patterns like `lookup_*`."""
    timeout_seconds: Seconds = 5.0
    """How long a tool may take."""

    def allows(self, tool: str) -> bool:
        """Whether the tool, by the server's own name, may be used."""
        return any(fnmatchcase(tool, pattern) for pattern in self.allowed)

    @property
    def templates(self) -> Mapping[str, Any]:
        """The fields with secrets in them."""
        return {"headers": self.headers, "env": self.env}

    def secrets(self) -> Iterator[str]:
        """The environment variables it needs."""
        return template.secrets(self.templates)

    def contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Values that are wrong together: where, and why."""
        if (self.url is None) == (self.command is None):
            yield (), "needs either url or command"
        if self.url is None and self.headers:
            yield ("headers",), "headers go with url"
        if self.command is None and (self.args or self.env):
            yield ("args" if self.args else "env",), "args and env go with command"
        for field, value in self.templates.items():
            for place in template.places(value):
                yield (field,), f"there is nothing to put in the place {{{place}}}; a secret is written ${{NAME}}"
