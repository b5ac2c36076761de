"""The graph that is served while its server is killed: several supersteps that all leave a trace outside the state.

    begin ──> step (again and again) ──> call ──> tools ──> confirm ──> close

The question is a JSON object, see `Order`.
"""

import asyncio
import json
import operator
import os
import re
import time
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from tests.faults import traces


class Order(TypedDict):
    """What a run is to do."""

    marker: str
    """Names the run's traces."""
    steps: int
    pause: float
    """Seconds between what a step writes."""
    do: str
    """"" or `interrupt`, `block`, `hold`, `hang`, `unserializable`, `huge`: what its last step does besides."""


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    order: Order
    done: Annotated[list[int], operator.add]
    extra: Any


def leave_trace(marker: str, what: object) -> None:
    """A side effect outside the state."""
    traces.leave_trace(int(os.environ["FAULTS_TRACES"]), marker, what)


async def begin(state: State) -> dict[str, Any]:
    order = json.loads(str(state["messages"][-1].content))
    leave_trace(order["marker"], "begin")
    return {"order": order}


async def step(state: State) -> dict[str, Any]:
    order, number = state["order"], len(state["done"])
    leave_trace(order["marker"], number)
    write = get_stream_writer()
    for part in range(3):
        write({"name": "part", "step": number, "part": part, "marker": order["marker"]})
        await asyncio.sleep(order["pause"])
    await get_store().aput(("faults", order["marker"]), str(number), {"step": number})
    return {"done": [number]}


def more(state: State) -> str:
    return "step" if len(state["done"]) < state["order"]["steps"] else "call"


async def call(state: State) -> dict[str, Any]:
    marker = state["order"]["marker"]
    return {"messages": [AIMessage("", tool_calls=[{"id": f"call-{marker}", "name": "note", "args": {"of": marker}}])]}


@tool
async def note(of: str) -> str:
    """Leaves a trace."""
    leave_trace(of, "tool")
    return f"noted {of}"


async def confirm(state: State) -> dict[str, Any]:
    match state["order"]["do"]:
        case "interrupt":
            return {"extra": interrupt({"sure": True})}
        case "block":
            time.sleep(3)  # noqa: ASYNC251  # the fault
        case "hold":
            leave_trace(state["order"]["marker"], "hold")
            re.match(r"(a|a)*b", "a" * 100)
        case "hang":
            await asyncio.Event().wait()
        case "exit":
            os._exit(9)
        case "unserializable":
            return {"extra": object()}
        case "huge":
            return {"extra": "x" * 50_000_000}
    return {}


async def close(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage(f"closed {state['order']['marker']}")]}


builder = StateGraph(State)
builder.add_node("begin", begin)
builder.add_node("step", step)
builder.add_node("call", call)
builder.add_node("tools", ToolNode([note]))
builder.add_node("confirm", confirm)
builder.add_node("close", close)
builder.add_edge(START, "begin")
builder.add_edge("begin", "step")
builder.add_conditional_edges("step", more, ["step", "call"])
builder.add_edge("call", "tools")
builder.add_edge("tools", "confirm")
builder.add_edge("confirm", "close")
builder.add_edge("close", END)
graph = builder

if os.environ.get("FAULTS_ENDINGS"):
    from tests.faults.endings import break_endings

    break_endings()
