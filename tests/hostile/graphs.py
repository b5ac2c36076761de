"""Graphs for hostile input."""

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages


class Counting(TypedDict, total=False):
    """A state that takes messages, a count and anything else."""

    messages: Annotated[list[AnyMessage], add_messages]
    count: int
    anything: Any


def _count(state: Counting) -> Counting:
    count = state.get("count")
    return {"count": count + 1 if isinstance(count, int) else 1}


def _built() -> Any:
    builder = StateGraph(Counting)
    builder.add_node("count", _count)
    builder.add_edge(START, "count")
    builder.add_edge("count", END)
    return builder


counting = _built()
