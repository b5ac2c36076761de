"""A chat model that streams what a script gives for the messages: text word by word, tool calls as fragments."""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult


class Scripted(BaseChatModel):
    """Deterministic: the same messages give the same fragments."""

    script: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self.script(messages)
        for word in re.findall(r"\S+\s*", str(reply.content)):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        for index, call in enumerate(reply.tool_calls):
            arguments = json.dumps(call["args"])
            for start in range(0, len(arguments), 6):
                name, call_id = (call["name"], call["id"]) if start == 0 else (None, None)
                fragment = ToolCallChunk(name=name, args=arguments[start : start + 6], id=call_id, index=index)
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[fragment]))
        if reply.usage_metadata:
            yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=reply.usage_metadata))
