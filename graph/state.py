"""What a thread holds and what a run may choose.

    State      messages        the conversation, stored as what each step wrote, so that a thread's storage grows with
                               its length and not with the square of it
               final_answer    the answer of the last turn; gone as soon as the next turn begins
    Context    model, temperature, system prompt, iterations: read by the nodes, never a reason to rebuild the graph

How writes become the message list is in `reducer`; what a sound conversation is, in `history`.
"""

from dataclasses import dataclass
from typing import Annotated

from langchain_core.messages import AnyMessage
from langgraph.channels import DeltaChannel, EphemeralValue
from pydantic import Field
from typing_extensions import TypedDict

from .prompts import SYSTEM_PROMPT
from .reducer import reduce_messages

MAX_ITERATIONS = 5000
"""Most model calls a turn may ask for: two supersteps each, which LangGraph's own limit of 10,007 still allows."""


class FinalAnswer(TypedDict):
    """How a turn ended."""

    answer: str
    """The text that was said."""
    tools_used: list[str]
    """Names of the tools that were called in this turn, each once, in the order of their first calls."""


class Input(TypedDict):
    """What begins a turn."""

    # Each snapshot holds the whole list: rarer, a thread is read more slowly; more often, it takes more room.
    messages: Annotated[list[AnyMessage], DeltaChannel(reduce_messages, snapshot_frequency=500)]


class State(Input):
    """What a thread holds between and during its turns."""

    final_answer: Annotated[FinalAnswer | None, EphemeralValue]


@dataclass(kw_only=True, frozen=True, slots=True)
class Context:
    """What a run may choose.

    Raises:
        ValueError: If a value is of the wrong type or out of its range.
    """

    model: Annotated[
        str | None, Field(description="Name of the chat model. Empty: the one this service is set up with.")
    ] = None
    temperature: Annotated[
        float | None, Field(ge=0, le=2, description="Sampling temperature. Empty: the model's own default.")
    ] = None
    system_prompt: Annotated[
        str,
        Field(
            description="What the model is told before the conversation.",
            json_schema_extra={"langgraph_nodes": ["agent"], "langgraph_type": "prompt"},
        ),
    ] = SYSTEM_PROMPT
    max_iterations: Annotated[
        int,
        Field(ge=1, le=MAX_ITERATIONS, description="Model calls in a turn before it must answer with what it has."),
    ] = 10

    def __post_init__(self) -> None:
        _check(self.model is None or isinstance(self.model, str), "model must be a string", self.model)
        _check(
            self.temperature is None or (_is_number(self.temperature) and 0 <= self.temperature <= 2),
            "temperature must be a number from 0 to 2",
            self.temperature,
        )
        _check(isinstance(self.system_prompt, str), "system_prompt must be a string", self.system_prompt)
        _check(
            type(self.max_iterations) is int and 1 <= self.max_iterations <= MAX_ITERATIONS,
            f"max_iterations must be a whole number from 1 to {MAX_ITERATIONS}",
            self.max_iterations,
        )


def _check(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
