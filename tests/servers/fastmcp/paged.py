"""A server on the official SDK whose list of tools has pages, and which tells subscribers of
changes: python3 paged.py PORT. It writes down which pages were read."""

import sys

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

PAGE = 2
NAMES = ["change", "one", "two", "three", "four"]
TOOLS = [types.Tool(name=name, description=name, input_schema={"type": "object"}) for name in NAMES]

bus = InMemorySubscriptionBus()


async def list_tools(_, params):
    first = int(params.cursor) if params and params.cursor else 0
    print("tools from", first, flush=True)
    after = first + PAGE
    next_cursor = str(after) if after < len(TOOLS) else None
    return types.ListToolsResult(tools=TOOLS[first:after], next_cursor=next_cursor)


async def call_tool(_, params):
    if params.name == "change":
        await bus.publish(ToolsListChanged())
    return types.CallToolResult(content=[types.TextContent(type="text", text=params.name)])


server = Server(
    "paged",
    version="1",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_subscriptions_listen=ListenHandler(bus),
)
uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
