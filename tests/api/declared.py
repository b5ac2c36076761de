"""A graph whose state has classes of its own, for what may come out of a checkpoint."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class Colour(enum.Enum):
    RED = "red"


class Shape(BaseModel):
    name: str


class Circle(Shape):
    radius: float


@dataclass
class Leaf:
    colour: Colour
    notes: list[str] = field(default_factory=list)


class Place(NamedTuple):
    x: int
    y: int


class Nested(TypedDict):
    leaf: Leaf


@dataclass
class Undeclared:
    """Nothing declares it."""

    text: str


class State(TypedDict, total=False):
    shapes: Sequence[Shape]
    nested: Nested
    place: Annotated[Place | None, "where"]
    anything: Any
    kinds: list[str]


def fill(_: State) -> State:
    return {
        "shapes": [Shape(name="plain"), Circle(name="round", radius=1.5)],
        "nested": {"leaf": Leaf(Colour.RED, ["a"])},
        "place": Place(1, 2),
        "anything": Undeclared("x"),
    }


def look(state: State) -> State:
    """Also sees what a checkpoint gives back, as an attempt that goes on does."""
    values = [*state["shapes"], state["nested"]["leaf"], state["place"], state["anything"]]
    return {"kinds": [type(value).__name__ for value in values]}


def make() -> Any:
    """The graph, stopped between its nodes: what the second sees has been stored."""
    builder = StateGraph(State).add_node(fill).add_node(look).add_edge(START, "fill").add_edge("fill", "look")
    return builder.compile(interrupt_before=["look"])


graph = make()
