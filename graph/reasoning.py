"""Keeps what a model thinks aloud, or refuses, where an endpoint sends it beside the answer.

    delta.reasoning_content (DeepSeek, vLLM, ...)  ─┐
    delta.reasoning         (vLLM, OpenRouter, ...) ─┴─> additional_kwargs["reasoning_content"]
                                                            └─> a "reasoning" block in message.content_blocks
    delta.refusal           (OpenAI)                ───> text: it is all that the model says

ChatOpenAI would be shorter, but it drops these while it streams. It has no public place to add them: the
three methods below are those that LangChain's own packages for such endpoints override, and tests over HTTP hold what
comes of them. Reasoning that comes as blocks of content (OpenAI's Responses API, Anthropic) needs none of this.
"""

from typing import Any

import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI

_REASONING = "reasoning_content"
_OTHER_NAME = "reasoning"
_IS_OTHER = "reasoning_has_other_name"
_PROVIDER = "openai-compatible"
"""Not "openai": LangChain would show the messages as OpenAI's, which have no reasoning in this form."""


class ReasoningChatOpenAI(ChatOpenAI):
    """ChatOpenAI for endpoints that may send reasoning.

    Within a turn an endpoint gets back its reasoning under the name it came by, as DeepSeek demands, and never as text;
    of the name "reasoning" nothing is sent back, as Groq refuses it.
    """

    name: str | None = "ChatOpenAI"

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        converted = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or chunk.get("chunk", {}).get("choices")
        if converted and choices:
            _add(converted.message, delta := choices[0].get("delta") or {})
            if delta.get("refusal"):  # its text is read when it is made
                return ChatGenerationChunk(message=converted.message, generation_info=converted.generation_info)
        return converted

    def _create_chat_result(
        self, response: dict[str, Any] | openai.BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        given = response if isinstance(response, dict) else response.model_dump(warnings=False)
        for generation, choice in zip(result.generations, given["choices"], strict=True):
            _add(generation.message, choice["message"])
        if result.llm_output:
            result.llm_output["model_provider"] = _PROVIDER
        return result

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if "messages" in payload:
            said = self._convert_input(input_).to_messages()
            for message, sent in reversed(list(zip(said, payload["messages"], strict=True))):
                if isinstance(message, HumanMessage):
                    break
                if isinstance(message, AIMessage) and (reasoning := _to_send_back(message)):
                    sent[_REASONING] = reasoning
        return payload


def _to_send_back(message: AIMessage) -> str | None:
    kept = message.additional_kwargs
    return None if _IS_OTHER in kept else kept.get(_REASONING)


def _add(message: BaseMessage, given: dict[str, Any]) -> None:
    message.response_metadata["model_provider"] = _PROVIDER
    if isinstance(refusal := given.get("refusal"), str) and isinstance(message.content, str):
        message.content += refusal
    for name in (_REASONING, _OTHER_NAME):
        if isinstance(reasoning := given.get(name), str) and reasoning:
            message.additional_kwargs[_REASONING] = reasoning
            if name == _OTHER_NAME:
                message.additional_kwargs[_IS_OTHER] = True
            return
