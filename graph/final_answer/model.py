"""Any chat model, with its final_answer call as the text of its message.

Wrapping the model is what makes the answer text for every reader at once: callbacks, events, stream modes, traces and
the history all see the same chunks. A node that decoded the finished message would leave JSON in all but the history.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import BaseModel, model_validator

from .decoder import FINAL_ANSWER
from .reply import Reply, as_chunk, settled


async def _ones(chunk: ChatGenerationChunk) -> AsyncGenerator[ChatGenerationChunk, None]:
    yield chunk


def _overrides(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)


class FinalAnswerModel(BaseChatModel):
    """Any chat model, with the answer that it gives by calling final_answer as the text of its message.

    A message with a dict under `additional_kwargs["final_answer"]` is a final answer. The dict holds the call's other
    arguments; or `{"truncated": True}` if the call broke off after some of the answer, which then stands; or
    `{"error": "<why>"}` if there was none to be read. Such a message has no tool calls.

    Cache, callbacks, tags, metadata, rate limiter, profile and the like are those of `inner`.

    Args:
        inner: The model that is called.
        tools_bound: Whether tools were bound by `bind_tools`, under whatever name that passes them.
    """

    inner: BaseChatModel
    tools_bound: bool = False
    streaming: bool = False
    """Set only where `inner` sets it: the base class asks whether it is."""

    @model_validator(mode="after")
    def _take_after_inner(self) -> Self:
        for name in (
            "name",
            "cache",
            "verbose",
            "callbacks",
            "tags",
            "metadata",
            "custom_get_token_ids",
            "rate_limiter",
            "disable_streaming",
            "output_version",
            "profile",
        ):
            setattr(self, name, getattr(self.inner, name))
        if "streaming" in self.inner.model_fields_set:
            self.streaming = bool(getattr(self.inner, "streaming", False))
        return self

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools as `inner` does.

        Raises:
            TypeError: If `inner.bind_tools` gives something else than a chat model with arguments bound.
        """
        bound = self.inner.bind_tools(tools, tool_choice=tool_choice, **kwargs)
        return self._around(bound, tools_bound=bool(tools))

    def _around(
        self, bound: Runnable[LanguageModelInput, AIMessage], *, tools_bound: bool
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if isinstance(bound, RunnableBinding):
            again = self._around(bound.bound, tools_bound=tools_bound)
            return again.bind(**bound.kwargs).with_config(bound.config)
        if isinstance(bound, BaseChatModel):
            return self.model_copy(update={"inner": bound, "tools_bound": tools_bound})
        raise TypeError(f"{type(self.inner).__name__}.bind_tools gave a {type(bound).__name__}, not a chat model")

    def with_structured_output(
        self, schema: dict[str, Any] | type, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Structured output is `inner`'s: there is no final answer in it."""
        return self.inner.with_structured_output(schema, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Count tokens as `inner` does."""
        return self.inner.get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Count tokens as `inner` does."""
        return self.inner.get_num_tokens_from_messages(messages, tools)

    # The run manager is never handed on to `inner`: callbacks would get the fragments as the model sends them.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.inner._generate(messages, stop=stop, **kwargs), kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self.inner._agenerate(messages, stop=stop, **kwargs), kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = Reply(hold_text=self._has_tools(kwargs))
        if _overrides(self.inner, "_stream"):
            chunks = self.inner._stream(messages, stop=stop, **kwargs)
        else:
            result = self.inner._generate(messages, stop=stop, **kwargs)
            chunks = iter([as_chunk(result.generations[0], result.llm_output)])
        for chunk in chain(chain.from_iterable(map(reply.feed, chunks)), reply.finish()):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._adecoded(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _adecoded(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        reply = Reply(hold_text=self._has_tools(kwargs))
        if _overrides(self.inner, "_astream") or _overrides(self.inner, "_stream"):
            chunks = self.inner._astream(messages, stop=stop, **kwargs)
        else:
            result = await self.inner._agenerate(messages, stop=stop, **kwargs)
            chunks = _ones(as_chunk(result.generations[0], result.llm_output))
        try:
            async for chunk in chunks:
                for out in reply.feed(chunk):
                    yield out
            for out in reply.finish():
                yield out
        finally:
            # Only this closes the connection at once when the stream is not read to its end.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _result(self, result: ChatResult, kwargs: dict[str, Any]) -> ChatResult:
        hold_text = self._has_tools(kwargs)
        generations = [settled(generation, hold_text=hold_text) for generation in result.generations]
        return ChatResult(generations=generations, llm_output=result.llm_output)

    def _has_tools(self, kwargs: dict[str, Any]) -> bool:
        return self.tools_bound or bool(kwargs.get("tools"))

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return self.inner._identifying_params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.inner._get_ls_params(stop, **kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # What `inner` itself has put into a shared cache is not decoded.
        return f"{FINAL_ANSWER}:{self.inner._get_llm_string(stop, **kwargs)}"

    @property
    def _serialized(self) -> dict[str, Any]:
        # There is no public way to choose the name that traces and events show.
        return self.inner._serialized
