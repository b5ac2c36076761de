"""The agent, to serve or to embed: `from graph import build_graph`."""

from .agent import build_graph
from .callbacks import QueueCallbackHandler
from .events import Custom, End, Error, Event, Reasoning, Token, ToolCall, ToolResult
from .state import Context, FinalAnswer, State

__all__ = [
    "Context",
    "Custom",
    "End",
    "Error",
    "Event",
    "FinalAnswer",
    "QueueCallbackHandler",
    "Reasoning",
    "State",
    "Token",
    "ToolCall",
    "ToolResult",
    "build_graph",
]
