"""A real MCP server whose tools are described badly, on standard input and output."""

import asyncio
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

GOOD = {"type": "object", "properties": {}}
TOOLS = {
    "good.tool": GOOD,
    "good tool": GOOD,
    "x" * 70: GOOD,
    "huge": GOOD,
    "nonsense": {"type": "object", "properties": {"a": {"type": "strnig"}}},
    "elsewhere": {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}},
    "nowhere": {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
    "endless": {"type": "object", "$ref": "#"},
}


async def listed(context: Any, params: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name=name, input_schema=schema) for name, schema in TOOLS.items()])


async def called(context: Any, params: CallToolRequestParams) -> CallToolResult:
    text = "x" * 100_000 if params.name == "huge" else params.name
    return CallToolResult(content=[TextContent(type="text", text=text)])


async def main() -> None:
    server = Server("odd", on_list_tools=listed, on_call_tool=called)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
