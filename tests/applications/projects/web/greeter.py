"""A factory: the graph is made for its user, with what is open while a run lasts."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import pool
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime


class State(TypedDict, total=False):
    """What is said."""

    name: str
    said: str
    calls: int


@contextlib.asynccontextmanager
async def make(config: RunnableConfig, runtime: ServerRuntime) -> AsyncIterator[Any]:
    """The graph, whose tools are open only while it runs."""
    running = runtime.execution_runtime is not None
    user = runtime.ensure_user().identity if running else "nobody"

    def greet(state: State) -> State:
        assert running
        how = interrupt("how?")
        said = f"{os.environ['GREETING']} {state['name']} from {user}, {how}, with {pool.opened}"
        return {"said": said, "calls": state.get("calls", 0) + 1}

    yield StateGraph(State).add_node("greet", greet).add_edge(START, "greet").compile()
