"""The chat model: tools are bound, replies stream in fragments, and usage is counted, as with OpenAI's models."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from .planner import arithmetic
from .replies import Reply, in_text

_NAME = "offline"
_PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]{1,3}|\s+")
_COUNTED = 1 << 17
"""Characters of a text whose pieces are counted; those of a longer one are estimated by them, as it may be a book."""


class OfflineChatModel(BaseChatModel):
    """A chat model that plans arithmetic and streams as OpenAI's models do.

    Usage is an estimate: a token is up to eight letters or digits, or up to three other characters, with the space
    before them.

    Args:
        delay: Seconds between two chunks, to slow a demonstration down.
        streaming: Whether callbacks get its tokens under `invoke` too; where it is not set, if one of them asks.
    """

    delay: float = Field(default=0.0, ge=0.0)
    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return _NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": _NAME}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "threadline"
        params["ls_model_name"] = _NAME
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind the tools that may be called.

        Args:
            tools: Anything that LangChain takes for a tool.
            tool_choice: "any", "required" or True to demand a call, "auto", False or None to leave it open, "none" to
                forbid calls, or the one tool that may be called, as its name or in OpenAI's form.
            **kwargs: Bound as they are.

        Raises:
            ValueError: If the chosen tool is not among the tools.
        """
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        if choice := _choice(tool_choice, [_tool_name(tool) for tool in formatted]):
            kwargs["tool_choice"] = choice
        return self.bind(tools=formatted, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, _reply(messages, stop, kwargs)):
            yield chunk
            if self.delay:
                time.sleep(self.delay)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, _reply(messages, stop, kwargs)):
            yield chunk
            await asyncio.sleep(self.delay)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._stream(*args, **kwargs))

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(*args, **kwargs))


def _choice(chosen: str | dict[str, Any] | bool | None, names: Collection[str]) -> str | dict[str, Any] | None:
    if chosen is True or chosen == "any":
        return "required"
    if chosen is False or chosen in (None, "", "required", "auto", "none"):
        return chosen or None
    choice = {"type": "function", "function": {"name": chosen}} if isinstance(chosen, str) else chosen
    if (name := _tool_name(choice)) not in names:
        raise ValueError(f"tool_choice names {name!r}, which is not one of the tools: {', '.join(names) or 'none'}")
    return choice


def _tool_name(tool: dict[str, Any]) -> str:
    """Return the name in OpenAI's form of a tool, or of the choice of one."""
    return str(tool.get("function", tool).get("name"))


def _chunks(messages: Sequence[BaseMessage], reply: Reply) -> Iterator[ChatGenerationChunk]:
    said = 0
    yield ChatGenerationChunk(message=AIMessageChunk(content=""))
    for piece in _PIECE.findall(reply.text):
        said += 1
        yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
    for index, (name, args) in enumerate(reply.calls):
        opening = tool_call_chunk(name=name, args="", id=f"call_{uuid4().hex}", index=index)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[opening]))
        for piece in _PIECE.findall(json.dumps(args, ensure_ascii=False)):
            said += 1
            fragment = tool_call_chunk(args=piece, index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[fragment]))
    heard = sum(_count(message) for message in messages)
    last = AIMessageChunk(
        content="",
        response_metadata={"finish_reason": "tool_calls" if reply.calls else "stop", "model_name": _NAME},
        usage_metadata=UsageMetadata(input_tokens=heard, output_tokens=said, total_tokens=heard + said),
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)


def _count(message: BaseMessage) -> int:
    said: list[str] = [message.text]
    if isinstance(message, AIMessage):
        said += [json.dumps(call["args"], ensure_ascii=False) for call in message.tool_calls]
    return sum(len(_PIECE.findall(text[:_COUNTED])) * max(len(text), _COUNTED) // _COUNTED for text in said)


def _reply(messages: Sequence[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Reply:
    bound = {_tool_name(tool) for tool in options.get("tools") or ()}
    choice = options.get("tool_choice")
    allowed = bound
    if isinstance(choice, dict):
        allowed = {_tool_name(choice)}
    elif choice == "none":
        allowed = set()
    if bound:
        reply = arithmetic(messages, bound, allowed)
    else:
        asks_json = str((options.get("response_format") or {}).get("type", "")).startswith("json")
        reply = Reply(in_text(messages, asks_json=asks_json))
    ends = [at for end in stop or () if end and (at := reply.text.find(end)) >= 0]
    return Reply(reply.text[: min(ends)]) if ends else reply
