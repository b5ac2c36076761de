"""Nodes that fail: with a builtin class, with a class of the app, and by going round too often."""

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class AppError(Exception):
    """A class that only the app knows."""


class Failing(TypedDict, total=False):
    """How to fail."""

    how: str
    began: bool


async def begin(_: Failing) -> Failing:
    """Works, so that there is something before the failure."""
    return {"began": True}


async def fail(state: Failing) -> Failing:
    """Fails as it is told."""
    if state["how"] == "builtin":
        raise ValueError("a value that nobody likes")
    if state["how"] == "app":
        raise AppError("a secret of the app")
    return {}


def again(state: Failing) -> list[str]:
    """Goes round for ever if it is told to."""
    return ["begin"] if state["how"] == "endless" else []


graph = (
    StateGraph(Failing)
    .add_node(begin)
    .add_node(fail)
    .add_edge(START, "begin")
    .add_edge("begin", "fail")
    .add_conditional_edges("fail", again, ["begin"])
    .compile()
)
