"""What a checkpoint can have made and what not, the older form, and what is said of a value that cannot be stored."""

import importlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel

from api.checkpoint_serde import StrictSerializer
from api.errors import StorageError, UnserializableError
from api.state_types import EVERYTHING

MEGABYTE = 1 << 20

SOURCES = {
    "own_graph": """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import TYPE_CHECKING, NamedTuple
        from pydantic import BaseModel
        from own_parts import Part
        if TYPE_CHECKING:
            import own_types
        calls = []

        @dataclass
        class Job:
            name: str
            part: object = None

        class Doer:
            def __init__(self, *args, **kwargs):
                calls.append(args)

        class Plan(BaseModel):
            jobs: list[Job]

        class Inner(BaseModel):
            text: str

        class Outer(BaseModel):
            inner: Inner

        def do(*args, **kwargs):
            calls.append(args)

        def node():
            import own_late
        """,
    "own_parts": """
        import sys
        from dataclasses import dataclass
        @dataclass
        class Part:
            size: int
        """,
    "own_late": "from own_parts import Part\nclass Late(Part): pass",
    "own_types": "raise SystemExit('imported')",
    "own_script": "raise SystemExit('imported')",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of a served graph."""
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    for name in SOURCES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("own_graph")
    monkeypatch.setattr(module, "calls", [])
    return module


def served(*modules: str) -> StrictSerializer:
    return StrictSerializer(MEGABYTE).with_msgpack_allowlist([(name, EVERYTHING) for name in modules])


def planted(code: int, *parts: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


PLANTED = [
    (0, "os", "system", "touch planted"),
    (1, "subprocess", "Popen", ["true"]),
    (0, "builtins", "eval", "1"),
    (0, "importlib", "import_module", "own_script"),
    (2, "own_script", "Anything", {}),
    (2, "own_types", "Anything", {}),
    (0, "own_graph", "do", 1),
    (1, "own_graph", "do", [1]),
    (2, "own_graph", "do", {}),
    (0, "own_graph", "Doer", 1),
    (1, "own_graph", "Doer", [1]),
    (2, "own_graph", "Doer", {"a": 1}),
    (3, "own_graph", "Doer", 1, "fromisoformat"),
    (3, "datetime", "datetime", "1", "strptime"),
    (3, "own_graph", "Job", "calls", "__init__"),
    (4, "own_graph", "Doer", {"a": 1}),
    (5, "own_graph", "Doer", {"a": 1}, "model_construct"),
    (5, "own_graph", "Job", {"name": "x"}, "model_construct"),
    (5, "api.settings", "Settings", {}, "model_construct"),
    (2, "api.schemas", "Thread", {}),
    (0, "pathlib", "Path.read_text", "x"),
    (0, "own_graph", "Job.__init__", "x"),
    (2, "tests.api.test_stored_values", "Foreign", {"a": 1}),
    (5, "tests.api.test_stored_values", "Foreign", {"a": 1}, "model_construct"),
    (0, "own_graph", "sys.exit", 1),
    (0, "own_parts", "sys.exit", 1),
    (2, "own_graph", "BaseModel", {}),
    (2, "own_graph", "Part", {"size": 1}),
    (2, "own_graph", "own_parts.Part", {"size": 1}),
]


class Foreign(BaseModel):
    """Loaded, and of no graph."""

    a: int


@pytest.mark.parametrize("parts", PLANTED, ids=lambda parts: f"{parts[0]}-{parts[1]}.{parts[2]}")
def test_what_is_planted_is_data(own: ModuleType, parts: tuple[Any, ...]) -> None:
    code, *named = parts
    assert served("own_graph").loads_typed(planted(code, *named)) == named[2]
    assert own.calls == []
    assert not {"own_script", "own_types"} & sys.modules.keys()


@pytest.mark.parametrize("data", [b"\xc7\x01\x02\xc0", b"\xc7\x01\x02\x01", b"\xc1", ormsgpack.packb({})[:0]])
def test_damage_is_one_error(own: ModuleType, data: bytes) -> None:
    with pytest.raises(StorageError):
        served("own_graph").loads_typed(("msgpack", data))


def test_what_a_graph_brings_along_comes_back_to_a_new_process(own: ModuleType) -> None:
    part = importlib.import_module("own_parts").Part(2)
    value = {"job": own.Job("a", part), "plan": own.Plan(jobs=[own.Job("b")])}
    stored = served("own_graph").dumps_typed(value)
    assert served("own_graph").loads_typed(stored) == value
    assert StrictSerializer(MEGABYTE).loads_typed(stored)["job"] == {"name": "a", "part": {"size": 2}}


def test_what_a_node_imports_comes_back_before_the_node_has_run(own: ModuleType) -> None:
    stored = planted(2, "own_late", "Late", {"size": 1})
    late = served("own_graph").loads_typed(stored)
    assert type(late) is importlib.import_module("own_late").Late


def test_what_was_made_at_run_time_comes_back(own: ModuleType) -> None:
    def make() -> Any:
        class Local(BaseModel):
            text: str

        return Local

    serializer = served("own_graph")
    for _ in range(2):
        local = make()
        assert type(serializer.loads_typed(serializer.dumps_typed(local(text="a")))) is local


def test_what_lost_its_class_inside_is_found_by_validation(own: ModuleType) -> None:
    stored = served("own_graph").dumps_typed(own.Outer(inner=own.Inner(text="a")))
    renamed = stored[1].replace(b"Inner", b"Other")
    assert served("own_graph").loads_typed(("msgpack", renamed)) == own.Outer(inner=own.Inner(text="a"))


VALUES = [
    Send("work", {"n": 1}),
    Interrupt(value={"q": 1}, id="i"),
    Command(update={"a": HumanMessage("x", id="1")}, resume=[1], goto=[Send("b", 2)]),
    Overwrite([1]),
    _DeltaSnapshot([HumanMessage("x", id="1")]),
    [AIMessage("x", id="1", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c", "type": "tool_call"}])],
    {1: "a", "b": None},
    None,
    b"\xff",
    bytearray(b"a"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_ours_and_langgraphs_read_each_other(value: Any) -> None:
    ours, theirs = StrictSerializer(MEGABYTE), JsonPlusSerializer(allowed_msgpack_modules=None)
    for writer in (ours, theirs):
        for reader in (ours, theirs):
            assert reader.loads_typed(writer.dumps_typed(value)) == value


def test_langgraphs_form_of_own_classes_is_read(own: ModuleType) -> None:
    value = {"outer": own.Outer(inner=own.Inner(text="a")), "job": own.Job("a")}
    theirs = JsonPlusSerializer(allowed_msgpack_modules=[own.Outer, own.Inner, own.Job])
    assert served("own_graph").loads_typed(theirs.dumps_typed(value)) == value
    assert theirs.loads_typed(served("own_graph").dumps_typed(value)) == value


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


class Holder(BaseModel):
    thing: Any


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"a": {"b": [1, object()]}}, "a.b.1 is a object"),
    (lambda: {"channel_values": {"x": iter(())}}, "x is a tuple_iterator"),
    (lambda: {"a": 2**70}, "a is an integer of more than 64 bits"),
    (lambda: {"a": {object(): 1}}, "a is an object with a key that cannot be stored"),
    (lambda: {"m": Holder(thing=StrictSerializer(1))}, "m.thing is a api.checkpoint_serde.StrictSerializer"),
    (lambda: {"s": Send("n", {"x": object()})}, "s.arg.x is a object"),
    (lambda: {"a": _cycle()}, "of too many levels"),
    (lambda: {"a": [*range(100_000), object(), *range(100_000)]}, "a.100000 is a object"),
    (object, "the value is a object"),
]


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_stored_is_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UnserializableError, match="cannot be stored") as caught:
        StrictSerializer(MEGABYTE).dumps_typed(make())
    assert said in caught.value.message
