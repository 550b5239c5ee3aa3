"""The command behind scripts/check_mcp."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from mcp import Client, MCPError
from mcp_types import Tool
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.mcp_utilities.connection import ENVIRONMENT, NotReached, add_server, connected, every_tool, name_of, why
from scripts.mcp_utilities.tools import printable

GOOD, BAD, USAGE, NOT_REACHED = 0, 1, 2, 5

_EPILOG = f"""examples:
  scripts/check_mcp                                    our own engine
  scripts/check_mcp --expect call_agent call_agent_status
  scripts/check_mcp --url https://example.com/mcp --json
  scripts/check_mcp --command '.venv/bin/python -m ai_engine mcp'

{ENVIRONMENT}
exit status:
  0  all is well          2  an option is wrong
  1  something is not     5  the server cannot be reached
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    milliseconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status is in the help."""
    parser = argparse.ArgumentParser(
        prog="scripts/check_mcp",
        description="Connects with an MCP server, lists its tools, and looks whether they are in order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_server(parser)
    parser.add_argument("--expect", nargs="+", default=[], metavar="TOOL", help="it must have these tools")
    options = parser.parse_args(arguments)
    checks: list[Check] = []
    try:
        asyncio.run(_check(options, checks))
    except KeyboardInterrupt:
        return 130
    _show(options, checks)
    if not checks[0].ok:
        return NOT_REACHED
    return GOOD if all(check.ok for check in checks) else BAD


async def _check(options: argparse.Namespace, checks: list[Check]) -> None:
    """What is found is added to ``checks``; the first says whether it could be reached."""
    began = time.monotonic()
    try:
        async with connected(options) as client:
            checks.append(Check("connect", True, _who(client), _since(began)))
            began = time.monotonic()
            try:
                tools = await every_tool(client)
            except (MCPError, RuntimeError, ValueError, TimeoutError) as error:
                checks.append(Check("list tools", False, why(error), _since(began)))
                return
            names = ", ".join(tool.name for tool in tools)
            checks.append(Check("list tools", bool(tools), names or "it has none", _since(began)))
            checks.extend(_schemas(tools))
            checks.extend(_expected(options.expect, tools))
    except NotReached as error:
        checks.append(Check("connect", False, str(error), _since(began)))


def _who(client: Client) -> str:
    info = client.server_info
    name = f"{info.name} {info.version}".strip() if info else "a server"
    return f"{name}, protocol {client.protocol_version}"


def _schemas(tools: Sequence[Tool]) -> list[Check]:
    found = []
    for tool in tools:
        began = time.monotonic()
        problem = _problem(tool)
        found.append(Check(f"schema of {tool.name}", not problem, problem or "good", _since(began)))
    return found


def _problem(tool: Tool) -> str:
    """What is wrong with its schemas; empty for nothing."""
    for schema in (tool.input_schema, tool.output_schema):
        if schema is None:
            continue
        try:
            validator_for(schema).check_schema(schema)
        except SchemaError as error:
            return error.message
    return "" if tool.input_schema.get("type") == "object" else "its input is no object"


def _expected(names: Sequence[str], tools: Sequence[Tool]) -> list[Check]:
    there = {tool.name for tool in tools}
    return [Check(f"tool {name}", name in there, "there" if name in there else "is missing", 0.0) for name in names]


def _show(options: argparse.Namespace, checks: Sequence[Check]) -> None:
    if options.json:
        print(json.dumps({"server": name_of(options), "checks": [asdict(check) for check in checks]}, indent=2))
        return
    table = Table(box=SIMPLE, pad_edge=False, title=Text(name_of(options)), title_justify="left")
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("ms", justify="right")
    table.add_column("found")
    for check in checks:
        mark = Text("good", "green") if check.ok else Text("BAD", "bold red")
        table.add_row(mark, Text(printable(check.name)), f"{check.milliseconds:.0f}", Text(printable(check.detail)))
    Console().print(table)


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


if __name__ == "__main__":
    sys.exit(main())
