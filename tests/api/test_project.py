"""Modules of a project: the file that was named is what is loaded, whoever else has its name."""

import email
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import api
import graph
from api.errors import ConfigError
from api.registry import load
from api.store_config import load_store_config

_GRAPH = """
from typing import TypedDict
from langgraph.graph import START, StateGraph
{imports}

class State(TypedDict):
    value: str

graph = StateGraph(State).add_node("say", lambda state: {{"value": {value}}}).add_edge(START, "say").compile()
other = StateGraph(State).add_node("say", lambda state: {{"value": {value}}}).add_edge(START, "say").compile()
"""


@pytest.fixture(autouse=True)
def _undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def _project(folder: Path, graphs: dict[str, str], files: dict[str, str], **more: Any) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": graphs, **more}))
    return path


def _source(value: str = "'mine'", imports: str = "") -> str:
    return _GRAPH.format(value=value, imports=imports)


def _says(path: Path, graph_id: str = "g") -> str:
    return load(path)[graph_id].target.invoke({"value": ""})["value"]


@pytest.mark.parametrize("name", ["api", "graph", "events", "email", "threadline", "queue", "langgraph", "sys"])
@pytest.mark.parametrize("source", ["./{}.py:graph", "{}:graph"])
def test_file_is_loaded_whoever_else_is_called_so(tmp_path: Path, name: str, source: str) -> None:
    taken = sys.modules.get(name)
    path = _project(tmp_path, {"g": source.format(name)}, {f"{name}.py": _source()})
    assert _says(path) == "mine"
    assert taken is None or sys.modules[name] is taken


@pytest.mark.parametrize("package", ["api", "graph", "email", "agents", "my-agents", "v1.2"])
@pytest.mark.parametrize("regular", [True, False])
def test_relative_imports_work_in_every_folder_that_has_a_name(tmp_path: Path, package: str, *, regular: bool) -> None:
    files = {f"{package}/main.py": _source("X", "from .helper import X"), f"{package}/helper.py": "X = 'helped'"}
    if regular:
        files[f"{package}/__init__.py"] = ""
    path = _project(tmp_path, {"g": f"./{package}/main.py:graph"}, files)
    assert _says(path) == "helped"


@pytest.mark.parametrize("package", ["api", "graph"])
@pytest.mark.parametrize("regular", [True, False])
def test_absolute_imports_of_a_project_are_its_own(tmp_path: Path, package: str, *, regular: bool) -> None:
    imports = f"""
from {package}.helper import X
import {package}.helper
import {package}.helper as helper
from {package} import helper as again
from nodes import Y
assert {package}.helper is helper is again
"""
    files = {
        f"{package}/main.py": _source("X + Y", imports),
        f"{package}/helper.py": "X = 'helped'",
        "nodes.py": f"from {package}.helper import X as Y",
        "late.py": f"def late():\n    from {package}.helper import X\n    return X",
    }
    if regular:
        files[f"{package}/__init__.py"] = ""
    path = _project(
        tmp_path,
        {"g": f"./{package}/main.py:graph", "module": f"{package}.main:graph", "late": "late:late"},
        files,
    )
    entries = load(path)
    assert entries["g"].target.invoke({"value": ""})["value"] == "helpedhelped"
    assert entries["module"].target is entries["g"].target
    assert entries["late"].target.function() == "helped"
    assert sys.modules["api"] is api
    assert sys.modules["graph"] is graph


def test_single_file_called_as_a_package_of_ours_is_importable(tmp_path: Path) -> None:
    files = {"api.py": "VALUE = 'mine'", "nodes.py": "from api import VALUE", "main.py": _source("V", _NODES)}
    assert _says(_project(tmp_path, {"g": "./main.py:graph"}, files)) == "mine"


_NODES = "from nodes import VALUE as V"


def test_absent_module_is_never_another_one_of_that_name(tmp_path: Path) -> None:
    path = _project(tmp_path, {"g": "graph.agent:graph"}, {"graph/other.py": _source()})
    with pytest.raises(ConfigError, match="ModuleNotFoundError"):
        load(path)


