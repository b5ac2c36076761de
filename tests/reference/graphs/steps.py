"""Steps without messages: custom events, a counter that a fork can follow, and a goto target."""

import operator
from typing import Annotated

from langchain_core.callbacks import adispatch_custom_event
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Steps(TypedDict, total=False):
    """A number and the way it took."""

    number: int
    trail: Annotated[list[str], operator.add]


async def double(state: Steps) -> Steps:
    """Doubles; tells of it in both ways that a node has."""
    get_stream_writer()({"name": "progress", "done": 0.5})
    await adispatch_custom_event("halfway", {"number": state["number"]})
    return {"number": state["number"] * 2, "trail": ["double"]}


async def increase(state: Steps) -> Steps:
    """Adds one."""
    get_stream_writer()("plain text")
    return {"number": state["number"] + 1, "trail": ["increase"]}


async def aside(_: Steps) -> Steps:
    """Is reached by a goto only."""
    return {"trail": ["aside"]}


graph = StateGraph(Steps).add_sequence([double, increase]).add_node(aside).add_edge(START, "double").compile()
