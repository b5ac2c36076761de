"""A graph in a graph: the child talks and may stop for a human, the parent wraps what it said."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from scripted import Scripted


async def speak(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Says something, after a human agreed if the last message asks for that."""
    if "ask" in state["messages"][-1].text:
        interrupt("May the child speak?")
    model = Scripted(script=lambda _: AIMessage("the child speaks"))
    return {"messages": [await model.ainvoke(state["messages"], config)]}


async def close(_: MessagesState) -> dict[str, Any]:
    """Adds a message that no model made."""
    return {"messages": [AIMessage("closed", id="closing")]}


child = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak").compile()
graph = (
    StateGraph(MessagesState)
    .add_node("child", child)
    .add_node(close)
    .add_edge(START, "child")
    .add_edge("child", "close")
    .compile()
)
