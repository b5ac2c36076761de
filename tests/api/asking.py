"""A factory that writes down whom it is called for, and a node that does."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

asked: list[tuple[str, dict[str, Any]]] = []


class State(TypedDict, total=False):
    seen: dict[str, Any]


def node(_: State, config: RunnableConfig) -> State:
    names = [name for name in config["configurable"] if not name.startswith("__pregel_")]
    forged = config["configurable"].get("__pregel_resume_map", "")
    return {"seen": {name: str(config["configurable"][name]) for name in names} | {"forged": str(forged)}}


class Context(TypedDict, total=False):
    """What `known` takes."""

    model: str


def look(_: State, config: RunnableConfig, runtime: Runtime[Context]) -> State:
    names = [name for name in config["configurable"] if not name.startswith("__")]
    return {"seen": {"configurable": sorted(names), "context": dict(runtime.context or {})}}


known = StateGraph(State, context_schema=Context).add_node(look).add_edge(START, "look").compile()


def make(config: RunnableConfig) -> Any:
    configurable = config.get("configurable", {})
    asked.append((str(configurable.get("langgraph_auth_user_id")), dict(configurable)))
    return StateGraph(State).add_node(node).add_edge(START, "node")
