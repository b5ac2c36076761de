"""The models of a graph, each with the graph's tools bound once.

Binding in the node would be shorter. But it writes the schemas of all tools anew, which takes longer than all else that
the agent does between two model calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from .final_answer import FINAL_ANSWER
from .model_shapes import with_options, with_tools
from .models import Models
from .state import Context
from .tools import final_answer

_MODELS_KEPT = 32


@dataclass(frozen=True)
class _Key:
    """What a bound model depends on. Models are compared by identity: with equal settings, they are equal."""

    identity: int
    configured: tuple[str, ...]
    only_answer: bool
    model: Runnable[Any, Any] = field(compare=False)
    config: RunnableConfig = field(compare=False)


class BoundModels:
    """The model that a graph is given, and those that contexts name, with the tools bound.

    Args:
        model: The graph's own model: a chat model, or what one became by LangChain's methods, or any Runnable from
            messages to one. None: the one that the environment names.
        tools: What the models may call, beside final_answer.

    Raises:
        TypeError: If the model is no Runnable.
        ValueError: If it cannot be given the tools.
    """

    def __init__(self, model: Runnable[Any, Any] | None, tools: Sequence[BaseTool]) -> None:
        if not isinstance(model, Runnable | None):
            raise TypeError(f"the model must be a LangChain chat model or another Runnable, got {type(model).__name__}")
        self._model = model
        self._models = Models()
        self._tools = [*tools, final_answer]
        self._bound = lru_cache(maxsize=_MODELS_KEPT)(self._bind)
        if model is not None:
            for only_answer in (False, True):
                self.get(Context(), {}, only_answer=only_answer)

    def get(self, context: Context, config: RunnableConfig, *, only_answer: bool) -> Runnable[Any, Any]:
        """Return the model that a run asks for.

        Args:
            context: Its `model` and `temperature` count, where they are set.
            config: Settles what is configurable in the graph's own model.
            only_answer: Whether it may do nothing but answer.
        """
        if not context.model and self._model is not None:
            bound = self._bound(_key(self._model, config, only_answer))
            return bound if context.temperature is None else with_options(bound, temperature=context.temperature)
        return self._bound(_key(self._models.get(context.model, context.temperature), config, only_answer))

    def _bind(self, key: _Key) -> Runnable[Any, Any]:
        tools, choice = ([final_answer], FINAL_ANSWER) if key.only_answer else (self._tools, "any")
        return with_tools(key.model, tools, choice, key.config)


def _key(model: Runnable[Any, Any], config: RunnableConfig, only_answer: bool) -> _Key:
    given = config.get("configurable", {})
    configured = {spec.id: given[spec.id] for spec in model.config_specs if spec.id in given}
    as_text = tuple(f"{name}={value!r}" for name, value in configured.items())
    return _Key(id(model), as_text, only_answer, model, RunnableConfig(configurable=configured))
