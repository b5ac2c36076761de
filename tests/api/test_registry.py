"""langgraph.json: what may stand in it, and how the start fails when it cannot be used."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.cli.environment import read_settings
from api.errors import ConfigError
from api.registry import Registry, default_assistant_id, load
from api.settings import Settings

_GRAPH = """
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    number: int

builder = StateGraph(State)
builder.add_node("plus", lambda state: {"number": state["number"] + 1})
builder.add_edge(START, "plus")
compiled = builder.compile()

def simple():
    return builder

async def from_config(config):
    return builder.compile(name=config["configurable"]["name"])

import contextlib

@contextlib.asynccontextmanager
async def entered(config):
    entries.append("in")
    yield builder
    entries.append("out")

entries = []
number = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of graphs; imports of it are undone after the test."""
    (tmp_path / "plus_graphs.py").write_text(_GRAPH)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if "plus" in name or "package_of" in name:
            del sys.modules[name]


def _write(folder: Path, graphs: Any, **more: Any) -> Path:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": graphs, **more}))
    return path


async def _run(path: Path, graph_id: str = "plus", **configurable: Any) -> Any:
    async with Registry(load(path)).open(graph_id, {"configurable": configurable}, purpose="assistants.read") as graph:
        return await graph.ainvoke({"number": 1}), graph.get_name()


@pytest.mark.parametrize("attribute", ["builder", "compiled", "simple", "entered"])
@pytest.mark.parametrize("source", ["plus_graphs", "./plus_graphs.py"])
async def test_graphs_builders_and_factories_are_loaded(folder: Path, source: str, attribute: str) -> None:
    path = _write(folder, {"plus": f"{source}:{attribute}"})
    assert (await _run(path))[0] == {"number": 2}


async def test_factory_gets_the_config(folder: Path) -> None:
    path = _write(folder, {"plus": "plus_graphs:from_config"})
    assert (await _run(path, name="seven"))[1] == "seven"


async def test_context_manager_factory_is_left_after_the_run(folder: Path) -> None:
    path = _write(folder, {"plus": "plus_graphs:entered"})
    await _run(path)
    assert sys.modules["plus_graphs"].entries == ["in", "out"]


async def test_entry_may_be_an_object_with_a_description(folder: Path) -> None:
    path = _write(folder, {"plus": {"path": "plus_graphs:compiled", "description": "adds one"}})
    assert load(path)["plus"].description == "adds one"


async def test_file_in_a_package_may_import_relatively(folder: Path) -> None:
    package = folder / "package_of_graphs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "base.py").write_text(_GRAPH)
    (package / "main.py").write_text("from .base import compiled as plus")
    path = _write(folder, {"plus": "./package_of_graphs/main.py:plus"})
    assert (await _run(path))[0] == {"number": 2}


async def test_dependencies_are_importable(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "plus_lib.py").write_text(_GRAPH)
    (folder / "plus_main.py").write_text("from plus_lib import compiled as plus")
    path = _write(folder, {"plus": "./plus_main.py:plus"}, dependencies=["./lib"])
    assert (await _run(path))[0] == {"number": 2}


def test_a_dependency_that_is_no_folder_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(_write(folder, {"plus": "plus_graphs:compiled"}, dependencies=[".", "./lib", "langchain_openai"]))
    assert caplog.messages == ["langgraph.json: the folder './lib' of 'dependencies' does not exist."]


_FILE = "PLUS_FILE=file\nPLUS_BOTH=file\nPLUS_EMPTY=\nPLUS_BARE\nPLUS_OF=${PLUS_BOTH}!\n"
_VARIABLES = ("PLUS_FILE", "PLUS_BOTH", "PLUS_EMPTY", "PLUS_BARE", "PLUS_OF")


@pytest.mark.parametrize(
    ("env", "values", "told"),
    [
        (".env", ["file", "file", "", None, "file!"], ""),
        ({"PLUS_FILE": 1, "PLUS_BOTH": "object"}, ["1", "object", "process", "process", None], ""),
        (["PLUS_BOTH"], [None, "process", "process", "process", None], ""),
        (["PLUS_BOTH", "PLUS_OF"], [None, "process", "process", "process", None], "PLUS_OF, which the environment"),
        (
            "absent.env",
            [None, "process", "process", "process", None],
            "The file 'absent.env' that",
        ),
        (None, [None, "process", "process", "process", None], ""),
    ],
)
def test_env_goes_before_what_the_process_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, env: Any, values: Any, told: str
) -> None:
    for name in _VARIABLES:
        monkeypatch.setenv(name, "process")
    for name in ("PLUS_FILE", "PLUS_OF"):
        monkeypatch.delenv(name)
    (folder / ".env").write_text(_FILE)
    load(_write(folder, {"plus": "plus_graphs:builder"}, env=env))
    assert [os.environ.get(name) for name in _VARIABLES] == values
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


@pytest.mark.parametrize("env", [7, {"A": ["b"]}, [1]])
def test_env_of_another_form_stops_the_start(folder: Path, env: Any) -> None:
    with pytest.raises(ConfigError, match="neither a file's name"):
        load(_write(folder, {"plus": "plus_graphs:builder"}, env=env))


def test_settings_may_stand_in_the_env_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADLINE_RUN_TIMEOUT", "7")
    (folder / ".env").write_text("THREADLINE_RUN_TIMEOUT=5\n")
    path = _write(folder, {"plus": "plus_graphs:builder"}, env=".env")
    assert read_settings(config=path).run_timeout == 5


@pytest.mark.parametrize(
    ("graphs", "told"),
    [
        ({}, "names no graphs"),
        ({"plus": "plus_graphs"}, "module:attribute"),
        ({"plus": 7}, "module:attribute"),
        ({"plus": "plus_graphs:absent"}, "plus_graphs has no attribute 'absent'"),
        ({"plus": "plus_graphs:number"}, "is a int, not a graph"),
        ({"plus": "no_such_module_plus:graph"}, "importing no_such_module_plus failed: ModuleNotFoundError"),
        ({"plus": "./absent.py:graph"}, "importing ./absent.py failed: FileNotFoundError: absent.py does not exist"),
        ({"plus": "./broken_plus.py:graph"}, "failed at broken_plus.py:1: ValueError: at import"),
    ],
)
def test_bad_entry_stops_the_start_with_one_message(folder: Path, graphs: Any, told: str) -> None:
    (folder / "broken_plus.py").write_text("raise ValueError('at import')")
    with pytest.raises(ConfigError) as error:
        load(_write(folder, graphs))
    assert told in error.value.message
    assert "\n" not in error.value.message


def test_unreadable_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "langgraph.json")
    (tmp_path / "langgraph.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        load(tmp_path / "langgraph.json")


async def test_server_does_not_start_on_a_bad_config(tmp_path: Path) -> None:
    app = create_app(Settings(config=_write(tmp_path, {"plus": "no_such_module_plus:graph"})))
    with pytest.raises(ConfigError):
        async with app.router.lifespan_context(app):
            pytest.fail("it started")


def test_assistant_ids_are_those_of_the_reference() -> None:
    assert default_assistant_id("agent") == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
