"""A real MCP server of an imaginary shop, on standard input and output: python -m tests.fakes.mcp_stdio_server."""

import asyncio
from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

ORDERS = {7: "on its way", 42: "delivered"}

Called = Callable[[str, dict[str, Any]], None]


def shop(called: Called = lambda name, arguments: None) -> MCPServer:
    """Its server; ``called`` hears of each call of a tool, with the name and arguments."""
    server = MCPServer("shop", version="1.0", log_level="CRITICAL")

    @server.tool()
    def lookup_order(number: int) -> dict[str, Any]:
        """Say where an order is."""
        called("lookup_order", {"number": number})
        if number not in ORDERS:
            raise ToolError(f"There is no order {number}.")
        return {"number": number, "status": ORDERS[number]}

    @server.tool()
    async def slow(seconds: float) -> str:
        """Answer after some seconds."""
        called("slow", {"seconds": seconds})
        await asyncio.sleep(seconds)
        return "That took a while."

    @server.tool()
    def fails() -> str:
        """Fail as a program with a defect does; what went wrong stays in the server."""
        called("fails", {})
        raise RuntimeError("the shop's own secret")

    return server


if __name__ == "__main__":
    shop().run("stdio")
