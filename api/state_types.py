"""State types: the classes that graphs declare for their states, which their checkpoints may hold."""

import dataclasses
import enum
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel

Symbol = tuple[str, ...]
"""A class as checkpoints name it: its module, and its own name."""

_LIBRARIES = ("langchain", "langgraph", "pydantic")


def state_types(graph: Pregel[Any, Any, Any, Any]) -> set[Symbol]:
    """The classes that a graph, and those inside it, declare for their states: what its checkpoints may hold."""
    found: set[Symbol] = set()
    seen: set[int] = set()
    for each in (graph, *(inner for _, inner in graph.get_subgraphs(recurse=True))):
        for declared in _declared(each):
            _collect(declared, found, seen)
    return found


def _declared(graph: Any) -> Iterator[Any]:
    for channel in graph.channels.values():
        yield getattr(channel, "ValueType", None)
        yield getattr(channel, "UpdateType", None)
    if isinstance(graph, CompiledStateGraph):
        builder = graph.builder
        yield from (builder.state_schema, builder.input_schema, builder.output_schema)
        for node in builder.nodes.values():
            yield node.input_schema


def _collect(declared: Any, found: set[Symbol], seen: set[int]) -> None:
    if id(declared) in seen:
        return
    seen.add(id(declared))
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Annotated:
        arguments = arguments[:1]
    if origin is not Literal:
        for argument in arguments:
            _collect(argument, found, seen)
    if not isinstance(declared, type):
        return
    if _is_record(declared) or issubclass(declared, enum.Enum):
        found.add((declared.__module__, declared.__name__))
    if _is_record(declared) or is_typeddict(declared):
        for field in _hints(declared).values():
            _collect(field, found, seen)
    if _is_record(declared) and not declared.__module__.startswith(_LIBRARIES):
        # A field may hold what is derived from its class; of the libraries' own base classes too much is.
        for derived in declared.__subclasses__():
            _collect(derived, found, seen)


def _is_record(declared: type[Any]) -> bool:
    named_tuple = issubclass(declared, tuple) and hasattr(declared, "_fields")
    return dataclasses.is_dataclass(declared) or named_tuple or issubclass(declared, BaseModel)


def _hints(declared: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(declared, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}  # names that are there for type checkers alone