def test_installed_module_of_the_same_name_stays_what_it_is(tmp_path: Path) -> None:
    imports = "from email.message import EmailMessage\nfrom langgraph.graph import END"
    path = _project(tmp_path, {"g": "./email.py:graph"}, {"email.py": _source("EmailMessage.__name__", imports)})
    assert _says(path) == "EmailMessage"
    assert sys.modules["email"] is email


@pytest.mark.parametrize(
    ("named", "dependencies"),
    [
        (["./src/agent.py:graph", "./src/agent.py:other"], ["."]),
        (["./src/agent.py:graph", "agent:other"], ["./src"]),
        (["./api/agent.py:graph", "./api/../api/agent.py:other"], ["."]),
        (["./email.py:graph", "./email.py:other"], ["."]),
        (["./v1.2/agent.py:graph", "./v1.2/agent.py:other"], ["."]),
    ],
)
def test_one_file_is_one_module(tmp_path: Path, named: list[str], dependencies: list[str]) -> None:
    file = named[0].partition(":")[0].removeprefix("./")
    path = _project(
        tmp_path, {"one": named[0], "two": named[1]}, {file: "runs = 1\n" + _source()}, dependencies=dependencies
    )
    entries = load(path)
    one, two = (entries[name].target.builder.state_schema for name in ("one", "two"))
    assert one is two
    assert load(path)["one"].target is entries["one"].target


def test_module_of_a_graph_is_the_one_that_others_import(tmp_path: Path) -> None:
    files = {
        "src/pack/__init__.py": "",
        "src/pack/state.py": "class Kept: pass",
        "src/pack/main.py": _source(
            "str(Kept is Other)", "from .state import Kept\nfrom pack.state import Kept as Other"
        ),
    }
    path = _project(tmp_path, {"g": "./src/pack/main.py:graph"}, files, dependencies=[".", "./src"])
    assert _says(path) == "True"


@pytest.mark.parametrize("embed", ["graph.vectors:embed", "./graph/vectors.py:embed"])
async def test_what_embeds_may_be_in_a_folder_that_is_called_as_ours(tmp_path: Path, embed: str) -> None:
    files = {"main.py": _source(), "graph/vectors.py": "async def embed(texts):\n    return [[1.0] for _ in texts]"}
    path = _project(tmp_path, {"g": "./main.py:graph"}, files, store={"index": {"embed": embed, "dims": 1}})
    load(path)
    index = load_store_config(path).index
    assert index is not None
    assert await index["embed"](["a", "b"]) == [[1.0], [1.0]]


def test_projects_of_one_process_do_not_share_modules(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for module in ("api", "agent"):
            files = {f"{module}.py": _source(f"{name!r}")}
            path = _project(tmp_path / name / module, {"g": f"./{module}.py:graph"}, files)
            assert _says(path) == name


def test_file_outside_of_the_project_is_loaded(tmp_path: Path) -> None:
    files = {"../shared/pack/__init__.py": "", "../shared/pack/main.py": _source("X", "from .x import X")}
    files["../shared/pack/x.py"] = "X = 'shared'"
    assert _says(_project(tmp_path / "in", {"g": "../shared/pack/main.py:graph"}, files)) == "shared"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nraise ValueError('no')", "at broken/mod.py:2: ValueError: no"),
        ("\n\ndef f(:", "at broken/mod.py:3: SyntaxError"),
        ("import sys\nsys.exit('bye')", "at broken/mod.py:2: SystemExit: bye"),
        ("import not_there_at_all", "at broken/mod.py:1: ModuleNotFoundError"),
        ("import json\njson.loads('{')", "at broken/mod.py:2: JSONDecodeError"),
    ],
)
@pytest.mark.parametrize("source", ["./main.py", "main"])
def test_failed_import_tells_where(tmp_path: Path, text: str, told: str, source: str) -> None:
    path = _project(tmp_path, {"g": f"{source}:graph"}, {"main.py": "import broken.mod", "broken/mod.py": text})
    with pytest.raises(ConfigError) as error:
        load(path)
    assert told in error.value.message
    assert "\n" not in error.value.message
