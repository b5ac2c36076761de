"""Graphs that stop for a human: at one interrupt, at two at once, and before a node."""

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Draft(TypedDict, total=False):
    """What is written, and what a human said of it."""

    topic: str
    draft: str
    published: bool


async def draft(state: Draft) -> Draft:
    """Writes."""
    return {"draft": f"About {state['topic']}"}


async def ask(state: Draft) -> Draft:
    """Stops; a resume with a text replaces the draft."""
    answer = interrupt({"question": "Publish?", "draft": state["draft"]})
    return {"draft": answer} if isinstance(answer, str) else {}


async def publish(_: Draft) -> Draft:
    """Ends the work."""
    return {"published": True}


def _line(*nodes: Any) -> StateGraph[Draft]:
    return StateGraph(Draft).add_sequence(nodes).add_edge(START, nodes[0].__name__)


review = _line(draft, ask, publish).compile()
"""Stops inside a node."""

paused = _line(draft, publish).compile(interrupt_before=["publish"])
"""Stops before a node."""


class Votes(TypedDict, total=False):
    """What each asked."""

    votes: Annotated[list[str], operator.add]


async def first(_: Votes) -> Votes:
    """Asks one."""
    return {"votes": [f"first: {interrupt('first?')}"]}


async def second(_: Votes) -> Votes:
    """Asks the other, at the same time."""
    return {"votes": [f"second: {interrupt('second?')}"]}


pair = StateGraph(Votes).add_node(first).add_node(second).add_edge(START, "first").add_edge(START, "second").compile()
"""Stops at two interrupts in one step."""
