"""Runs that are held until another run opens their gate: so a test decides what happens while one is under way."""

import asyncio
import collections

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

GATES: dict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)
"""By name: both runs are in one process."""


class Gate(TypedDict, total=False):
    """Which gate, and what to do at it."""

    hold: str
    open: str
    passed: str


async def arrive(_: Gate) -> Gate:
    """A first step, which a rollback undoes."""
    return {"passed": "arrived"}


async def wait(state: Gate) -> Gate:
    """Opens a gate, or says that it waits, then waits."""
    if opened := state.get("open"):
        GATES[opened].set()
    if held := state.get("hold"):
        get_stream_writer()({"waits": True})
        await GATES[held].wait()
    return {"passed": "through"}


graph = StateGraph(Gate).add_sequence([arrive, wait]).add_edge(START, "arrive").compile()
