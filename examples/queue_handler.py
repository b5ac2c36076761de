"""A callback handler with a queue, read with `async for` while the agent runs; then the same on a chain.

    .venv/bin/python -m examples.queue_handler

prints

    Calling add… {'x': 3, 'y': 4}
    add: 7
    3 + 4 is 7 (seven).
    Tools used: add
    A client that disconnects does not end its run, unless it asked for on_disconnect=cancel.
    Tools used: none
"""

import asyncio
from typing import Any

from langchain_core.runnables import Runnable

from graph import End, QueueCallbackHandler, Token, ToolCall, ToolResult, build_graph
from graph.chains import retrieve


async def tell(asked: Runnable[Any, Any], given: Any) -> None:
    """Run something in a task of its own, and print what happens."""
    handler = QueueCallbackHandler()
    run = handler.watch(asyncio.create_task(asked.ainvoke(given, {"callbacks": [handler]})))
    async for event in handler:
        match event:
            case ToolCall(name=name, args=args):
                print(f"Calling {name}…", args)
            case ToolResult(name=name, content=content):
                print(f"{name}: {content}")
            case Token(text=text):
                print(text, end="", flush=True)
            case End(tools_used=tools_used):
                print(f"\nTools used: {', '.join(tools_used) or 'none'}")
    await run


async def main() -> None:
    """Ask the agent, then a chain."""
    await tell(build_graph(), {"messages": "What is 3 + 4?"})
    await tell(retrieve, "Does a client that disconnects end its run?")


if __name__ == "__main__":
    asyncio.run(main())
