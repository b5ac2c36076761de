"""Any Runnable from messages to a message, as a chat model.

    messages ──> Runnable, out of sight ──> message, chunks of one, or text ──> chunks of this model's message

Calling it in the node would be shorter. But then a model inside it would be what streams: its fragments of a
final_answer call instead of the answer, and whatever a first step says to a second.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig


def _out_of_sight() -> RunnableConfig:
    return RunnableConfig(callbacks=[])


class RunnableModel(BaseChatModel):
    """A chat model that asks a Runnable, and streams what that streams.

    Args:
        runnable: Takes a list of messages, and gives an AIMessage or a text.
    """

    runnable: Any

    @property
    def _llm_type(self) -> str:
        return str(self.runnable.get_name())

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self._asked(stop, kwargs).invoke(messages, _out_of_sight()))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self._asked(stop, kwargs).ainvoke(messages, _out_of_sight()))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._asked(stop, kwargs).stream(messages, _out_of_sight()):
            yield _chunk(piece)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        pieces = cast("AsyncGenerator[Any, None]", self._asked(stop, kwargs).astream(messages, _out_of_sight()))
        async with aclosing(pieces):
            async for piece in pieces:
                yield _chunk(piece)

    def _asked(self, stop: list[str] | None, options: dict[str, Any]) -> Runnable[Any, Any]:
        given = sorted(options | ({"stop": stop} if stop else {}))
        if given:
            raise ValueError(f"{self.runnable.get_name()} is no chat model: it takes no {', '.join(given)}")
        return cast("Runnable[Any, Any]", self.runnable)


def _message(given: object) -> AIMessage:
    if isinstance(given, AIMessage):
        return given
    if isinstance(given, str):
        return AIMessage(given)
    raise TypeError(f"the model must give an AIMessage or a text, got {type(given).__name__}")


def _result(given: object) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=_message(given))])


def _chunk(given: object) -> ChatGenerationChunk:
    message = _message(given)
    if isinstance(given, str):
        message = AIMessageChunk(content=given)
    elif not isinstance(message, AIMessageChunk):
        message = AIMessageChunk(**dict(message) | {"type": "AIMessageChunk", "chunk_position": "last"})
    return ChatGenerationChunk(message=message)
