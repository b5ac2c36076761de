"""Values as checkpoints store them: LangGraph's MessagePack, every object as what it is made of and its class's name.

    value ──pack──> MessagePack ──unpack, class by class──> value

The form is that of LangGraph's own serializer, which reads it too. Beyond that, an object of pydantic has its fields as
they are, so that what a field holds keeps its class; a class inside another, or inside a function, has its whole name;
and attrs, numpy's numbers, ranges and the bounds of deques are kept.
"""

import dataclasses
import datetime
import decimal
import enum
import logging
import pathlib
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from zoneinfo import ZoneInfo

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)

# What the channels that are kept as changes store; it has no public name. tests/api/test_stored_values.py stores one.
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send
from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from api.errors import UnserializableError

logger = logging.getLogger(__name__)

Find = Callable[[str, str], Any]
"""The class of a module by its name, if it may come back."""

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)
_AS_IT_IS = "model_construct"
"""Marks the fields of a pydantic object as those it had; without it they are what `model_dump` made of them."""
_OF_ONE = (
    set, frozenset, deque, tuple, int, float, str, uuid.UUID, decimal.Decimal, ZoneInfo, IPv4Address, IPv4Network,
    IPv6Address, IPv6Network, SecretStr, SecretBytes, Secret,
)  # fmt: skip
_OF_SEVERAL = (pathlib.PurePath, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, deque)
_DEEPEST = 200
"""Levels of a path to what cannot be stored."""


def pack(value: Any, note: Callable[[type], None]) -> bytes:
    """A value in MessagePack.

    Args:
        value: anything.
        note: told the class of every object in it that is not Python's own.

    Raises:
        UnserializableError: some part of it has no stored form; it says which.
    """
    writer = _Writer(note)
    try:
        return writer.pack(value)
    except (TypeError, RecursionError):
        raise _unstorable(value, writer) from None


def unpack(data: bytes, find: Find) -> Any:
    """The value of MessagePack.

    Args:
        data: as `pack`, or LangGraph's own serializer, made it.
        find: the classes that may come back; an object of another comes back as the data that it was made of.

    Raises:
        ValueError: it is damaged.
    """
    return _Reader(find).unpack(data)


