"""Factories: what they are called with, how often, for what, and how a failure of one is told."""

import inspect
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime

from api.app import create_app
from api.errors import ConfigError
from api.registry import load
from api.settings import Settings

_GRAPHS = """
from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

if TYPE_CHECKING:
    from langgraph_sdk.runtime import ServerRuntime

import langgraph_sdk.runtime as sdk

calls = []

@dataclass
class Context:
    name: str = "nobody"

class State(TypedDict):
    text: str

def _graph(name, config, runtime, node=None):
    calls.append((name, config, runtime))
    def say(state):
        return {"text": f"{state['text']} by {name}"}
    return StateGraph(State, context_schema=Context).add_node("say", node or say).add_edge(START, "say")

def nothing():
    return _graph("nothing", None, None)

def config_alone(config):
    return _graph("config_alone", config, None)

def runtime_alone(runtime: ServerRuntime):
    return _graph("runtime_alone", None, runtime)

async def both(config: RunnableConfig, runtime: ServerRuntime[Context]):
    return _graph("both", config, runtime).compile()

def reversed_both(rt: "Annotated[sdk.ServerRuntime, 'x']", cfg):
    return _graph("reversed_both", cfg, rt)

def optional(runtime: ServerRuntime | None = None, *, config: RunnableConfig | None = None, model: str = "m"):
    return _graph("optional", config, runtime)

@contextlib.asynccontextmanager
async def entered(runtime: ServerRuntime):
    yield _graph("entered", None, runtime)
    calls.append(("left", None, None))

@contextlib.contextmanager
def entered_sync(config, runtime: ServerRuntime):
    yield _graph("entered_sync", config, runtime)

class Maker:
    def __call__(self, runtime: ServerRuntime):
        return _graph("maker", None, runtime)

maker = Maker()

def asks(runtime: ServerRuntime):
    return _graph("asks", None, runtime, lambda state: {"text": interrupt("well?")})

def fails(runtime: ServerRuntime):
    calls.append(("fails", None, runtime))
    raise ValueError("secret-of-the-factory")

def gives_text():
    return "secret-text"

def too_many(a, b, c):
    ...

def talks():
    def say(state):
        return {"messages": [("ai", state["messages"][-1].text)]}
    return StateGraph(MessagesState).add_node("say", say).add_edge(START, "say")
"""

_NAMES = [
    *("nothing", "config_alone", "runtime_alone", "both", "reversed_both", "optional", "entered", "entered_sync"),
    *("maker", "asks", "fails", "gives_text", "talks"),
]


@pytest.fixture(autouse=True)
def _undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("making", None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "making.py").write_text(_GRAPHS)
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {name: f"./making.py:{name}" for name in _NAMES}}))
    return path


@pytest.fixture
async def client(config: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(config=config))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            yield http


def _calls() -> list[tuple[str, Any, Any]]:
    calls: list[tuple[str, Any, Any]] = sys.modules["making"].calls
    return calls


_WORKING = [name for name in _NAMES if name not in ("fails", "gives_text", "asks", "talks")]


@pytest.mark.parametrize("name", _WORKING)
async def test_factory_is_called_once_for_a_run_with_what_it_asks_for(client: httpx.AsyncClient, name: str) -> None:
    body = {"input": {"text": "said"}, "context": {"name": "ada"}}
    answer = (await client.post(f"/agents/{name}/invoke", json=body)).json()
    assert answer["answer"] == {"text": f"said by {name}"}
    (called,) = [each for each in _calls() if each[0] != "left"]
    _, config, runtime = called
    if name in ("config_alone", "both", "reversed_both", "optional", "entered_sync"):
        assert config["configurable"]["thread_id"] == answer["thread_id"]
    if name not in ("nothing", "config_alone"):
        assert isinstance(runtime, _ExecutionRuntime)
        assert runtime.execution_runtime is runtime
        assert (runtime.access_context, runtime.context, runtime.user) == ("threads.create_run", {"name": "ada"}, None)
        await runtime.store.aput(("a",), "k", {"v": 1})
    assert ("left", None, None) in _calls() or name != "entered"


