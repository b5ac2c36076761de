"""A tool that asks a model: what runs inside the tool shows under the tool's run, and never in the answer.

    .venv/bin/python -m examples.callbacks_into_a_tool

prints

    add begins with {'x': 3, 'y': 4}
        a model inside says: A sum was asked for.
    add gives 7.0
    3 + 4 is 7 (seven).
"""

import asyncio

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from graph import build_graph
from graph.models import chat_model

NOTE = "Context: A sum was asked for.\n\nQuestion: What was asked for?"


@tool
async def add(x: float, y: float, config: RunnableConfig) -> float:
    """Add two numbers, and have a model make a note of it."""
    await chat_model().ainvoke(NOTE, config)
    return x + y


async def main() -> None:
    """Follow a run, telling what is inside a tool from what is not."""
    tools: set[str] = set()
    graph = build_graph(tools=[add])
    async for event in graph.astream_events({"messages": "What is 3 + 4?"}, version="v2"):
        inside = not tools.isdisjoint(event["parent_ids"])
        match event["event"]:
            case "on_tool_start":
                tools.add(event["run_id"])
                print(f"{event['name']} begins with {event['data']['input']}")
            case "on_chat_model_end" if inside:
                print(f"    a model inside says: {event['data']['output'].text}")
            case "on_tool_end":
                print(f"{event['name']} gives {event['data']['output'].content}")
            case "on_chat_model_stream" if not inside:
                print(event["data"]["chunk"].text, end="")
    print()


if __name__ == "__main__":
    asyncio.run(main())
