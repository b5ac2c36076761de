"""The JSON schemas of a graph: what its input, output, state and context look like, for forms and for callers."""

import dataclasses
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
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema

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
    """What `get` gives; if that cannot be had, the same of the type behind it, with fields that take anything.

    Args:
        graph: named in the log.
        what: the schema, for the log.
        get: the graph's own way.
        source: the type behind it.
    """
    ways = [get]
    if typing_extensions.is_typeddict(source):
        ways += [
            lambda: TypeAdapter[Any](portable(source)).json_schema(schema_generator=_Lenient),
            lambda: TypeAdapter[Any](_twin(source, (source,), _described)).json_schema(schema_generator=_Lenient),
        ]
    elif isinstance(source, type):
        ways.append(lambda: _by_field(source))
    failures: list[Exception] = []
    for way in ways:
        try:
            return way()
        except Exception as exc:  # noqa: BLE001  # the boundary to the types of the user's graph: they may raise anything
            failures.append(exc)
    logger.warning("No %s schema of graph %r: %s", what, graph.get_name(), failures[0])
    return None


class _Lenient(GenerateJsonSchema):
    """Describes what has no JSON schema, a function or a class of one's own, as anything."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Json:
        """Anything."""
        return {}


def _by_field(source: type[Any]) -> Json:
    """The schema of a class with fields: a pydantic model or a dataclass."""
    fields: dict[str, Any] = {}
    if issubclass(source, BaseModel):
        fields = {name: (_described(each.annotation), each) for name, each in source.model_fields.items()}
    elif dataclasses.is_dataclass(source):
        hints = typing_extensions.get_type_hints(source, include_extras=True)
        fields = {each.name: (_described(hints[each.name]), _default(each)) for each in dataclasses.fields(source)}
    model: type[BaseModel] = create_model(
        source.__name__, __config__=ConfigDict(arbitrary_types_allowed=True), **fields
    )
    return model.model_json_schema(schema_generator=_Lenient)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ... if field.default is dataclasses.MISSING else field.default


def _state_schema(graph: Pregel[Any, Any, Any, Any]) -> Json:
    annotations = {name: getattr(graph.channels[name], "UpdateType", Any) for name in graph.stream_channels_list}
    return _model(graph.get_name("State"), {name: _described(annotation) for name, annotation in annotations.items()})


def _model(name: str, annotations: dict[str, Any]) -> Json:
    fields = {field: (annotation, None) for field, annotation in annotations.items()}
    model: type[BaseModel] = create_model_v2(name, field_definitions=fields)
    return model.model_json_schema(schema_generator=_Lenient)


def _described(annotation: Any) -> Any:
    """The same type; one that has no schema takes anything."""
    try:
        annotation = portable(_unmarked(annotation)[1])
        _model("Field", {"field": annotation})
    except Exception:  # noqa: BLE001  # as above
        return Any
    return annotation


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


def _twin(typed_dict: Any, within: tuple[Any, ...], of_field: Callable[[Any], Any] | None = None) -> Any:
    fields = {}
    for name, hint in typing_extensions.get_type_hints(typed_dict, include_extras=True).items():
        # Where annotations are postponed, only the mark itself says it: the keys were counted without reading it.
        mark, bare = _unmarked(hint)
        mark = mark or (_REQUIRED if name in typed_dict.__required_keys__ else _NOT_REQUIRED)
        fields[name] = mark[of_field(bare) if of_field else portable(bare, within)]
    twin = typing_extensions.TypedDict(typed_dict.__name__, fields)  # type: ignore[misc]  # made at run time
    twin.__doc__ = typed_dict.__doc__
    twin.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)  # type: ignore[attr-defined]  # pydantic's
    return twin


def _unmarked(hint: Any) -> tuple[Any, Any]:
    """Whether a field says that it is required or not, and its type without that, which may also stand in Annotated."""
    origin = typing.get_origin(hint)
    if origin in _MARKS:
        mark, bare = _unmarked(typing.get_args(hint)[0])
        return mark or (None if origin is _READ_ONLY else origin), bare
    if origin is typing.Annotated:
        mark, bare = _unmarked(hint.__origin__)
        return mark, typing.Annotated[(bare, *hint.__metadata__)] if mark else hint
    return None, hint
