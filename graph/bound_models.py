"""The models of a graph, each with the graph's tools bound once.

Binding in the node would be shorter. But it writes the schemas of all tools anew, which takes longer than all else that
the agent does between two model calls.
"""

from collections.abc import Sequence
from functools import lru_cache

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from .final_answer import FINAL_ANSWER, FinalAnswerModel
from .models import Models
from .state import Context
from .tools import final_answer

_MODELS_KEPT = 32


class _Same:
    """A model as a key: models with equal settings are equal, but not hashable."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.model is self.model


class BoundModels:
    """The model that a graph is given, and those that contexts name, with the tools bound.

    Args:
        model: The graph's own model. None: the one that the environment names.
        tools: What the models may call, beside final_answer.
    """

    def __init__(self, model: BaseChatModel | None, tools: Sequence[BaseTool]) -> None:
        self._model = model
        self._models = Models()
        self._tools = [*tools, final_answer]
        self._bound = lru_cache(maxsize=_MODELS_KEPT)(self._bind)

    def get(self, context: Context, *, only_answer: bool) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model that a run's context asks for.

        Args:
            context: Its `model` and `temperature` count, where they are set.
            only_answer: Whether it may do nothing but answer.
        """
        if not context.model and self._model is not None:
            bound = self._bound(_Same(self._model), only_answer)
            return bound if context.temperature is None else bound.bind(temperature=context.temperature)
        return self._bound(_Same(self._models.get(context.model, context.temperature)), only_answer)

    def _bind(self, key: _Same, only_answer: bool) -> Runnable[LanguageModelInput, AIMessage]:
        model = key.model if isinstance(key.model, FinalAnswerModel) else FinalAnswerModel(inner=key.model)
        if only_answer:
            return model.bind_tools([final_answer], tool_choice=FINAL_ANSWER)
        return model.bind_tools(self._tools, tool_choice="any")
