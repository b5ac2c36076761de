"""Reads a conversation, and repairs it where a run was cut off.

    asks for a and b, result of b, next question  ──>  asks for a and b, result of b, stand-in for a, next question

Handing the stored list to the model as it is would be shorter. But a run that was cancelled or died leaves calls
without results, and providers refuse the whole thread from then on.
"""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolCall, ToolMessage

from .prompts import CANCELLED

NOT_RUN = "not_run"
"""Key in a ToolMessage's `additional_kwargs`: the message stands in for a result, the tool was never called."""


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


def repairs(history: Sequence[BaseMessage], sound: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what to write to turn one list into the other: all from the first difference on, out and in again."""
    same = 0
    while same < min(len(history), len(sound)) and history[same] is sound[same]:
        same += 1
    return [*(RemoveMessage(id=message.id or "") for message in history[same:]), *sound[same:]]


def tools_run(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the names of the tools that were called in the last turn, each once, in the order of their first calls."""
    ran = (
        message.name or ""
        for message in turn_of(messages)
        if isinstance(message, ToolMessage) and NOT_RUN not in message.additional_kwargs
    )
    return list(dict.fromkeys(ran))
