"""A FastMCP server for tests: python3 server.py PORT [TOKEN]."""

import asyncio
import sys

from fastmcp import Context, FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier

auth = None
if len(sys.argv) > 2:
    auth = StaticTokenVerifier(tokens={sys.argv[2]: {"client_id": "load", "scopes": ["read"]}}, required_scopes=["read"])

mcp = FastMCP("test", auth=auth)


@mcp.tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@mcp.tool
async def count(ctx: Context, steps: int) -> str:
    """Counts, and says how far it is."""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps)
        await asyncio.sleep(0.01)
    return "counted"


@mcp.tool
def fail() -> str:
    """Fails."""
    raise ValueError("as it was told")


@mcp.resource("test://{name}")
def thing(name: str) -> str:
    """A thing."""
    return name


@mcp.prompt
def greet(name: str) -> str:
    """A greeting."""
    return f"Say hello to {name}."


mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False, log_level="warning")
