"""The agent as a node of another graph: it streams there as it does alone, to clients and to handlers.

    .venv/bin/python -m examples.agent_in_a_graph

prints

    outer: ai: Let me see.
    agent: tool: 7
    3 + 4 is 7 (seven).
    Token ToolCall ToolResult End
"""

import asyncio

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from graph import QueueCallbackHandler, build_graph


def greet(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Say something first."""
    return {"messages": [AIMessage("Let me see.")]}


builder = StateGraph(MessagesState)
builder.add_node("greet", greet)
builder.add_node("agent", build_graph())
builder.add_edge(START, "greet")
builder.add_edge("greet", "agent")
builder.add_edge("agent", END)
outer = builder.compile(name="outer")


async def main() -> None:
    """Stream messages of the graph and of those inside it."""
    stream = outer.astream({"messages": [HumanMessage("What is 3 + 4?")]}, stream_mode="messages", subgraphs=True)
    async for namespace, (message, _) in stream:
        where = namespace[0].partition(":")[0] if namespace else "outer"
        if isinstance(message, AIMessageChunk):
            print(message.text, end="")
        else:
            print(f"{where}: {message.type}: {message.text}")
    print()
    handler = QueueCallbackHandler()
    asked = {"messages": [HumanMessage("What is 3 + 4?")]}
    run = handler.watch(asyncio.create_task(outer.ainvoke(asked, {"callbacks": [handler]})))
    print(*dict.fromkeys([type(event).__name__ async for event in handler]))
    await run


if __name__ == "__main__":
    asyncio.run(main())
