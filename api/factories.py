"""Factories: functions that make a graph for each use, with the config and LangGraph's `ServerRuntime` as they ask for.

`langgraph_sdk.runtime` gives out the union of its two runtimes, but no public way to make one: servers do, so the two
classes are imported here alone. tests/api/test_factories.py fails if they change.
"""

import contextlib
import copy
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime

from api.errors import ConfigError

Purpose = Literal["threads.create_run", "threads.update", "threads.read", "assistants.read"]
"""What a graph is made for; a factory reads it as `runtime.access_context`."""

_RUNTIMES = (_ExecutionRuntime, _ReadRuntime)
_NAMES = {"ServerRuntime": ServerRuntime, "RunnableConfig": RunnableConfig}
"""What annotations may name that are imported for type checkers alone."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A factory, and which of its parameters takes what."""

    function: Callable[..., Any]
    config: str | None
    runtime: str | None

    async def make(self, config: RunnableConfig, runtime: Any, stack: contextlib.AsyncExitStack) -> Any:
        """What the factory gives: returned, awaited, or entered.

        Args:
            config: of the run, or of the assistant.
            runtime: from `server_runtime`.
            stack: leaves what is entered.
        """
        given = {self.config: config, self.runtime: runtime}
        made = self.function(**{name: value for name, value in given.items() if name is not None})
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, contextlib.AbstractAsyncContextManager):
            made = await stack.enter_async_context(made)
        elif isinstance(made, contextlib.AbstractContextManager):
            made = stack.enter_context(made)
        return made


def factory(function: Callable[..., Any], origin: str) -> Factory:
    """Reads a factory's parameters: one that is annotated as a ServerRuntime, and one for the config.

    Args:
        function: what langgraph.json names.
        origin: names it in messages.

    Raises:
        ConfigError: it needs more than that.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    hints = _hints(function)
    taken = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    runtimes = [each.name for each in taken if _is_runtime(hints.get(each.name, each.annotation))]
    others = [each for each in taken if each.name not in runtimes]
    needed = [each.name for each in others[1:] if each.default is each.empty]
    unnamed = [each.name for each in taken if each.kind is each.POSITIONAL_ONLY]
    if len(runtimes) > 1 or needed or unnamed:
        names = ", ".join(each.name for each in parameters)
        raise ConfigError(
            f"{origin} takes ({names}): a factory may take a config and, annotated as such, "
            "a langgraph_sdk.runtime.ServerRuntime, by name."
        )
    return Factory(function, others[0].name if others else None, runtimes[0] if runtimes else None)


def server_runtime(purpose: Purpose, config: RunnableConfig, store: BaseStore | None, context: Any = None) -> Any:
    """The ServerRuntime for a use of a graph.

    Args:
        purpose: what the graph is made for.
        config: with the caller, if there is authentication.
        store: the service's.
        context: of the run; the factory has a copy.
    """
    configurable: Mapping[str, Any] = config.get("configurable") or {}
    known: dict[str, Any] = {
        "access_context": purpose,
        "user": configurable.get("langgraph_auth_user"),
        "store": store,
    }
    if purpose == "threads.create_run":
        return _ExecutionRuntime(**known, context=copy.copy(context))
    return _ReadRuntime(**known)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=_NAMES, include_extras=True)
    except Exception:  # noqa: BLE001  # the boundary to the user's annotations: whatever they name may be absent
        return {}


def _is_runtime(annotation: Any) -> bool:
    if annotation is ServerRuntime:
        return True
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].partition("[")[0] == "ServerRuntime"
    if isinstance(annotation, type):
        return issubclass(annotation, _RUNTIMES)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _is_runtime(typing.get_args(annotation)[0])
    if origin is ServerRuntime or (isinstance(origin, type) and issubclass(origin, _RUNTIMES)):
        return True
    return any(_is_runtime(each) for each in typing.get_args(annotation))
