"""Applies what was written to a message list.

LangGraph's `add_messages` would be shorter. It takes one write at a time and gives messages random ids: a thread that
is stored as its writes, and read back by playing them again, would have other ids each time, and would be read in a
time that grows with the square of its length.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid5

from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.graph.message import REMOVE_ALL_MESSAGES

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
