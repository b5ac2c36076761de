"""The agent, to serve or to embed: `from graph import build_graph`."""

from .agent import build_graph
from .callbacks import QueueCallbackHandler
from .state import Context, FinalAnswer, State

__all__ = ["Context", "FinalAnswer", "QueueCallbackHandler", "State", "build_graph"]
