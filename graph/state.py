"""What a thread holds and what a run may choose.

    State      messages        the conversation, stored as what each step wrote, so that a thread's storage grows with
                               its length and not with the square of it
               final_answer    the answer of the last turn; gone as soon as the next turn begins
    Context    model, temperature, system prompt, iterations: read by the nodes, never a reason to rebuild the graph

The functions that read a message list (`turn_of`, `unanswered`, `repaired`) are here too: they say what a sound one is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid5

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    RemoveMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.channels import DeltaChannel, EphemeralValue
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from pydantic import Field
from typing_extensions import TypedDict

from .prompts import CANCELLED, SYSTEM_PROMPT

MAX_ITERATIONS = 5000
"""Most model calls a turn may ask for: two supersteps each, which LangGraph's own limit of 10,007 still allows."""

NOT_RUN = "not_run"
"""Key in a ToolMessage's `additional_kwargs`: the message stands in for a result, the tool was never called."""

_MESSAGE_IDS = UUID("5f0c3f6e-2c0e-4d43-9a55-0a4a5a0c8a3d")


def reduce_messages(state: Sequence[Any], writes: Sequence[Any]) -> list[BaseMessage]:
    """Apply writes to a message list, one message after the other.

    A message whose id is known replaces the one in place, any other is appended. A RemoveMessage takes its message
    out (an unknown id removes nothing), one with the id REMOVE_ALL_MESSAGES takes out all. Chunks become messages.
    A message without an id gets one that depends on its place and content only, so that a replay of the same writes
    gives the same list, in whatever batches they come.

    Args:
        state: The list so far. Items that are not messages yet are made messages.
        writes: What was written, oldest first: each a list of message-likes, one message-like, or None.

    Returns:
        A new list, in which every message has an id of its own.

    Raises:
        ValueError, NotImplementedError: If something written cannot be read as a message.
    """
    by_id: dict[str, BaseMessage] = {}
    if all(isinstance(message, BaseMessage) and message.id for message in state):
        by_id = {message.id: message for message in state}
    if len(by_id) != len(state):
        writes = [list(state), *writes]
        by_id = {}
    for message in _messages_in(writes):
        _put(by_id, message)
    return list(by_id.values())


def _messages_in(writes: Sequence[Any]) -> Iterator[BaseMessage]:
    for write in writes:
        if write is not None:
            yield from convert_to_messages(write if isinstance(write, list) else [write])


def _put(by_id: dict[str, BaseMessage], message: BaseMessage) -> None:
    if isinstance(message, RemoveMessage):
        if message.id == REMOVE_ALL_MESSAGES:
            by_id.clear()
        else:
            by_id.pop(message.id or "", None)
        return
    if isinstance(message, BaseMessageChunk):
        message = message_chunk_to_message(message)
    if not message.id:
        message = message.model_copy(update={"id": _new_id(by_id, message)})
    by_id[message.id or ""] = message


def _new_id(taken: dict[str, BaseMessage], message: BaseMessage) -> str:
    place = len(taken)
    while (new := str(uuid5(_MESSAGE_IDS, f"{place}:{message.type}:{message.content!r}"))) in taken:
        place += 1
    return new


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


def turn_of(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return what was said since the user last spoke; everything if the user never did."""
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], HumanMessage):
            return messages[at + 1 :]
    return messages


def unanswered(messages: Sequence[BaseMessage]) -> list[ToolCall]:
    """Return the calls of the last AI message that have no result yet, if nothing but results came after it."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            return [call for call in message.tool_calls if call["id"] not in answered]
        else:
            return []
    return []


def repaired(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation as providers demand it: each call has one result, right after the message that made it.

    A call left without a result, by a run that was cancelled or died, gets one that says so. A result that came later
    moves up to its call; one that belongs to no call, or is a second one, is left out.
    """
    sound: list[BaseMessage] = []
    at = 0
    while at < len(messages):
        end = at + 1
        while end < len(messages) and not isinstance(messages[end], AIMessage):
            end += 1
        sound += _repaired_part(messages[at:end])
        at = end
    return sound


def _repaired_part(part: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Repair an AI message and what came after it, up to the next one."""
    calls = {call["id"]: call for call in part[0].tool_calls} if isinstance(part[0], AIMessage) else {}
    results: dict[str | None, BaseMessage] = {}
    others: list[BaseMessage] = []
    for message in part:
        if not isinstance(message, ToolMessage):
            others.append(message)
        elif message.tool_call_id in calls:
            results.setdefault(message.tool_call_id, message)
    missing = [stand_in(call, CANCELLED) for id_, call in calls.items() if id_ not in results]
    return [*others[:1], *results.values(), *missing, *others[1:]] if calls else others


def stand_in(call: ToolCall, text: str) -> ToolMessage:
    """Make the result of a call that never reached its tool."""
    return ToolMessage(
        text,
        name=call["name"],
        tool_call_id=call["id"] or "",
        status="error",
        additional_kwargs={NOT_RUN: True},
    )
