"""A graph whose output is less than its state, and the same as a node of another."""

import operator
from typing import Annotated

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Question(TypedDict):
    """What it takes."""

    question: str


class Answer(TypedDict):
    """What it gives."""

    answer: str


class Work(Question, Answer):
    """What it works with."""

    notes: Annotated[list[str], operator.add]


async def think(state: Work) -> dict[str, list[str]]:
    """Notes, and says nothing."""
    return {"notes": [state["question"]]}


async def reply(state: Work) -> dict[str, object]:
    """Asks how, and says it."""
    return {"answer": f"{state['question']}, {interrupt('how?')}", "notes": ["said"]}


async def forget(_: Work) -> dict[str, list[str]]:
    """Notes again."""
    return {"notes": ["forgotten"]}


def _builder() -> StateGraph[Work, None, Question, Answer]:
    return StateGraph(Work, input_schema=Question, output_schema=Answer)


graph = _builder().add_sequence([think, reply, forget]).add_edge(START, "think").compile()
around = (
    _builder().add_node("inner", graph).add_node(forget).add_edge(START, "inner").add_edge("inner", "forget").compile()
)