class _Writer:
    def __init__(self, note: Callable[[type], None]) -> None:
        self._note = note
        self._classes: dict[type, tuple[str, str]] = {}
        """Names of those that have been noted."""
        self._fields: dict[type, list[str]] = {}
        """Of pydantic's classes so far: those that are stored."""

    def pack(self, value: Any) -> bytes:
        return ormsgpack.packb(value, default=self._default, option=_OPTIONS)

    def _default(self, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return self._model(value)
        match value:
            case _DeltaSnapshot():
                return ormsgpack.Ext(EXT_DELTA_SNAPSHOT, self.pack(value.value))
            case deque() if value.maxlen is not None:
                return self._object(EXT_CONSTRUCTOR_POS_ARGS, value, (tuple(value), value.maxlen))
            case set() | frozenset() | deque():
                return self._object(EXT_CONSTRUCTOR_SINGLE_ARG, value, tuple(value))
            case enum.Enum():
                return self._object(EXT_CONSTRUCTOR_SINGLE_ARG, value, value.value, value.name)
            case Send():
                timeout = getattr(value, "timeout", None)
                args = (value.node, value.arg) if timeout is None else (value.node, value.arg, timeout)
                return self._object(EXT_CONSTRUCTOR_POS_ARGS, value, args)
            case range():
                return self._object(EXT_CONSTRUCTOR_POS_ARGS, value, (value.start, value.stop, value.step))
            case pathlib.PurePath():
                return self._object(EXT_CONSTRUCTOR_POS_ARGS, value, value.parts)
            case complex():
                return self._object(EXT_CONSTRUCTOR_POS_ARGS, value, (value.real, value.imag))
        if (fields := _fields(value)) is not None:
            return self._object(EXT_CONSTRUCTOR_KW_ARGS, value, fields)
        return self._other(value)

    def _other(self, value: Any) -> Any:
        if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.ndarray | numpy.generic):
            if value.dtype.hasobject:
                raise TypeError("numpy array of objects")
            return ormsgpack.Ext(EXT_NUMPY_ARRAY, self.pack((value.dtype.str, value.shape, "C", value.tobytes())))
        if isinstance(value, float | tuple):
            return self._object(EXT_CONSTRUCTOR_SINGLE_ARG, value, value.real if isinstance(value, float) else [*value])
        if isinstance(getattr(type(value), "__fields__", None), Mapping):
            fields = {name: value.__dict__[name] for name in type(value).__fields__ if name in value.__dict__}
            return self._object(EXT_PYDANTIC_V1, value, fields, _AS_IT_IS)
        self._note(type(value))
        # What is left has no parts of its own: LangGraph's serializer writes it.
        return ormsgpack.unpackb(JsonPlusSerializer().dumps_typed(value)[1], ext_hook=ormsgpack.Ext)

    def _model(self, value: BaseModel) -> ormsgpack.Ext:
        cls = type(value)
        if cls not in self._fields:
            self._fields[cls] = [name for name, field in cls.model_fields.items() if not field.exclude]
        held = value.__dict__
        fields = {name: held[name] for name in self._fields[cls] if name in held}
        if extra := value.model_extra:
            fields |= extra
        try:
            return self._object(EXT_PYDANTIC_V2, value, fields, _AS_IT_IS)
        except (TypeError, RecursionError):
            # Its own serializers may have a form for what has none.
            return self._object(EXT_PYDANTIC_V2, value, value.model_dump(), "model_validate_json")

    def _object(self, code: int, value: Any, payload: Any, *rest: Any) -> ormsgpack.Ext:
        cls = type(value)
        name = self._classes.get(cls)
        if name is None:
            self._note(cls)
            name = self._classes[cls] = (cls.__module__, cls.__qualname__)
        return ormsgpack.Ext(code, self.pack((*name, payload, *rest)))


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a record: of a named tuple, a dataclass, or an object of attrs; None of anything else."""
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if attributes := getattr(type(value), "__attrs_attrs__", None):
        return {each.name: getattr(value, each.name) for each in attributes}
    return None


class _Reader:
    def __init__(self, find: Find) -> None:
        self._find = find
        self._lost = 0
        """Objects so far that came back as data."""

    def unpack(self, data: bytes) -> Any:
        return ormsgpack.unpackb(data, ext_hook=self._revive, option=ormsgpack.OPT_NON_STR_KEYS)

    def _revive(self, code: int, data: bytes) -> Any:
        lost = self._lost
        parts = self.unpack(data)
        if code == EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(parts)
        if code == EXT_NUMPY_ARRAY:
            return _array(*parts)
        module, name, payload, *rest = parts
        if code == EXT_PYDANTIC_V2 and self._lost != lost:
            rest = []  # a field has lost its class: validation may find it again
        try:
            cls = self._find(module, name)
            if cls is not None:
                return _BUILDERS[code](cls, payload, rest)
            logger.debug("%s.%s comes back as data: no graph brought it along", module, name)
        except Exception as exc:  # noqa: BLE001  # the boundary to the class: its data is better than nothing
            logger.warning("%s.%s comes back as data: %s", module, name, type(exc).__name__)
        self._lost += 1
        return payload


def _array(dtype: str, shape: Sequence[int], order: Any, data: bytes) -> Any:
    import numpy as np  # only where it was used

    array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape, order=order)
    return array.copy() if shape else array[()]


def _of_one(cls: Any, payload: Any, rest: Sequence[Any]) -> Any:
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        return cls[rest[0]] if rest and rest[0] in cls.__members__ else cls(payload)
    return _checked(cls, _OF_ONE)(payload)


def _of_several(cls: Any, payload: Any, _: Sequence[Any]) -> Any:
    if isinstance(cls, type) and issubclass(cls, Send):
        node, arg, *timeout = payload
        return cls(node, arg, timeout=timeout[0]) if timeout else cls(node, arg)
    return _checked(cls, _OF_SEVERAL)(*payload)


def _of_fields(cls: Any, payload: dict[str, Any], _: Sequence[Any]) -> Any:
    if dataclasses.is_dataclass(cls):
        return _record(cls, payload, {field.name: field.name for field in dataclasses.fields(cls) if field.init})
    if attributes := getattr(cls, "__attrs_attrs__", None):
        return _record(cls, payload, {each.name: each.alias for each in attributes if each.init})
    return _checked(cls, (tuple, datetime.time))(**payload)


def _record(cls: Any, fields: dict[str, Any], arguments: Mapping[str, str]) -> Any:
    """An object with these very fields, whatever its constructor makes of them."""
    try:
        made = cls(**{argument: fields[name] for name, argument in arguments.items() if name in fields})
    except Exception:  # noqa: BLE001  # it wants more than its fields, as one with an InitVar does
        made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _of_method(cls: Any, payload: Any, rest: Sequence[Any]) -> Any:
    if rest != ["fromisoformat"]:
        raise TypeError(rest)
    return _checked(cls, (datetime.datetime,)).fromisoformat(payload)


def _of_pydantic_v1(cls: Any, payload: dict[str, Any], rest: Sequence[Any]) -> Any:
    if not isinstance(getattr(cls, "__fields__", None), Mapping):
        raise TypeError(cls)
    return _model(cls, cls.construct, payload, as_it_is=_AS_IT_IS in rest)


def _of_pydantic(cls: Any, payload: dict[str, Any], rest: Sequence[Any]) -> Any:
    cls = _checked(cls, (BaseModel,))
    return _model(cls, cls.model_construct, payload, as_it_is=_AS_IT_IS in rest)


def _model(cls: Any, construct: Callable[..., Any], fields: dict[str, Any], *, as_it_is: bool) -> Any:
    if not as_it_is:
        try:
            return cls(**fields)
        except Exception:  # noqa: BLE001  # the class has changed, or its validators take other names
            logger.debug("%s is made without validation", cls)
    return construct(**fields)


def _checked(cls: Any, bases: tuple[type, ...]) -> Any:
    """The class, if it is of the kind that the form is for. `re.compile`, which is no class, is LangGraph's own choice.

    Raises:
        TypeError: it is not.
    """
    if isinstance(cls, type) and not issubclass(cls, bases) and cls.__module__ not in _TRUSTED:
        raise TypeError(cls)
    return cls


_TRUSTED = frozenset({"langgraph.store.base", "builtins"})

_BUILDERS: dict[int, Callable[[Any, Any, Sequence[Any]], Any]] = {
    EXT_CONSTRUCTOR_SINGLE_ARG: _of_one,
    EXT_CONSTRUCTOR_POS_ARGS: _of_several,
    EXT_CONSTRUCTOR_KW_ARGS: _of_fields,
    EXT_METHOD_SINGLE_ARG: _of_method,
    EXT_PYDANTIC_V1: _of_pydantic_v1,
    EXT_PYDANTIC_V2: _of_pydantic,
}


def _unstorable(value: Any, writer: _Writer) -> UnserializableError:
    """The error about the innermost part that cannot be stored."""
    path: list[str] = []
    while len(path) < _DEEPEST and (parts := _refused(list(_parts(value)), writer)):
        name, value = parts[0]
        path.append(name)
    return UnserializableError(_described(value, too_deep=len(path) == _DEEPEST), path)


def _described(value: Any, *, too_deep: bool) -> str:
    cls = type(value)
    if too_deep:
        return "of too many levels"
    if isinstance(value, int):
        return "an integer of more than 64 bits"
    if isinstance(value, dict):
        return "an object with a key that cannot be stored"
    return f"a {cls.__module__}.{cls.__qualname__}".replace("builtins.", "")


def _refused(parts: list[tuple[str, Any]], writer: _Writer) -> list[tuple[str, Any]]:
    """One part that cannot be stored, found by halves; nothing if all can."""
    if _is_storable([part for _, part in parts], writer):
        return []
    while len(parts) > 1:
        half = parts[: len(parts) // 2]
        parts = parts[len(half) :] if _is_storable([part for _, part in half], writer) else half
    return parts


def _is_storable(value: Any, writer: _Writer) -> bool:
    try:
        writer.pack(value)
    except (TypeError, RecursionError):
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(name), part) for name, part in value.items() if isinstance(name, str | int))
    elif isinstance(value, list | tuple | set | frozenset | deque) and not hasattr(value, "_asdict"):
        yield from ((str(index), part) for index, part in enumerate(value))
    elif isinstance(value, Send):
        yield "arg", value.arg
    elif isinstance(value, BaseModel):
        yield from value.__dict__.items()
    else:
        yield from (_fields(value) or {}).items()
