"""MCP: a client that asks a server in a process of its own for a tool, twice, a resource and a prompt."""

import asyncio
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

SERVER = """
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
server = MCPServer("mountains")


@server.tool()
def get_height(mountain: str) -> str:
    return "6768 metres"


@server.resource("mountains://all")
def list_mountains() -> str:
    return "Huascarán"


@server.prompt()
def ask(mountain: str) -> str:
    return f"How high is {mountain}?"


server.run("stdio")
"""


def run(url: str) -> None:
    """Ask the server."""
    asyncio.run(_run())


async def _run() -> None:
    server = StdioServerParameters(command=sys.executable, args=["-c", SERVER])
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        await session.list_tools()
        for _ in range(2):
            result = await session.call_tool("get_height", {"mountain": "Huascarán"})
            assert "6768" in str(result.content)
        assert "Huascarán" in str((await session.read_resource("mountains://all")).contents)
        assert "Huascarán" in str((await session.get_prompt("ask", {"mountain": "Huascarán"})).messages)
