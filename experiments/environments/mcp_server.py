"""An MCP server over HTTP, with the Python package `mcp`: adds, and looks words up."""

import sys

from mcp.server import MCPServer

server = MCPServer("sums")


@server.tool(name="get-sum")
def get_sum(a: int, b: int) -> str:
    """The sum of two numbers."""
    return f"The sum of {a} and {b} is {a + b}."


if __name__ == "__main__":
    server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
