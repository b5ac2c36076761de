"""Content: what models and tools read and wrote, as attributes, in the form of the GenAI semantic conventions.

Source for the format: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from opentelemetry.trace import Span

_MAX_CHARACTERS = 16_384
_MAX_MESSAGES = 100
_ROLES = {"human": "user", "ai": "assistant"}


class Content:
    """Writes contents on spans. Of long texts the beginning is kept, of many messages the last."""

    def read(self, span: Span, messages: Sequence[BaseMessage]) -> None:
        """A model's input."""
        span.set_attribute("gen_ai.input.messages", _json([_message(each) for each in messages[-_MAX_MESSAGES:]]))

    def wrote(self, span: Span, message: AIMessage) -> None:
        """A model's output."""
        reason = message.response_metadata.get("finish_reason") or ("tool_call" if message.tool_calls else "stop")
        span.set_attribute("gen_ai.output.messages", _json([{**_message(message), "finish_reason": reason}]))

    def called(self, span: Span, arguments: Any) -> None:
        """A tool's arguments."""
        span.set_attribute("gen_ai.tool.call.arguments", _text(arguments))

    def returned(self, span: Span, result: Any) -> None:
        """A tool's result."""
        span.set_attribute("gen_ai.tool.call.result", _text(result))

    def asked(self, span: Span, query: str) -> None:
        """A retriever's query."""
        span.set_attribute("gen_ai.retrieval.query.text", _text(query))


def _message(message: BaseMessage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if isinstance(message, ToolMessage):
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": _text(message.content)})
    elif text := str(message.text):
        parts.append({"type": "text", "content": _text(text)})
    if isinstance(message, AIMessage):
        parts += [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": _text(call["args"])}
            for call in message.tool_calls
        ]
    return {"role": _ROLES.get(message.type, message.type), "parts": parts}


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else _json(value))[:_MAX_CHARACTERS]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
