"""Makes of any reply one that the loop can act on.

    calls whose ids are missing or taken        get ids of their own
    calls whose arguments cannot be read        stay, without arguments, each with an error as its result
    nothing at all                              is marked as no answer, so that the model is asked again
    calls where only an answer may come         are taken out; without a text, words stand in for the answer

Acting on replies as they come would be shorter, and right for the best models on a good day. Smaller ones, and servers
that imitate OpenAI's, give all of the above: a thread with such a reply is refused by the provider from then on, and a
call that is half read is worse than one that is not made.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

from .final_answer import FINAL_ANSWER
from .history import stand_in
from .prompts import CUT_OFF, INVALID_ARGUMENTS, NO_ANSWER, NO_VALID_ANSWER
from .tool_errors import short

_CALL_BLOCKS = frozenset({"tool_call", "invalid_tool_call", "tool_use", "function_call"})


def mended(reply: AIMessage, conversation: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a reply that may call tools, and the results of the calls in it that cannot be made.

    Args:
        reply: What the model said.
        conversation: What was said before. Servers that number the calls of each reply would use its ids again.
    """
    sound, errors = _with_sound_calls(reply, _call_ids(conversation) if reply.tool_calls else set())
    if not sound.tool_calls and not sound.text.strip() and FINAL_ANSWER not in sound.additional_kwargs:
        marker = {FINAL_ANSWER: {"error": "the reply was empty"}}
        sound = sound.model_copy(update={"additional_kwargs": sound.additional_kwargs | marker})
    return [sound, *errors]


def as_answer(reply: AIMessage, steps: int) -> AIMessage:
    """Return the last reply of a turn as an answer, whatever it is.

    Args:
        reply: What the model said when it could only answer.
        steps: How often it was called before, in this turn.
    """
    asks = bool(reply.tool_calls or reply.invalid_tool_calls)
    if reply.text.strip() or (FINAL_ANSWER in reply.additional_kwargs and not failure(reply)):
        return _without_calls(reply) if asks else reply
    within = "1 step" if steps == 1 else f"{steps} steps"
    # Without the reply's id: clients that saw its chunks take this for the message of its own that it is.
    return AIMessage((NO_ANSWER if asks else NO_VALID_ANSWER).format(steps=within))


def failure(message: BaseMessage) -> str | None:
    """Return why a reply is neither an answer nor a call; None if it is one."""
    marker = message.additional_kwargs.get(FINAL_ANSWER) if isinstance(message, AIMessage) else None
    return str(marker["error"]) if marker and "error" in marker and not message.text.strip() else None


def _call_ids(messages: Sequence[BaseMessage]) -> set[str | None]:
    return {call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls}


def _with_sound_calls(reply: AIMessage, taken: set[str | None]) -> tuple[AIMessage, Sequence[ToolMessage]]:
    """Give each call an id of its own, and answer those whose arguments could not be read.

    Providers only take a result that belongs to a call, so such a call stays in the message, without arguments.
    """
    ids = [call["id"] for call in reply.tool_calls]
    cut_off = _is_cut_off(reply)
    distinct = all(ids) and len(set(ids)) == len(ids) and taken.isdisjoint(ids)
    if not reply.invalid_tool_calls and not cut_off and distinct:
        return reply, ()
    taken |= {None, ""}
    sound: list[ToolCall] = []
    errors: list[ToolMessage] = []
    for call in (*reply.tool_calls, *reply.invalid_tool_calls):
        id_ = call["id"] if call["id"] not in taken else f"call_{uuid4().hex}"
        taken.add(id_)
        unread: str | None = None
        if not isinstance(call["args"], dict):
            unread = INVALID_ARGUMENTS.format(arguments=short(call["args"] or ""))
        elif cut_off and call is reply.tool_calls[-1]:
            unread = CUT_OFF
        args = call["args"] if isinstance(call["args"], dict) and not unread else {}
        sound.append(ToolCall(type="tool_call", id=id_, name=call["name"] or "unknown", args=args))
        if unread:
            errors.append(stand_in(sound[-1], unread))
    return _without_calls(reply).model_copy(update={"tool_calls": sound}), errors


def _is_cut_off(reply: AIMessage) -> bool:
    # LangChain closes the open brackets of arguments that break off, so a number cut short looks like one.
    ended = {reply.response_metadata.get(key) for key in ("finish_reason", "stop_reason", "done_reason")}
    return bool(reply.tool_calls) and not ended.isdisjoint({"length", "max_tokens"})


def _without_calls(reply: AIMessage) -> AIMessage:
    """Return the reply without its calls, wherever a provider has put them."""
    content = reply.content
    if isinstance(content, list):
        content = [block for block in content if isinstance(block, str) or block.get("type") not in _CALL_BLOCKS]
    kept = {key: value for key, value in reply.additional_kwargs.items() if key != "tool_calls"}
    calls: dict[str, list[Any]] = {"tool_calls": [], "invalid_tool_calls": []}
    return reply.model_copy(update={**calls, "content": content, "additional_kwargs": kept})
