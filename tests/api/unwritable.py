"""A graph whose state and stream have values that JSON does not have, and one that cannot even be stored."""

import asyncio
import datetime
import ipaddress
import zoneinfo
from typing import Any, TypedDict

import numpy as np
from langchain_core.messages import ToolMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send, interrupt
from pydantic import SecretStr


class State(TypedDict, total=False):
    v: Any
    rest: str
    messages: list[Any]


def odd() -> dict[str, Any]:
    """The values, by what they are."""
    return {
        "array": np.ones((2, 3)).T,
        "number": np.float64(1.5),
        "zone": zoneinfo.ZoneInfo("Europe/Berlin"),
        "network": ipaddress.ip_network("10.0.0.0/8"),
        "utc": datetime.UTC,
        "send": Send("work", {"b": b"\xff\xd8"}),
        "secret": SecretStr("sk-secret"),
        "range": range(3),
        "keys": {("a", 1): 2},
        "bytes": b"\xff\xd8",
        "infinity": float("inf"),
    }


def write(state: State) -> Any:
    if state.get("rest") == "refuse":
        return {"v": {"inner": [object()]}, "rest": "lost"}
    get_stream_writer()({"odd": odd(), "object": object()})
    message = ToolMessage("r", tool_call_id="c", id="m", artifact={"score": np.float64(0.5), "bytes": b"\xff\xd8"})
    return {"v": odd(), "rest": "here", "messages": [message]}


def ask(state: State) -> Any:
    answer = interrupt({"odd": odd(), "v": state["v"]})
    return {"rest": f"{state['rest']} {answer}"}


async def keep(_: State, runtime: Runtime[Any]) -> Any:
    store = runtime.store
    assert store is not None
    await asyncio.gather(store.aput(("odd",), "k", {**odd(), 1: 2}), store.aput(("odd",), "plain", {"a": 1}))
    found = await store.asearch(("odd",), filter={"number": np.float64(1.5)})
    return {"rest": " ".join(item.key for item in found)}


kept = StateGraph(State).add_node(keep).add_edge(START, "keep").compile()

graph = StateGraph(State).add_sequence([write, ask]).add_edge(START, "write").compile()
graph = graph.with_config(metadata={"score": np.float64(0.5), "object": object()})