async def test_factory_is_told_what_its_graph_is_for(client: httpx.AsyncClient) -> None:
    sdk = LangGraphClient(client)
    thread = await sdk.threads.create()
    thread_id, seen = thread["thread_id"], []

    async def after(awaited: Any) -> None:
        await awaited
        seen.append([runtime.access_context for _, _, runtime in _calls()])
        _calls().clear()

    await after(sdk.runs.wait(thread_id, "asks", input={"text": "x"}))
    await after(sdk.threads.get_state(thread_id))
    await after(sdk.threads.update_state(thread_id, {"text": "y"}))
    assistant = (await sdk.assistants.search(graph_id="asks"))[0]["assistant_id"]
    await after(sdk.assistants.get_schemas(assistant))
    await after(sdk.assistants.get_graph(assistant))
    await after(client.get("/agents/asks"))
    await after(client.get("/agents/asks/graph"))
    read, described = ["threads.read"], ["assistants.read"]
    assert seen == [["threads.create_run"], read, ["threads.update"], described, described, described, described]


@pytest.mark.parametrize("name", ["runtime_alone", "both", "entered", "nothing"])
async def test_graph_of_a_factory_is_described(client: httpx.AsyncClient, name: str) -> None:
    described = (await client.get(f"/agents/{name}")).json()
    assert set(described["input_schema"]["properties"]) == {"text"}
    assert set(described["context_schema"]["properties"]) == {"name"}
    nodes = (await client.get(f"/agents/{name}/graph")).json()["nodes"]
    assert [node["id"] for node in nodes] == ["__start__", "say", "__end__"]
    for call in _calls():
        assert call[2] is None or isinstance(call[2], _ReadRuntime)


async def test_input_of_a_factory_is_made_to_fit_by_the_run(client: httpx.AsyncClient) -> None:
    said = await client.post("/agents/talks/invoke", json={"input": "hello"})
    assert said.json()["answer"] == "hello"
    wrong = await client.post("/agents/talks/invoke", json={"input": {"number": 1}})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")
    assert "'messages'" in wrong.json()["error"]["message"]
    wrong = await client.post("/agents/both/invoke", json={"input": {"text": "a"}, "context": {"age": 1}})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("name", "told"), [("fails", "failed with ValueError"), ("gives_text", "gives no graph")])
async def test_failure_of_a_factory_has_a_name_in_every_api(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    message = f"The factory of graph '{name}' {told}."
    sdk = LangGraphClient(client)
    assistant = (await sdk.assistants.search(graph_id=name))[0]["assistant_id"]
    with caplog.at_level(logging.ERROR):
        answers = [
            await client.post(f"/agents/{name}/invoke", json={"input": {"text": "a"}}),
            await client.get(f"/agents/{name}"),
            await client.get(f"/agents/{name}/graph"),
            await client.get(f"/assistants/{assistant}/schemas"),
            await client.get(f"/assistants/{assistant}/graph"),
        ]
        for answer in answers:
            assert answer.status_code == 500
            assert answer.json()["error"] == {"code": "graph_factory_failed", "message": message}
        stream = await client.post(f"/agents/{name}/stream", json={"input": {"text": "a"}})
        events = [part async for part in sdk.runs.stream(None, name, input={"text": "a"})]
    assert json.dumps({"code": "graph_factory_failed", "message": message}, separators=(",", ":")) in stream.text
    assert [part.data["message"] for part in events if part.event == "error"] == [message]
    assert "secret" not in stream.text + str(events) + "".join(answer.text for answer in answers)
    assert "making.py" in caplog.text or name != "fails"
    if name == "fails":
        assert len(_calls()) == len(answers) + 2


def test_factory_that_needs_more_stops_the_start(config: Path) -> None:
    config.write_text(json.dumps({"graphs": {"many": "./making.py:too_many"}}))
    with pytest.raises(ConfigError, match=r"takes \(a, b, c\)"):
        load(config)


@pytest.mark.parametrize("runtime", [_ExecutionRuntime, _ReadRuntime])
def test_runtimes_are_made_as_the_sdk_of_today_has_them(runtime: Any) -> None:
    names = set(inspect.signature(runtime).parameters)
    assert names == {"access_context", "user", "store"} | ({"context"} if runtime is _ExecutionRuntime else set())
