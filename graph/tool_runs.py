"""Shows what a tool runs as run by the tool.

    tool run ──> its function, with its own config ──> a model, a chain: child runs of the tool

LangChain hands a function that asks for a `config` the one that the tool was called with. What the function passes that
on to appears beside the tool in events and traces, not under it, so that a model which a tool calls looks like the
agent's own. Leaving `config` out would be shorter, but then functions written with it would show their runs elsewhere.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, get_args, get_type_hints

from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools import BaseTool, StructuredTool, tool


def under_its_own_run(given: BaseTool | Callable[..., Any]) -> BaseTool:
    """Return the tool, or a function as a tool, so that what it runs with its config shows as run by it."""
    tool_ = given if isinstance(given, BaseTool) else tool(given)
    if not isinstance(tool_, StructuredTool):
        return tool_
    update = {"func": _with_own_config(tool_.func), "coroutine": _with_own_config(tool_.coroutine)}
    return tool_ if update == {"func": tool_.func, "coroutine": tool_.coroutine} else tool_.model_copy(update=update)


def _with_own_config(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):  # LangChain cannot tell either then, and hands over no config
        hints = {}
    name = next((name for name, hint in hints.items() if RunnableConfig in (hint, *get_args(hint))), None)
    if function is None or name is None:
        return function

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{**kwargs, name: ensure_config()})

    return run
