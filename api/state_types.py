"""State types: the classes whose objects may come out of a checkpoint as what they were.

    a name in a checkpoint ──┬── LangGraph's own messages, and what of Python holds data
                             ├── what `checkpointer.serde` of langgraph.json allows
                             ├── what the schemas of the graph name
                             ├── what served graphs have written in this process
                             └── what the modules define that the graphs bring along ──> the class
                                        (classes inside functions, too, if they have been made)

All but the first two are looked for among what there is: nothing is imported but what the graphs' sources import.
"""

import dataclasses
import enum
import functools
import importlib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict
from weakref import WeakValueDictionary

# Not public, but what LangGraph itself reads at its strictest. tests/api/test_stored_values.py reads its messages.
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel

from api.brought_modules import BroughtModules, is_class

Symbol = tuple[str, ...]
"""A class as checkpoints name it: its module, and its own name."""

EVERYTHING = "*"
"""In place of a class's name: all that its module brings along."""

_DATA = frozenset(
    {
        ("builtins", "range"),
        ("builtins", "complex"),
        ("pathlib", "PurePosixPath"),
        ("pathlib", "PureWindowsPath"),
        ("pathlib._local", "PurePosixPath"),
        ("pathlib._local", "PureWindowsPath"),
        ("pydantic.types", "SecretStr"),
        ("pydantic.types", "SecretBytes"),
    }
)
_LIBRARIES = ("langchain", "langgraph", "pydantic")


class StateTypes:
    """Finds classes by their names.

    Args:
        allowed: classes that may be imported, besides; True: any.
    """

    def __init__(self, allowed: frozenset[Symbol] | Literal[True] = frozenset()) -> None:
        self._allowed = allowed
        self._declared: Mapping[Symbol, type] = {}
        self._modules = BroughtModules()
        self._written: WeakValueDictionary[Symbol, type] = WeakValueDictionary()
        self._found: dict[Symbol, type] = {}
        """Those that the modules gave."""

    def extended(self, extra: Iterable[Symbol | type]) -> "StateTypes":
        """With further classes, or (a module, EVERYTHING): with all that a graph's module brings along."""
        extra = list(extra)
        symbols = {each for each in extra if not isinstance(each, type)}
        roots = {symbol[0] for symbol in symbols if symbol[-1] == EVERYTHING}
        other = StateTypes(True if self._allowed is True else self._allowed | {s for s in symbols if s[0] not in roots})
        other._declared = {**self._declared, **{_symbol(each): each for each in extra if isinstance(each, type)}}
        other._modules = self._modules.with_roots(frozenset(roots))
        other._written = self._written
        return other

    def note(self, cls: type) -> None:
        """Takes down that a served graph has written an object of a class in this process."""
        if self._modules.roots:
            self._written[_symbol(cls)] = cls

    def find(self, module: str, name: str) -> Any:
        """A class that may come back; of LangGraph's and Python's own, also a function. None: it may not."""
        symbol = (module, name)
        if symbol in SAFE_MSGPACK_TYPES or symbol in _DATA:
            return getattr(importlib.import_module(module), name)
        found = self._declared.get(symbol) or self._written.get(symbol)
        if found is None and (self._allowed is True or symbol in self._allowed):
            found = _attribute(importlib.import_module(module), name)
        return found or self._brought(symbol)

    def _brought(self, symbol: Symbol) -> type | None:
        if symbol in self._found:
            return self._found[symbol]
        module, name = symbol
        holder = self._modules.get(module)
        if holder is None:
            return None
        generic = name.partition("[")[0]
        found = _attribute(holder, name) or self._alive.get(symbol) or _attribute(holder, generic)
        if found is not None:
            self._found[symbol] = found
        return found

    @functools.cached_property
    def _alive(self) -> dict[Symbol, type]:
        """All classes that there are: among them those that no module has as an attribute."""
        found: dict[Symbol, type] = {}
        left: list[type] = [object]
        cls: type
        while left:
            for cls in type.__subclasses__(left.pop()):
                if found.setdefault(_symbol(cls), cls) is cls:
                    left.append(cls)
        return found


def _symbol(cls: type) -> Symbol:
    return (cls.__module__, cls.__qualname__)


def _attribute(module: types.ModuleType, name: str) -> type | None:
    """A class that a module defines, by its whole name; nothing is called to get it."""
    outer, *inner = name.split(".")
    found: Any = vars(module).get(outer)
    for part in inner:
        found = vars(found).get(part) if is_class(found) else None
    return found if is_class(found) and found.__module__ == module.__name__ else None


def state_types(graph: Pregel[Any, Any, Any, Any]) -> set[type]:
    """The classes that a graph, and those inside it, declare for their states."""
    found: set[type] = set()
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


def _collect(declared: Any, found: set[type], seen: set[int]) -> None:
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
        found.add(declared)
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
