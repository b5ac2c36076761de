"""A tool-calling agent: two calls in one turn, one of which may fail, then the answer."""

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from scripted import Scripted


@tool
async def add(a: int, b: int) -> str:
    """Adds two numbers."""
    get_stream_writer()({"tool": "add", "progress": 1})
    return str(a + b)


@tool
async def divide(a: int, b: int) -> str:
    """Divides two numbers."""
    return str(a / b)


def _script(messages: list[BaseMessage]) -> AIMessage:
    results = [str(message.content) for message in messages if message.type == "tool"]
    if results:
        return AIMessage(f"The tools said {' and '.join(results)}.")
    divisor = 0 if "zero" in messages[-1].text else 2
    calls = [
        {"name": "add", "args": {"a": 1, "b": 2}, "id": "call_add"},
        {"name": "divide", "args": {"a": 9, "b": divisor}, "id": "call_divide"},
    ]
    return AIMessage("Let me see.", tool_calls=calls)


async def model(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Calls the model."""
    return {"messages": [await Scripted(script=_script).ainvoke(state["messages"], config)]}


graph = (
    StateGraph(MessagesState)
    .add_node(model)
    .add_node("tools", ToolNode([add, divide], handle_tool_errors=True))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile()
)
