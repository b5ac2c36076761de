"""The one JSON encoder: whatever a graph may put into its state or its stream, as compact UTF-8 bytes."""

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import math
import pathlib
import re
import uuid
from collections import deque
from collections.abc import Mapping, Set
from typing import Any

import orjson
from langgraph.errors import EmptyInputError, GraphBubbleUp, InvalidUpdateError, TaskNotFound

from api.errors import ThreadlineError, UnserializableError
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


def dumps(value: object) -> bytes:
    """Encodes a value; infinities and NaN become null, lone surrogates U+FFFD, integers keep all their digits.

    Raises:
        UnserializableError: some part of the value has no JSON form; the message names its class.
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except TypeError:
        return _dumps_slowly(value)


def _dumps_slowly(value: object) -> bytes:
    """For what orjson refuses: integers beyond 64 bits and lone surrogates."""
    try:
        return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, RecursionError) as exc:
        raise UnserializableError(f"A value cannot be written as JSON: {exc}.") from exc


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
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    for method in ("_asdict", "to_dict"):
        if not isinstance(value, type) and callable(found := getattr(value, method, None)):
            return found()
    return _default_by_type(value)


def _default_by_type(value: Any) -> Any:
    match value:
        case BaseException():
            return exception_payload(value)
        case Set() | deque() | tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", errors="replace")
        case decimal.Decimal():
            return float(value)
        case datetime.timedelta():
            return value.total_seconds()
        case re.Pattern():
            return value.pattern
        case pathlib.PurePath() | ipaddress.IPv4Address() | ipaddress.IPv6Address() | uuid.UUID():
            return str(value)
        case enum.Enum():
            return value.value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form")


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return _SURROGATES.sub("\ufffd", value)
        case Mapping():
            return {_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | Set() | deque():
            return [_plain(item) for item in value]
        case orjson.Fragment():
            return orjson.loads(orjson.dumps(value))
        case datetime.datetime() | datetime.date() | datetime.time() | uuid.UUID():
            return orjson.loads(orjson.dumps(value))
    return _plain(_default(value))


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _SURROGATES.sub("\ufffd", key)
    return str(orjson.loads(orjson.dumps({key: None}, option=_OPTIONS)).popitem()[0])
