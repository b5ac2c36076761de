"""What happens in a run, as an embedder reads it."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer. The pieces since the last tool call join to the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks aloud, if it does. Never part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    id: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call is over."""

    id: str
    name: str | None
    content: str | list[str | dict[str, Any]]
    status: Literal["success", "error"]


@dataclass(frozen=True, slots=True)
class Custom:
    """What a tool or a node said with LangChain's `dispatch_custom_event`."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class End:
    """The run is over, with an answer unless it was interrupted to be resumed. Always last."""

    answer: str | None
    tools_used: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Error:
    """The run failed or was cancelled. Always last."""

    error: BaseException


Event = Token | Reasoning | ToolCall | ToolResult | Custom | End | Error
