"""A map over jobs: each is sent to a node of its own, which asks before it works."""

import operator
from typing import Annotated, TypedDict

from api.helper import Job
from graph.plan import planned
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt


class State(TypedDict):
    """Of the whole."""

    names: list[str]
    plan: list
    done: Annotated[list[str], operator.add]


class One(TypedDict):
    """Of one job."""

    job: Job


def plan(state: State) -> dict[str, list[Job]]:
    """Makes jobs of names."""
    return {"plan": planned(state["names"])}


def spread(state: State) -> list[Send]:
    """Sends each job off."""
    return [Send("work", {"job": job}) for job in state["plan"]]


def work(state: One) -> dict[str, list[str]]:
    """Asks, then works."""
    job = state["job"]
    assert isinstance(job, Job)
    return {"done": [f"{job.shout()}: {interrupt(f'do {job.name}?')}"]}


def _build() -> StateGraph:
    builder = StateGraph(State)
    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", spread, ["work"])
    builder.add_edge("work", END)
    return builder


graph = _build().compile()
again = _build().compile()
