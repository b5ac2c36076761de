"""Gives the tools to a model, and decodes its answers, whatever is around it.

    bind, with_config                       stay around the model
    with_retry, with_fallbacks              stay too; a reply that has begun is not asked for again
    configurable_fields, _alternatives      are settled for each run, by its config
    prompt | model                          the model is the last step: it gets the tools
    any other Runnable                      is asked as it is, and brings what it needs (`runnable_model`)

Calling `bind_tools` on what is given would be shorter, and is right for a chat model alone. What is around one either
lacks the method, or passes it on and is lost itself. A retry would also begin an answer anew that is half told.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.tools import BaseTool

from .final_answer import FinalAnswerModel
from .runnable_model import RunnableModel

_Model = Runnable[Any, Any]
_OWN_TOOLS = ("tools", "functions", "function_call")


def with_tools(
    model: _Model, tools: Sequence[BaseTool], tool_choice: str, config: RunnableConfig | None = None
) -> _Model:
    """Return the model with tools bound and its final answer decoded.

    Args:
        model: A chat model, or what one became by LangChain's methods, or any Runnable from messages to a message.
        tools: What it may call.
        tool_choice: Which of them it must call, as `bind_tools` takes it.
        config: Settles what is configurable.

    Raises:
        ValueError: If it cannot be given the tools.
    """
    settled = _rebuilt(model, lambda leaf: leaf, config)
    parts = list(_parts(settled))
    _refuse_own_tools(parts)
    if not any(isinstance(part, RunnableRetry | RunnableWithFallbacks) for part in parts):
        return _rebuilt(settled, lambda leaf: _bound(leaf, tools, tool_choice))
    return _Attempts(_rebuilt(settled, lambda leaf: _Attempt(_bound(leaf, tools, tool_choice))))


def with_options(model: _Model, **options: Any) -> _Model:
    """Return the model with options for each call, which go before those that it has."""
    if any(isinstance(part, RunnableSequence) for part in _parts(model)):
        # A sequence would hand them to its first step.
        return _rebuilt(model, lambda leaf: leaf.bind(**options))
    return model.bind(**options)


def _bound(leaf: _Model, tools: Sequence[BaseTool], tool_choice: str) -> _Model:
    if not isinstance(leaf, BaseChatModel):
        bind = getattr(leaf, "bind_tools", None)
        inner = RunnableModel(runnable=bind(tools, tool_choice=tool_choice) if callable(bind) else leaf)
        return FinalAnswerModel(inner=inner, tools_bound=callable(bind))
    decoded = leaf if isinstance(leaf, FinalAnswerModel) else FinalAnswerModel(inner=leaf)
    try:
        return decoded.bind_tools(tools, tool_choice=tool_choice)
    except NotImplementedError as error:
        raise ValueError(f"{type(leaf).__name__} cannot be given tools: it has no bind_tools") from error


def _refuse_own_tools(parts: Sequence[_Model]) -> None:
    for part in parts:
        if isinstance(part, RunnableBinding) and (own := [name for name in _OWN_TOOLS if part.kwargs.get(name)]):
            raise ValueError(f"the model has {' and '.join(own)} bound: the agent binds the tools that it is given")


def _parts(model: _Model) -> Iterator[_Model]:
    """Yield a model and what it is made of, down to what replies by itself."""
    yield model
    if isinstance(model, DynamicRunnable):
        yield from _parts(model.default)
    elif isinstance(model, RunnableWithFallbacks):
        for each in model.runnables:
            yield from _parts(each)
    elif isinstance(model, RunnableBinding | RunnableRetry):
        yield from _parts(model.bound)
    elif isinstance(model, RunnableSequence):
        if _is_model(model.last):
            yield from _parts(model.last)
    elif isinstance(model, _Attempts):
        yield from _parts(model.model)


def _is_model(step: _Model) -> bool:
    return any(isinstance(part, BaseChatModel | _Attempt) for part in _parts(step))


def _rebuilt(model: _Model, change: Callable[[_Model], _Model], config: RunnableConfig | None = None) -> _Model:
    """Return the model with each part that replies by itself changed, and what is configurable settled."""
    if isinstance(model, DynamicRunnable):
        chosen, settled = model.prepare(config)
        rebuilt = _rebuilt(_as_set(chosen, model.default), change, settled)
        return rebuilt.with_config(model.config) if model.config else rebuilt
    if isinstance(model, RunnableWithFallbacks):
        first, *others = (_rebuilt(each, change, config) for each in model.runnables)
        return model.model_copy(update={"runnable": first, "fallbacks": others})
    if isinstance(model, RunnableBinding | RunnableRetry):
        return model.model_copy(update={"bound": _rebuilt(model.bound, change, config)})
    if isinstance(model, RunnableSequence) and _is_model(model.last):
        return model.model_copy(update={"last": _rebuilt(model.last, change, config)})
    if isinstance(model, _Attempts):
        return _Attempts(_rebuilt(model.model, change, config))
    return change(model)


def _as_set(chosen: _Model, default: _Model) -> _Model:
    # What is configured is made anew with all of its fields set, and a model with `streaming` set to False, as it is
    # by default, would stream to nobody.
    if isinstance(chosen, BaseChatModel) and isinstance(default, BaseChatModel):
        is_wished = "streaming" in default.model_fields_set or getattr(chosen, "streaming", False)
        if type(chosen) is type(default) and not is_wished:
            chosen.model_fields_set.discard("streaming")
    return chosen


class _BrokenOff(BaseException):  # it is no error of its own: it carries one past those that try again
    def __init__(self, error: Exception) -> None:
        self.error = error


class _Heard(BaseCallbackHandler):
    """Tells whether anything of a reply has been sent on."""

    run_inline = True

    def __init__(self) -> None:
        self.anything = False

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        if isinstance(chunk, ChatGenerationChunk) and isinstance(message := chunk.message, AIMessageChunk):
            token = message.content or message.tool_call_chunks or message.additional_kwargs
        self.anything = self.anything or bool(token)


class _Attempt(Runnable[Any, Any]):
    """One of the models that are tried. Nobody tries again when it fails in a reply that has begun."""

    name = None

    def __init__(self, model: _Model) -> None:
        self.model = model

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        heard = _Heard()
        try:
            return self.model.with_config(callbacks=[heard]).invoke(input, config, **kwargs)
        except Exception as error:
            if heard.anything:
                raise _BrokenOff(error) from error
            raise

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        heard = _Heard()
        try:
            return await self.model.with_config(callbacks=[heard]).ainvoke(input, config, **kwargs)
        except Exception as error:
            if heard.anything:
                raise _BrokenOff(error) from error
            raise


class _Attempts(Runnable[Any, Any]):
    """All that is tried. What was carried past it is an error like any other again."""

    name = None

    def __init__(self, model: _Model) -> None:
        self.model = model

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        try:
            return self.model.invoke(input, config, **kwargs)
        except _BrokenOff as broken:
            raise broken.error from None

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        try:
            return await self.model.ainvoke(input, config, **kwargs)
        except _BrokenOff as broken:
            raise broken.error from None
