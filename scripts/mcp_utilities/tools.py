"""The command behind scripts/mcp_tools."""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent, Tool
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.mcp_utilities.connection import ENVIRONMENT, NotReached, add_server, connected, every_tool, why

DONE, TOOL_FAILED, USAGE, NO_SUCH_TOOL, NOT_REACHED = 0, 1, 2, 3, 5

_EPILOG = f"""examples:
  scripts/mcp_tools list                                              what our own engine offers
  scripts/mcp_tools info call_agent
  scripts/mcp_tools call call_agent_status '{{"callId": "5f0c1c9e-…"}}'
  scripts/mcp_tools list --url https://example.com/mcp --json
  scripts/mcp_tools list --command 'npx -y some-mcp-server'

{ENVIRONMENT}
exit status:
  0  done                          3  there is no such tool
  1  the tool says it failed       5  the server cannot be reached
  2  an option is wrong
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status is in the help."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except NotReached as error:
        return _complain(str(error), NOT_REACHED)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    add_server(shared)
    parser = argparse.ArgumentParser(
        prog="scripts/mcp_tools",
        description="The tools of an MCP server: list them, show one, use one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", parents=[shared], help="what the server offers")
    info = commands.add_parser("info", parents=[shared], help="what a tool does, and takes")
    call = commands.add_parser("call", parents=[shared], help="use a tool")
    for command in (info, call):
        command.add_argument("tool", metavar="TOOL")
    call.add_argument("arguments", nargs="?", default="{}", metavar="JSON", help="an object; - reads it from the input")
    return parser


async def _run(options: argparse.Namespace) -> int:
    given = _arguments(options)
    if given is None:
        return _complain('the arguments must be a JSON object, like {"callId": "…"}', USAGE)
    async with connected(options) as client:
        tools = {tool.name: tool for tool in await every_tool(client)}
        if options.command == "list":
            return _list(options, list(tools.values()))
        if options.tool not in tools:
            return _complain(f"there is no tool {options.tool!r}; there are {', '.join(tools)}", NO_SUCH_TOOL)
        if options.command == "info":
            return _info(options, tools[options.tool])
        return await _call(options, client, given)


def _arguments(options: argparse.Namespace) -> dict[str, Any] | None:
    text = getattr(options, "arguments", "{}")
    try:
        found = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _list(options: argparse.Namespace, tools: Sequence[Tool]) -> int:
    if options.json:
        print(json.dumps([_plain(tool) for tool in tools], indent=2))
        return DONE
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("tool", no_wrap=True)
    table.add_column("needs")
    table.add_column("what it does")
    for tool in tools:
        needs = ", ".join(tool.input_schema.get("required", ()))
        table.add_row(Text(tool.name, "bold"), Text(needs), Text(printable(tool.description or "")))
    Console().print(table)
    return DONE


def _info(options: argparse.Namespace, tool: Tool) -> int:
    if options.json:
        print(json.dumps(_plain(tool), indent=2))
        return DONE
    screen = Console()
    screen.print(Text(tool.name, "bold"))
    screen.print(Text(printable(tool.description or "")))
    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("argument", "type", "", "what it is"):
        table.add_column(title, no_wrap=title != "what it is")
    required = tool.input_schema.get("required", ())
    for name, schema in tool.input_schema.get("properties", {}).items():
        needed = "needed" if name in required else ""
        described = printable(str(schema.get("description", "")))
        table.add_row(Text(name), Text(_kind(schema)), needed, Text(described))
    screen.print(table)
    return DONE


async def _call(options: argparse.Namespace, client: Client, given: Mapping[str, Any]) -> int:
    try:
        result = await client.call_tool(options.tool, dict(given))
    except (MCPError, RuntimeError, ValueError) as error:
        return _complain(f"{options.tool}: {why(error)}", TOOL_FAILED)
    if options.json:
        print(json.dumps(_plain(result), indent=2))
    else:
        _show(result)
    return TOOL_FAILED if result.is_error else DONE


def _show(result: CallToolResult) -> None:
    screen = Console()
    for block in result.content:
        text = block.text if isinstance(block, TextContent) else f"[{block.type}]"
        if result.structured_content is not None and _says(text) == result.structured_content:
            continue  # many servers say their data twice
        screen.print(Text(printable(text), "red" if result.is_error else ""), soft_wrap=True)
    if result.structured_content is not None:
        screen.print_json(data=result.structured_content)


def _says(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _kind(schema: Mapping[str, Any]) -> str:
    kinds = [schema, *schema.get("anyOf", ())]
    return " or ".join(str(kind["type"]) for kind in kinds if "type" in kind) or "any"


def _plain(thing: Tool | CallToolResult) -> dict[str, Any]:
    return thing.model_dump(mode="json", by_alias=True, exclude_none=True)


def printable(text: str) -> str:
    """What a server says must not command this terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _complain(text: str, status: int) -> int:
    print(f"mcp_tools: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
