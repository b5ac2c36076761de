"""A chat model that says what a script tells it to, in fragments as a real one does, and keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field


@dataclass
class Reply:
    """One message of the model: text, then calls as (name, arguments, id); arguments may be a string, valid or not."""

    text: str = ""
    calls: Sequence[tuple[str, dict[str, Any] | str, str | None]] = ()
    ended: str = "stop"
    """The finish reason."""
    holds: asyncio.Event | None = None
    """Where set, the model says its text and then waits for ever; the event tells that it does."""

    def chunks(self) -> Iterator[AIMessageChunk]:
        for piece in _pieces(self.text):
            yield AIMessageChunk(piece)
        for index, (name, args, id_) in enumerate(self.calls):
            yield AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name=name, args="", id=id_, index=index)])
            for piece in _pieces(args if isinstance(args, str) else json.dumps(args)):
                yield AIMessageChunk("", tool_call_chunks=[tool_call_chunk(args=piece, index=index)])
        usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        ended = {"finish_reason": self.ended}
        yield AIMessageChunk("", usage_metadata=usage, response_metadata=ended, chunk_position="last")


def say(text: str) -> Reply:
    return Reply(text=text)


def call(*calls: tuple[str, dict[str, Any] | str, str | None], text: str = "") -> Reply:
    return Reply(text=text, calls=calls)


def answer(text: str, **others: Any) -> Reply:
    return Reply(calls=[("final_answer", {"answer": text, **others}, "answer")])


Scripted = Reply | Exception | Callable[[list[BaseMessage]], Reply]


@dataclass
class Asked:
    """One call of the model."""

    messages: list[BaseMessage]
    tools: list[str]
    tool_choice: str | None
    options: dict[str, Any] = field(default_factory=dict)


class ScriptedModel(BaseChatModel):
    """Says the replies of its script in turn, the last one for ever if it is told to."""

    script: list[Any]
    repeats: bool = False
    asked: list[Asked] = Field(default_factory=list)

    def __init__(self, *script: Scripted, **kwargs: Any) -> None:
        super().__init__(script=list(script), **kwargs)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _next(self, messages: list[BaseMessage], options: dict[str, Any]) -> Reply:
        tools = [tool["function"]["name"] for tool in options.get("tools", [])]
        choice = options.get("tool_choice")
        rest = {key: value for key, value in options.items() if key not in ("tools", "tool_choice")}
        self.asked.append(Asked(list(messages), tools, choice, rest))
        at = len(self.asked) - 1
        reply = self.script[min(at, len(self.script) - 1) if self.repeats else at]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Reply) else reply(messages)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        first, *others = self._next(messages, kwargs).chunks()
        message = message_chunk_to_message(first + others if others else first)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in self._next(messages, kwargs).chunks():
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._next(messages, kwargs)
        await _hold(reply)
        first, *others = reply.chunks()
        message = message_chunk_to_message(first + others if others else first)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self._next(messages, kwargs)
        for message in reply.chunks():
            if message.chunk_position == "last":
                await _hold(reply)
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


async def _hold(reply: Reply) -> None:
    if reply.holds is not None:
        reply.holds.set()
        await asyncio.Event().wait()


def _pieces(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
