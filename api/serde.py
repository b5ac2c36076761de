"""The one JSON encoder: whatever a graph may put into its state or its stream, as compact UTF-8 bytes.

    value ──orjson──> bytes ──refused──> its parts, one by one ──json──> bytes

It never fails: one value that has no JSON form may not cost a reader the others. Such a value is null, or a text that
says no more than its class does; a secret is asterisks.
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import re
import uuid
import zoneinfo
from collections import UserString, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import orjson
from langgraph.errors import EmptyInputError, GraphBubbleUp, InvalidUpdateError, TaskNotFound
from langgraph.types import Send

from api.errors import ThreadlineError
from api.redaction import redacted

Fragment = orjson.Fragment
"""JSON that is encoded already and goes into a larger document as it is."""

_OPEN_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    RecursionError,
    TimeoutError,
    InvalidUpdateError,
    GraphBubbleUp,
    EmptyInputError,
    TaskNotFound,
    ThreadlineError,
)

_OPEN_NAMES = frozenset(error.__name__ for error in _OPEN_ERRORS)
_HIDDEN = "An internal error occurred"

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_SURROGATES = re.compile(r"[\ud800-\udfff]")

_SECRET = "**********"  # noqa: S105  # what pydantic shows of one
_TEXTS = (
    pathlib.PurePath,
    uuid.UUID,
    complex,
    range,
    UserString,
    datetime.timezone,
    zoneinfo.ZoneInfo,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)
_DEEPEST = 200
"""Levels of what is written part by part; readers of JSON have limits of their own."""
_DIGITS = 4000
"""Of an integer: Python makes no decimal text of a much longer one."""


def dumps(value: object) -> bytes:
    """Encodes a value, any value; infinities and NaN become null, lone surrogates U+FFFD, bytes Base64.

    What has no JSON form is null; so is what lies deeper than some 200 levels, or holds itself.
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except TypeError:
        plain = _Parts().plain(value)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def loads(data: bytes | str) -> Any:
    """Decodes JSON.

    Raises:
        ValueError: the text is not JSON.
    """
    return orjson.loads(data)


def exception_payload(exc: BaseException) -> dict[str, str]:
    """An exception as clients see it: its class, and its message if Python or LangGraph wrote it.

    Other classes' messages may hold what is not for clients; LangGraph's own server draws the same line. What is shown
    has no paths and no secrets.
    """
    shown = redacted(str(exc)) if isinstance(exc, _OPEN_ERRORS) else _HIDDEN
    return {"error": type(exc).__name__, "message": shown}


def task_error(error: object) -> str | None:
    """The error of a task as clients see it: by the same rules, in the form that checkpoints keep it in.

    Args:
        error: an exception, or its `repr`, as it is after a checkpoint was read.
    """
    if error is None:
        return None
    text = error if isinstance(error, str) else repr(error)
    name = text.partition("(")[0]
    if name in _OPEN_NAMES or text == f"{name}()":
        return redacted(text)
    return f"{name}({_HIDDEN!r})"


def _default(value: Any) -> Any:
    """A value in parts that are nearer to JSON; its own code may raise."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    match value:
        case set() | frozenset():
            return list(value)
        case type():
            return None
    if callable(getattr(value, "get_secret_value", None)):
        return _SECRET
    for method in ("dict", "_asdict", "to_dict"):
        if callable(found := getattr(value, method, None)):
            return found()
    return _default_by_type(value)


def _default_by_type(value: Any) -> Any:
    match value:
        case BaseException():
            return exception_payload(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value.tobytes() if isinstance(value, memoryview) else value).decode()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return _number(value)
        case re.Pattern():
            return value.pattern
        case Send():
            return {"node": value.node, "args": value.arg}
        case enum.Enum():
            return value.value
        case _ if isinstance(value, _TEXTS):
            return str(value)
    return _default_by_kind(value)


def _default_by_kind(value: Any) -> Any:
    match value:
        case Mapping():
            return dict(value)
        case Set() | deque() | Sequence():
            return list(value)
        case float():
            return float(value)
    if callable(listed := getattr(value, "tolist", None)):  # numpy's arrays and numbers, and what is like them
        plain = listed()
        return float(value) if type(plain) is type(value) else plain
    return None


def _number(value: decimal.Decimal) -> int | float:
    exponent = value.as_tuple().exponent
    whole = isinstance(exponent, int) and exponent >= 0 and value.adjusted() < _DIGITS
    return int(value) if whole else float(value)


class _Parts:
    """Writes a value part by part, so that one that cannot be written costs itself alone."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        """Ids of the values that the present one lies in."""

    def plain(self, value: Any) -> Any:
        """The value in what JSON has: None in place of what cannot be written."""
        try:
            return self._leaf(value)
        except _NoLeafError:
            pass
        except BaseException:  # noqa: BLE001  # a value's own code has raised, whatever it is
            return None
        if id(value) in self._above or len(self._above) >= _DEEPEST:
            return None
        self._above.add(id(value))
        try:
            return self._parts(value)
        except BaseException:  # noqa: BLE001  # likewise
            return None
        finally:
            self._above.remove(id(value))

    def _leaf(self, value: Any) -> Any:
        match value:
            case None | bool():
                return value
            case enum.Enum():
                return self.plain(value.value)
            case int():
                return _whole(value)
            case float():
                return float(value) if math.isfinite(value) else None
            case str():
                return _text(value)
            case orjson.Fragment():
                return self.plain(orjson.loads(orjson.dumps(value)))
        raise _NoLeafError

    def _parts(self, value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
            return self._attributes(value, names)
        if type(value) in (list, tuple, set, frozenset):
            return [self.plain(item) for item in value]
        if isinstance(value, dict):
            return self._object(value)
        try:
            nearer = _default(value)
        except BaseException:  # noqa: BLE001  # likewise: its fields may do without that code
            fields = getattr(type(value), "model_fields", None)
            return None if fields is None else self._attributes(value, fields)
        return self.plain(nearer)

    def _attributes(self, value: Any, names: Iterable[str]) -> dict[str, Any]:
        return {name: self._attribute(value, name) for name in names}

    def _attribute(self, value: Any, name: str) -> Any:
        try:
            return self.plain(getattr(value, name))
        except BaseException:  # noqa: BLE001  # likewise
            return None

    def _object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = self._key(key)
            while name in found:
                name += "'"
            found[name] = self.plain(item)
        return found

    def _key(self, key: Any) -> str:
        """A key as text: as orjson has it where it does, the JSON of any other; of what has none, its class."""
        if isinstance(key, str) and not isinstance(key, enum.Enum):
            return _text(key)
        plain = self.plain(key)
        if plain is None and key is not None:
            return f"<{type(key).__qualname__}>"
        return plain if isinstance(plain, str) else dumps(plain).decode()


class _NoLeafError(Exception):
    """The value has parts, or is none of JSON's."""


def _text(value: str) -> str:
    return _SURROGATES.sub("\ufffd", value)


def _whole(value: int) -> int | str:
    """The integer, with all its digits; one that is too long for decimal text as hexadecimal text."""
    return int(value) if value.bit_length() < _DIGITS * 3 else hex(value)
