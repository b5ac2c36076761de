"""The JSON schemas of a graph: what its input, output, state and context look like, for forms and for callers."""

import logging
import types
import typing
from collections.abc import Callable
from typing import Any

import typing_extensions
from langchain_core.runnables import Runnable
from langchain_core.utils.pydantic import create_model_v2
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from api.schemas import Json

logger = logging.getLogger(__name__)

_REQUIRED: Any = typing_extensions.Required
_NOT_REQUIRED: Any = typing_extensions.NotRequired
_READ_ONLY: Any = typing_extensions.ReadOnly
_MARKS = (_REQUIRED, _NOT_REQUIRED, _READ_ONLY)


def schemas(graph: Runnable[Any, Any]) -> Json:
    """`input_schema`, `output_schema`, `state_schema`, `config_schema` and `context_schema` of a graph or a Runnable.

    Each is None where there is none, or where the types of the graph have no JSON schema. `config_schema` is the
    context again, under its older name: {} if there is none.
    """
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else None
    context_type = graph.context_schema if isinstance(graph, Pregel) else None
    context = (
        None
        if context_type is None or not isinstance(graph, Pregel)
        else _schema(graph, "context", graph.get_context_jsonschema, context_type)
    )
    return {
        "input_schema": _schema(graph, "input", graph.get_input_jsonschema, builder and builder.input_schema),
        "output_schema": _schema(graph, "output", graph.get_output_jsonschema, builder and builder.output_schema),
        "state_schema": _state_schema(graph) if isinstance(graph, Pregel) else None,
        "config_schema": {} if context_type is None else context,
        "context_schema": context,
    }


def _schema(graph: Runnable[Any, Any], what: str, get: Callable[[], Json | None], source: Any) -> Json | None:
    """What `get` gives; if pydantic refuses the type behind it, that of its twin.

    Args:
        graph: named in the log.
        what: the schema, for the log.
        get: the graph's own way.
        source: the type behind it.
    """
    try:
        try:
            return get()
        except PydanticUserError:
            if not typing_extensions.is_typeddict(source):
                raise
            return TypeAdapter[Any](portable(source)).json_schema()
    except Exception as exc:  # noqa: BLE001  # the boundary to the types of the user's graph: they may raise anything
        logger.warning("No %s schema of graph %r: %s", what, graph.get_name(), exc)
        return None


def _state_schema(graph: Pregel[Any, Any, Any, Any]) -> Json:
    fields = {}
    for name in graph.stream_channels_list:
        annotation = portable(getattr(graph.channels[name], "UpdateType", Any))
        fields[name] = (annotation if _has_schema(annotation) else Any, None)
    return create_model_v2(graph.get_name("State"), field_definitions=fields).model_json_schema()


def _has_schema(annotation: Any) -> bool:
    try:
        create_model_v2("Field", field_definitions={"field": (annotation, None)}).model_json_schema()
    except Exception:  # noqa: BLE001  # as above; such a field takes anything
        return False
    return True


def portable(annotation: Any, _within: tuple[Any, ...] = ()) -> Any:
    """The same type with each TypedDict of `typing` made one of `typing_extensions`.

    Before Python 3.12 pydantic takes no other. A TypedDict inside itself becomes Any there.
    """
    if typing_extensions.is_typeddict(annotation):
        return Any if annotation in _within else _twin(annotation, (*_within, annotation))
    origin: Any = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return typing.Annotated[(portable(annotation.__origin__, _within), *annotation.__metadata__)]
    if origin is None or origin is typing.Literal or any(isinstance(argument, list) for argument in arguments):
        return annotation
    made = tuple(portable(argument, _within) for argument in arguments)
    if made == arguments:
        return annotation
    return typing.Union[made] if origin in (types.UnionType, typing.Union) else origin[made]  # noqa: UP007  # of a tuple


def _twin(typed_dict: Any, within: tuple[Any, ...]) -> Any:
    fields = {}
    for name, hint in typing_extensions.get_type_hints(typed_dict, include_extras=True).items():
        mark = _REQUIRED if name in typed_dict.__required_keys__ else _NOT_REQUIRED
        while (marked := typing.get_origin(hint)) in _MARKS:
            # Where annotations are postponed, only the mark itself says it: the keys were counted without reading it.
            mark = mark if marked is _READ_ONLY else marked
            (hint,) = typing.get_args(hint)
        fields[name] = mark[portable(hint, within)]
    twin = typing_extensions.TypedDict(typed_dict.__name__, fields)  # type: ignore[misc]  # made at run time
    twin.__doc__ = typed_dict.__doc__
    return twin
