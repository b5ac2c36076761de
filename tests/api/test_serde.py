"""The one JSON encoder: it writes everything, and of what has no JSON form the rest."""

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import math
import re
import uuid
import zoneinfo
from collections import UserString, deque
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Interrupt, Send

from api.serde import Fragment, dumps, loads


class Opaque:
    """It has no JSON form."""

    def __init__(self, secret: str = "sk-secret") -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"Opaque({self.secret})"


class Hostile:
    """Whatever it is asked for, it raises: what no handler of `Exception` stops, too."""

    def _raise(self, *_: Any) -> Any:
        raise SystemExit(3)

    __str__ = model_dump = tolist = _raise

    def __repr__(self) -> str:
        return "Hostile()"


class Speechless(Hostile):
    """It raises to whoever would name it, too."""

    __repr__ = Hostile.__str__


class Broken(pydantic.BaseModel):
    """It cannot be written as a whole."""

    good: int = 1
    token: pydantic.SecretStr = pydantic.SecretStr("sk-secret")

    @pydantic.field_serializer("good")
    def _fail(self, _: int) -> int:
        raise ValueError


@dataclasses.dataclass
class Record:
    x: int
    y: Any


class Pair(NamedTuple):
    left: int
    right: Any


class Stamp(datetime.datetime):
    """As pandas' Timestamp is."""


class Wave(enum.Enum):
    STILL = 1j


def _halved() -> Record:
    record = Record(1, 2)
    del record.y
    return record


UTC = datetime.UTC
NEW_YEAR = datetime.datetime(2020, 1, 1, tzinfo=UTC)

SHOWN: list[tuple[Any, Any]] = [
    (b"\xff\xd8", "/9g="),
    (bytearray(b"ab"), "YWI="),
    (memoryview(b"abcd")[::2], "YWM="),
    (np.ones((2, 3)).T, [[1.0, 1.0]] * 3),
    (np.arange(6)[::2], [0, 2, 4]),
    (np.array([Opaque(), 1], dtype=object), [None, 1]),
    (np.float64(1.5), 1.5),
    (np.float16(1.5), 1.5),
    (np.longdouble(1.5), 1.5),
    (np.int8(3), 3),
    (np.bool_(True), True),  # noqa: FBT003  # numpy's own
    (np.complex128(1j), "1j"),
    (np.datetime64("NaT"), None),
    (zoneinfo.ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
    (UTC, "UTC"),
    (datetime.timezone(datetime.timedelta(hours=2)), "UTC+02:00"),
    (datetime.timedelta(seconds=1.5), 1.5),
    (datetime.time(1, 2, tzinfo=UTC), "01:02:00+00:00"),
    (Stamp(2020, 1, 1), "2020-01-01T00:00:00"),
    ([NEW_YEAR, 2**70], ["2020-01-01T00:00:00+00:00", 2**70]),
    (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    (ipaddress.ip_interface("::1/64"), "::1/64"),
    (PurePosixPath("a/b"), "a/b"),
    (re.compile("a+"), "a+"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (decimal.Decimal("1.50"), 1.5),
    (decimal.Decimal(3), 3),
    (decimal.Decimal("sNaN"), None),
    (decimal.Decimal("1E+99999"), None),
    (Send("work", {"n": 1}), {"node": "work", "args": {"n": 1}}),
    (Interrupt(value=b"a", id="i"), {"value": "YQ==", "id": "i", "response_schema": None}),
    (range(3), "range(0, 3)"),
    (1j, "1j"),
    (deque([1, 2]), [1, 2]),
    (UserString("ab"), "ab"),
    (frozenset({1}), [1]),
    ({"a": 1}.keys(), ["a"]),
    (Pair(1, Opaque()), {"left": 1, "right": None}),
    (Record(1, Opaque()), {"x": 1, "y": None}),
    (_halved(), {"x": 1}),
    ({("a", 1): 1, b"\xff": 2, None: 3, Wave.STILL: 4}, {'["a",1]': 1, "/w==": 2, "null": 3, "1j": 4}),
    ({(): 0, 1: 1, "1": 2}, {"[]": 0, "1": 1, "1'": 2}),
    ({Opaque(): 1, "a": 2}, {"<Opaque>": 1, "a": 2}),
    (Wave.STILL, "1j"),
    (float("nan"), None),
    ([math.inf, 2**70], [None, 2**70]),
    ("a\ud800", "a\ufffd"),
    ({"a\udfff": 1}, {"a\ufffd": 1}),
    (10**5000, hex(10**5000)),
    (Opaque, None),
    (Opaque(), None),
    ([Hostile(), Speechless(), 1], [None, None, 1]),
    ({Hostile(): 1, "a": 2}, {"<Hostile>": 1, "a": 2}),
    ((number for number in (1, 2)), None),
    ({"part": Fragment(b'{"a":1}'), "huge": 2**70}, {"part": {"a": 1}, "huge": 2**70}),
    (KeyError("k"), {"error": "KeyError", "message": "'k'"}),
    (pydantic.RootModel[list[bytes]]([b"a"]), ["YQ=="]),
]


@pytest.mark.parametrize(("value", "shown"), SHOWN, ids=[f"{n}-{type(v).__name__}" for n, (v, _) in enumerate(SHOWN)])
def test_what_is_shown(value: Any, shown: Any) -> None:
    assert json.loads(dumps(value)) == shown


def test_secrets_are_never_shown() -> None:
    secret = pydantic.SecretStr("sk-secret")
    values = [secret, {"k": secret}, {secret: 1}, Broken(), Record(1, secret), [pydantic.SecretBytes(b"sk-secret")]]
    for value in [*values, Opaque(), {Opaque(): Opaque()}, RuntimeError]:
        assert b"sk-" not in dumps(value)
    assert loads(dumps(Broken())) == {"good": 1, "token": "**********"}


def test_what_holds_itself_ends() -> None:
    cycle: dict[str, Any] = {"x": 1}
    cycle["self"] = cycle
    record = Record(1, None)
    record.y = [record]
    assert loads(dumps(cycle)) == {"x": 1, "self": None}
    assert loads(dumps(record)) == {"x": 1, "y": [None]}


@pytest.mark.parametrize("levels", [250, 300, 5000])
def test_depth_costs_what_is_too_deep_alone(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    written = loads(dumps({"deep": deep, "rest": b"a"}))
    assert written["rest"] == "YQ=="
    assert json.dumps(written["deep"]).count("[") >= 190


def test_messages_keep_the_rest() -> None:
    tool = ToolMessage("r", tool_call_id="c", artifact={"score": np.float64(0.5), "odd": Opaque(), "raw": b"a"})
    written = loads(dumps([AIMessage("a"), tool]))
    assert written[0]["content"] == "a"
    assert written[1]["artifact"] == {"score": 0.5, "odd": None, "raw": "YQ=="}


def _power(bits: int) -> int:
    return -(2**bits)


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.ip_addresses()
    | st.fractions()
    | st.sampled_from([Opaque(), Hostile(), Hostile, Wave.STILL, range(9)])
)
_keys = _leaves | st.tuples(_leaves, _leaves) | st.frozensets(st.integers() | st.binary())
_values = st.recursive(
    _leaves | st.sampled_from([Broken(), np.arange(4)[::2]]) | st.integers(60, 20000).map(_power),
    lambda inner: st.lists(inner) | st.dictionaries(_keys, inner) | st.builds(Record, inner, inner) | st.tuples(inner),
    max_leaves=20,
)


@given(_values)
def test_anything_is_valid_json(value: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(dumps(value).decode("utf-8", "strict"), parse_constant=refuse)
