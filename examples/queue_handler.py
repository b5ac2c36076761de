"""A callback handler with an asyncio.Queue, read with `async for` while the agent runs.

    .venv/bin/python -m examples.queue_handler

prints

    Calling add… {'x': 3, 'y': 4}
    add: 7
    3 + 4 is 7 (seven).
    Tools used: add
"""

import asyncio

from graph import QueueCallbackHandler, build_graph
from graph.callbacks import End, Token, ToolCall, ToolResult


async def main() -> None:
    """Run the agent in a task of its own, and print what happens."""
    handler = QueueCallbackHandler()
    asked = build_graph().ainvoke({"messages": "What is 3 + 4?"}, {"callbacks": [handler]})
    run = handler.watch(asyncio.create_task(asked))
    async for event in handler:
        match event:
            case ToolCall(name=name, args=args):
                print(f"Calling {name}…", args)
            case ToolResult(name=name, content=content):
                print(f"{name}: {content}")
            case Token(text=text):
                print(text, end="", flush=True)
            case End(tools_used=tools_used):
                print(f"\nTools used: {', '.join(tools_used)}")
    await run


if __name__ == "__main__":
    asyncio.run(main())
