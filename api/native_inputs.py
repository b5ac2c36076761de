"""The input and the context of the native API, made to fit a graph: checked by its fields, with text as its messages.

A graph that a factory makes is not known before the run: there it is the executor that has this done.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_origin, get_type_hints

from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import Runnable
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from api.errors import InvalidRequestError, invalid
from api.schemas import Json

UNFITTED = "unfitted"
"""In a run's kwargs: the context as the request and the assistant gave it; the run's input is the request's own."""


def adapter(schema: type[Any]) -> TypeAdapter[Any] | None:
    """Checks contexts; None for what pydantic does not take: before Python 3.12 a TypedDict of `typing`, for one."""
    try:
        return TypeAdapter(schema)
    except PydanticUserError:
        return None


def fitted(graph: Runnable[Any, Any], kwargs: Json) -> Json:
    """What a run of a graph is called with, in place of what waited for the graph.

    Args:
        graph: made for the run.
        kwargs: the run's.

    Raises:
        InvalidRequestError: the input or the context does not fit; it names the field.
    """
    given = kwargs[UNFITTED]
    kwargs = kwargs | fitted_context(graph, given["context"], given["settings"], adapter)
    return kwargs if "input" not in kwargs else kwargs | {"input": fitted_input(graph, kwargs["input"])}


def fitted_context(
    graph: Runnable[Any, Any],
    context: Json | None,
    settings: Json,
    adapt: Callable[[type[Any]], TypeAdapter[Any] | None],
) -> Json:
    """`{"context"}` of a run: the request's, which must fit, over the assistant's, as far as it does; {} without one.

    Args:
        graph: whose context it is.
        context: the request's.
        settings: the assistant's.
        adapt: gives what checks values of a context's class.

    Raises:
        InvalidRequestError: it does not fit.
    """
    schema = graph.context_schema if isinstance(graph, Pregel) else None
    if schema is None:
        if context:
            raise InvalidRequestError("This agent takes no context.", field="context")
        return {}
    known = get_type_hints(schema)
    if unknown := [name for name in context or {} if name not in known]:
        raise InvalidRequestError(f"This agent's context has {_names(known)}.", field=f"context.{unknown[0]}")
    whole = {name: value for name, value in settings.items() if name in known} | (context or {})
    try:
        # Without a context the fields' defaults apply, as they would with an empty one.
        if (checks := adapt(schema)) is not None:
            checks.validate_python(whole)
    except ValidationError as exc:
        raise invalid(exc, "context") from exc
    except (ValueError, TypeError) as exc:
        raise InvalidRequestError(f"context: {exc}", field="context") from exc
    return {"context": whole}


def fitted_input(graph: Runnable[Any, Any], value: Any) -> Any:
    """Text and message lists become the graph's `messages`, or text its one field of text; an object must be of the
    graph's own fields.

    Args:
        graph: whose input it is.
        value: what the caller gave, not empty.

    Raises:
        InvalidRequestError: it does not fit.
    """
    schema = graph.builder.input_schema if isinstance(graph, CompiledStateGraph) else None
    # A state may be a list of messages, say, and no class.
    fields = get_type_hints(schema) if isinstance(schema, type) and get_origin(schema) is None else None
    if not fields:
        return value
    if isinstance(value, str | list):
        if isinstance(value, str) and list(fields.values()) == [str]:
            return dict.fromkeys(fields, value)
        if "messages" not in fields:
            raise InvalidRequestError(f"This agent takes an object with {_names(fields)}.", field="input")
        value = {"messages": [{"role": "user", "content": value}] if isinstance(value, str) else value}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"This agent takes text, messages, or an object with {_names(fields)}.", field="input"
        )
    if unknown := [name for name in value if name not in fields]:
        raise InvalidRequestError(f"This agent's input has {_names(fields)}.", field=f"input.{unknown[0]}")
    if "messages" in value:
        _check_messages(value["messages"])
    return value


def _check_messages(messages: Any) -> None:
    try:
        convert_to_messages(messages if isinstance(messages, list) else [messages])
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError) as exc:
        message = "Not a list of messages: each is {role, content}, or as LangChain writes it."
        raise InvalidRequestError(message, field="input.messages") from exc


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in fields) or "no fields"
