"""Assistants, as the stock client sees them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
import typing_extensions
from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError
from pydantic import BaseModel, TypeAdapter

from api.app import Threadline
from api.configs import merged
from api.errors import InvalidRequestError, NotFoundError
from api.json_schemas import portable
from api.registry import default_assistant_id
from api.settings import Settings
from tests.api.conftest import GRAPHS, Client, Serve
from tests.api.graphs import Greeting, Steps, gate

UNKNOWN = str(uuid.UUID(int=1))
ALL = sorted([*GRAPHS, "nested", "odd"])


def _around(inner: Any, name: str) -> Any:
    builder = StateGraph(Steps, context_schema=Greeting)
    builder.add_node("child", inner)
    builder.add_edge(START, "child")
    return builder.compile(name=name)


nested = _around(_around(lambda state: {"doubled": 2}, "Child"), "Nested graph")
"""A graph with a name, and with a graph in it."""


class Unknowable:
    """A class that no JSON schema describes."""


class Odd(TypedDict):
    """A state with a value that has no schema."""

    thing: Unknowable
    number: int


class Settled(TypedDict, total=False):
    """A context as a TypedDict of `typing`."""

    flavour: str


def _odd() -> Any:
    builder = StateGraph(Odd, context_schema=Settled)
    builder.add_node("only", lambda state: {"number": 1})
    builder.add_edge(START, "only")
    return builder.compile()


odd = _odd()
"""A graph whose state has no whole schema."""


def write_config(path: Path, graphs: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"graphs": graphs}))
    return path


def served() -> dict[str, Any]:
    """The `graphs` of langgraph.json."""
    graphs: dict[str, Any] = {name: f"tests.api.graphs:{name}" for name in GRAPHS}
    graphs["nested"] = {"path": f"{__name__}:nested", "description": "One in another."}
    return {**graphs, "odd": f"{__name__}:odd"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A langgraph.json with the graphs of this module too."""
    return write_config(tmp_path / "langgraph.json", served())


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    """The stock client of a server with default settings."""
    async with get_client(url=str(client.base_url)) as stock:
        yield stock


async def test_every_graph_has_a_default_assistant(sdk: LangGraphClient) -> None:
    found = await sdk.assistants.search(limit=100, sort_by="graph_id", sort_order="asc")

    assert [each["graph_id"] for each in found] == ALL
    chat = await sdk.assistants.get(default_assistant_id("chat"))
    assert chat["created_at"] == chat["updated_at"]
    times = {"created_at": chat["created_at"], "updated_at": chat["updated_at"]}
    assert chat == {
        "assistant_id": default_assistant_id("chat"),
        "graph_id": "chat",
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "name": "chat",
        **times,
        "version": 1,
        "description": None,
    }
    named = await sdk.assistants.get(default_assistant_id("nested"))
    assert (named["name"], named["description"]) == ("Nested graph", "One in another.")


async def test_create_mirrors_context_and_configurable(sdk: LangGraphClient) -> None:
    one = await sdk.assistants.create(
        "chat", context={"greeting": "Hi"}, metadata={"a": {"b": 1}}, name="One", description="The first"
    )
    two = await sdk.assistants.create("chat", {"configurable": {"greeting": "Yo"}, "recursion_limit": 7, "tags": ["t"]})

    assert one["config"] == {"configurable": {"greeting": "Hi"}}
    assert (one["context"], one["metadata"], one["version"]) == ({"greeting": "Hi"}, {"a": {"b": 1}}, 1)
    assert (one["name"], one["description"]) == ("One", "The first")
    assert two["config"] == {"configurable": {"greeting": "Yo"}, "recursion_limit": 7, "tags": ["t"]}
    assert (two["context"], two["name"], two["description"]) == ({"greeting": "Yo"}, "Untitled", None)
    assert await sdk.assistants.get(one["assistant_id"]) == one


async def test_create_with_an_id_that_is_taken(sdk: LangGraphClient) -> None:
    key = str(uuid.uuid4())
    first = await sdk.assistants.create("chat", assistant_id=key.replace("-", "").upper())

    assert first["assistant_id"] == key
    assert await sdk.assistants.create("steps", assistant_id=key, if_exists="do_nothing") == first
    with pytest.raises(APIStatusError, match=f"Assistant {key} already exists") as caught:
        await sdk.assistants.create("steps", assistant_id=key)
    assert caught.value.status_code == 409


async def test_server_settings_and_ids_are_not_a_clients_to_write(sdk: LangGraphClient) -> None:
    made = await sdk.assistants.create(
        "chat",
        {"configurable": {"langgraph_auth_user": "root", "greeting": "Hi"}, "metadata": {"run_id": "x", "mine": 1}},
        metadata={"assistant_id": "x", "mine": 1},
    )
    changed = await sdk.assistants.update(made["assistant_id"], context={"__after_seconds__": 9, "times": 2})

    assert made["config"] == {"configurable": {"greeting": "Hi"}, "metadata": {"mine": 1}}
    assert (made["context"], made["metadata"]) == ({"greeting": "Hi"}, {"mine": 1})
    assert changed["context"] == {"times": 2}


async def test_patch_changes_what_is_given(sdk: LangGraphClient) -> None:
    key = (await sdk.assistants.create("chat", context={"greeting": "Hi"}, metadata={"a": 1}, name="One"))[
        "assistant_id"
    ]

    merged_metadata = await sdk.assistants.update(key, metadata={"b": 2})
    by_config = await sdk.assistants.update(key, config={"configurable": {"greeting": "C"}})
    without_settings = await sdk.assistants.update(key, config={"recursion_limit": 9})
    by_context = await sdk.assistants.update(key, context={"greeting": "K"})
    emptied = await sdk.assistants.update(key, context={})
    renamed = await sdk.assistants.update(key, graph_id="steps", name="Two", description="D")

    assert (merged_metadata["metadata"], merged_metadata["version"]) == ({"a": 1, "b": 2}, 2)
    assert (merged_metadata["context"], merged_metadata["name"]) == ({"greeting": "Hi"}, "One")
    assert (by_config["config"], by_config["context"]) == ({"configurable": {"greeting": "C"}}, {"greeting": "C"})
    assert (without_settings["config"], without_settings["context"]) == ({"recursion_limit": 9}, {"greeting": "C"})
    assert (by_context["config"], by_context["context"]) == ({"configurable": {"greeting": "K"}}, {"greeting": "K"})
    assert (emptied["config"], emptied["context"]) == ({"configurable": {"greeting": "K"}}, {})
    assert [renamed[field] for field in ("graph_id", "name", "description", "version")] == ["steps", "Two", "D", 7]
    assert await sdk.assistants.get(key) == renamed


async def test_set_latest_restores_a_whole_version(sdk: LangGraphClient) -> None:
    first = await sdk.assistants.create("chat", context={"greeting": "Hi"}, metadata={"a": 1}, name="One")
    key = first["assistant_id"]
    await sdk.assistants.update(key, graph_id="steps", context={"x": 1}, metadata={"b": 2}, name="Two")

    restored = await sdk.assistants.set_latest(key, 1)

    assert restored == {**first, "updated_at": restored["updated_at"]}
    assert restored["updated_at"] > first["updated_at"]
    versions = await sdk.assistants.get_versions(key)
    assert [each["version"] for each in versions] == [2, 1]
    assert list(versions[0]) == [
        *("assistant_id", "version", "graph_id", "config", "context", "metadata", "created_at", "name", "description")
    ]
    assert (await sdk.assistants.update(key, name="Three"))["version"] == 3
    assert [each["version"] for each in await sdk.assistants.get_versions(key, metadata={"b": 2})] == [2]
    assert [each["version"] for each in await sdk.assistants.get_versions(key, limit=1, offset=1)] == [2]


async def test_search_filters_sorts_selects_and_pages(sdk: LangGraphClient, client: Client) -> None:
    for name in ("beta", "Alpha", "gamma"):
        await sdk.assistants.create("chat", name=name, metadata={"team": {"name": "x"}, "is": name})

    team = {"team": {"name": "x"}}
    by_name = await sdk.assistants.search(metadata=team, sort_by="name", sort_order="asc", select=["name"])
    newest = await sdk.assistants.search(metadata=team, select=["metadata", "assistant_id"])
    page = await sdk.assistants.search(
        graph_id="chat", metadata=team, sort_by="name", limit=2, offset=0, response_format="object"
    )

    assert by_name == [{"name": "Alpha"}, {"name": "beta"}, {"name": "gamma"}]
    assert [each["metadata"]["is"] for each in newest] == ["gamma", "Alpha", "beta"]
    assert list(newest[0]) == ["assistant_id", "metadata"]
    assert [each["name"] for each in page["assistants"]] == ["gamma", "beta"]
    assert page["next"] == "2"
    assert await sdk.assistants.count(name="LPH") == 1
    assert await sdk.assistants.count(metadata=team, graph_id="chat") == 3
    last = await client.post("/assistants/search", json={"metadata": team, "limit": 2, "offset": 2})
    assert last.headers["x-pagination-total"] == "3"
    assert "x-pagination-next" not in last.headers


async def test_drawing(sdk: LangGraphClient) -> None:
    by_id = await sdk.assistants.get_graph(default_assistant_id("nested"))
    deep = await sdk.assistants.get_graph("nested", xray=True)
    shallow = await sdk.assistants.get_graph("nested", xray=1)

    assert by_id == await sdk.assistants.get_graph("nested") == await sdk.assistants.get_graph("nested", xray=False)
    assert by_id == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
            {"id": "child", "type": "runnable", "data": {"name": "child"}},
            {"id": "__end__"},
        ],
        "edges": [{"source": "__start__", "target": "child"}, {"source": "child", "target": "__end__"}],
    }
    assert {"source": "__start__", "target": "child:child"} in deep["edges"]
    assert deep == shallow
    for graph_id in ("made", "words"):
        assert (await sdk.assistants.get_graph(graph_id))["nodes"]


async def test_schemas(sdk: LangGraphClient) -> None:
    chat = await sdk.assistants.get_schemas(default_assistant_id("chat"))
    steps = await sdk.assistants.get_schemas(default_assistant_id("steps"))

    assert list(chat) == [
        *("graph_id", "input_schema", "output_schema", "state_schema", "config_schema", "context_schema")
    ]
    assert chat["graph_id"] == "chat"
    for part in ("input_schema", "output_schema", "state_schema"):
        assert "AIMessage" in chat[part]["$defs"]
    assert chat["context_schema"] == chat["config_schema"]
    assert chat["context_schema"]["properties"]["times"] == {"default": 1, "title": "Times", "type": "integer"}
    assert (steps["context_schema"], steps["config_schema"]) == (None, {})
    assert steps["state_schema"] == {
        "properties": {
            "number": {"default": None, "title": "Number", "type": "integer"},
            "doubled": {"default": None, "title": "Doubled", "type": "integer"},
            "trail": {"default": None, "items": {"type": "string"}, "title": "Trail", "type": "array"},
        },
        "title": "steps_state",
        "type": "object",
    }


async def test_schemas_of_a_typed_dict_of_typing(sdk: LangGraphClient) -> None:
    schemas = await sdk.assistants.get_schemas(default_assistant_id("steps"))

    assert schemas["input_schema"] == schemas["output_schema"]
    assert schemas["input_schema"] == {
        "description": "A state without messages.",
        "properties": {
            "number": {"title": "Number", "type": "integer"},
            "doubled": {"title": "Doubled", "type": "integer"},
            "trail": {"items": {"type": "string"}, "title": "Trail", "type": "array"},
        },
        "title": "Steps",
        "type": "object",
    }


async def test_schema_of_one_field_never_costs_the_others(sdk: LangGraphClient) -> None:
    strange = await sdk.assistants.get_schemas(default_assistant_id("odd"))
    words = await sdk.assistants.get_schemas(default_assistant_id("words"))

    assert strange["input_schema"] == strange["output_schema"]
    assert strange["input_schema"]["properties"] == {
        "thing": {"title": "Thing"},
        "number": {"title": "Number", "type": "integer"},
    }
    assert strange["state_schema"]["properties"]["thing"] == {"default": None, "title": "Thing"}
    assert strange["state_schema"]["properties"]["number"]["type"] == "integer"
    assert strange["context_schema"]["properties"] == {"flavour": {"title": "Flavour", "type": "string"}}
    assert strange["config_schema"] == strange["context_schema"]
    assert (words["config_schema"], words["context_schema"]) == ({}, None)
    assert words["input_schema"] is not None
    assert list(words["state_schema"]["properties"]) == ["output"]


async def test_subgraphs(sdk: LangGraphClient) -> None:
    key = default_assistant_id("nested")

    children = await sdk.assistants.get_subgraphs(key)

    assert list(children) == ["child"]
    assert list(children["child"]) == [
        *("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")
    ]
    assert children["child"]["state_schema"]["title"] == "ChildState"
    assert await sdk.assistants.get_subgraphs(key, namespace="child") == children
    assert await sdk.assistants.get_subgraphs(key, namespace="other", recurse=True) == {}
    assert await sdk.assistants.get_subgraphs(default_assistant_id("words")) == {}


async def test_delete(sdk: LangGraphClient) -> None:
    key = (await sdk.assistants.create("chat"))["assistant_id"]

    await sdk.assistants.delete(key)

    with pytest.raises(APIStatusError, match=f"Assistant with ID {key} not found"):
        await sdk.assistants.delete(key)
    with pytest.raises(APIStatusError, match=r"Not Found"):
        await sdk.assistants.get(key)


async def test_delete_cancels_runs_and_deletes_threads(sdk: LangGraphClient, client: Client) -> None:
    key = default_assistant_id("gated")
    with gate("wait") as held:
        running = asyncio.create_task(client.run("gated", "wait"))
        await held.reached.wait()
        idle = (await client.run("gated", "go"))[0].data["thread_id"]

        await sdk.assistants.delete(key, delete_threads=True)

        cut = await running
        assert held.cancelled.is_set()
    assert cut[-1].data["status"] == "interrupted"
    for thread_id in (idle, cut[0].data["thread_id"]):
        assert (await client.get(f"/threads/{thread_id}")).status_code == 404
    assert await sdk.assistants.count(graph_id="gated") == 0


async def test_delete_alone_keeps_threads(sdk: LangGraphClient, client: Client) -> None:
    with gate("wait") as held:
        running = asyncio.create_task(client.run("gated", "wait"))
        await held.reached.wait()
        await sdk.assistants.delete(default_assistant_id("gated"))
        cut = await running
    assert cut[-1].data["status"] == "interrupted"
    assert (await client.get(f"/threads/{cut[0].data['thread_id']}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/assistants/chat", None, 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/assistants/{UNKNOWN}", None, 404, "Not Found"),
        ("GET", "/assistants/chat/schemas", None, 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/assistants/{UNKNOWN}/schemas", None, 404, "Not Found"),
        ("GET", "/assistants/chat/subgraphs", None, 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/assistants/{UNKNOWN}/subgraphs/x", None, 404, "Not Found"),
        ("GET", "/assistants/nope/graph", None, 422, "Invalid assistant ID: must be a UUID"),
        ("GET", f"/assistants/{UNKNOWN}/graph", None, 404, "Not Found"),
        ("GET", "/assistants/chat/graph?xray=0", None, 422, "Invalid xray value"),
        ("GET", "/assistants/chat/graph?xray=x", None, 422, "Invalid xray value"),
        ("GET", "/assistants/chat/graph?xray=-1", None, 422, "Invalid xray value"),
        ("POST", "/assistants", {"graph_id": "nope"}, 404, f"Graph 'nope' not found. Expected one of: {ALL}"),
        ("POST", "/assistants/search", {"graph_id": "nope"}, 404, f"Graph 'nope' not found. Expected one of: {ALL}"),
        ("POST", "/assistants/count", {"graph_id": "nope"}, 404, f"Graph 'nope' not found. Expected one of: {ALL}"),
        ("POST", "/assistants", {"graph_id": "chat", "assistant_id": "x"}, 422, "Invalid assistant ID: must be a UUID"),
        ("PATCH", f"/assistants/{UNKNOWN}", {}, 404, f"Assistant {UNKNOWN} not found"),
        ("PATCH", "/assistants/chat", {}, 422, "Invalid assistant ID: must be a UUID"),
        ("POST", f"/assistants/{UNKNOWN}/versions", {}, 404, f"Assistant {UNKNOWN} not found"),
        ("POST", f"/assistants/{UNKNOWN}/latest", {"version": 1}, 404, f"Assistant {UNKNOWN} not found"),
        (
            "POST",
            f"/assistants/{default_assistant_id('chat')}/latest",
            {"version": 2},
            404,
            f"Version 2 not found for assistant {default_assistant_id('chat')}",
        ),
        (
            "PATCH",
            f"/assistants/{default_assistant_id('chat')}",
            {"graph_id": "nope"},
            404,
            f"Graph 'nope' not found. Expected one of: {ALL}",
        ),
        (
            "POST",
            "/assistants",
            {"graph_id": "chat", "context": {"a": 1}, "config": {"configurable": {"b": 1}}},
            400,
            "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
            "LangGraph 0.6.0 and is the long term planned replacement for configurable.",
        ),
    ],
)
async def test_errors(client: Client, method: str, path: str, body: Any, status: int, detail: str) -> None:
    response = await client.request(method, path, json=body)

    assert (response.status_code, response.json()["detail"]) == (status, detail)
    assert response.json()["error"]["message"] == detail


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/assistants", {}),
        ("/assistants", {"graph_id": None}),
        ("/assistants", {"graph_id": "chat", "metadata": []}),
        ("/assistants", {"graph_id": "chat", "metadata": None}),
        ("/assistants", {"graph_id": "chat", "name": 1}),
        ("/assistants", {"graph_id": "chat", "if_exists": "nope"}),
        ("/assistants", {"graph_id": "chat", "config": {"recursion_limit": "9"}}),
        ("/assistants", {"graph_id": "chat", "config": {"tags": [1]}}),
        ("/assistants", {"graph_id": "chat", "config": {"a\0": 1}}),
        ("/assistants", {"graph_id": "chat", "config": {"configurable": {"a\0": 1}}}),
        ("/assistants", {"graph_id": "chat", "context": {"a\\u0000": 1}}),
        ("/assistants/search", {"limit": 0}),
        ("/assistants/search", {"limit": 1001}),
        ("/assistants/search", {"limit": "1"}),
        ("/assistants/search", {"offset": -1}),
        ("/assistants/search", {"sort_by": "config"}),
        ("/assistants/search", {"sort_by": "name", "sort_order": "ASC"}),
        ("/assistants/search", {"select": ["nope"]}),
        ("/assistants/search", []),
        (f"/assistants/{default_assistant_id('chat')}/latest", {"version": "1"}),
        (f"/assistants/{default_assistant_id('chat')}/versions", {"limit": 0}),
    ],
)
async def test_bad_bodies_are_refused(client: Client, path: str, body: Any) -> None:
    response = await client.post(path, json=body)

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_request"


async def test_body_that_is_not_json(client: Client) -> None:
    assert (await client.post("/assistants/search", content=b"{nope")).status_code == 422


async def test_unknown_keys_are_ignored(client: Client) -> None:
    assert (await client.post("/assistants/count", json={"graph_id": "chat", "unknown": 1})).json() == 1


async def test_assistants_survive_a_restart(serve: Serve, config: Path) -> None:
    graphs = served()
    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        mine = await sdk.assistants.create("chat", context={"greeting": "Hi"})
        orphan = await sdk.assistants.create("steps")
        before = await sdk.assistants.get(default_assistant_id("nested"))
    del graphs["steps"]
    graphs["nested"]["description"] = "Another text."
    write_config(config, graphs)

    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        assert await sdk.assistants.get(mine["assistant_id"]) == mine
        after = await sdk.assistants.get(default_assistant_id("nested"))
        assert (after["description"], after["created_at"]) == ("Another text.", before["created_at"])
        assert (await sdk.assistants.get(default_assistant_id("chat")))["version"] == 1
        assert await sdk.assistants.count() == len(graphs) + 1
        with pytest.raises(APIStatusError, match=f"assistant {orphan['assistant_id']} not found"):
            await sdk.assistants.get(orphan["assistant_id"])
        with pytest.raises(APIStatusError, match="Graph 'steps' not found"):
            await sdk.assistants.get_graph(orphan["assistant_id"])


async def test_sync_client(client: Client) -> None:
    def use(url: str) -> None:
        with get_sync_client(url=url) as sdk:
            made = sdk.assistants.create("chat", context={"greeting": "Hi"}, name="Sync")
            key = made["assistant_id"]
            assert sdk.assistants.update(key, name="Changed")["version"] == 2
            assert sdk.assistants.set_latest(key, 1)["name"] == "Sync"
            assert [each["version"] for each in sdk.assistants.get_versions(key)] == [2, 1]
            assert sdk.assistants.search(name="sync")[0]["assistant_id"] == key
            assert sdk.assistants.count(name="sync") == 1
            assert sdk.assistants.get_graph(key)["nodes"]
            assert sdk.assistants.get_schemas(key)["graph_id"] == "chat"
            assert sdk.assistants.get_subgraphs(key) == {}
            sdk.assistants.delete(key)
            assert sdk.assistants.count(name="sync") == 0

    await asyncio.to_thread(use, str(client.base_url))


async def test_resolve_takes_a_graph_or_an_id(config: Path) -> None:
    async with Threadline(Settings(config=config)) as threadline:
        by_name = await threadline.assistants.resolve("chat")
        by_id = await threadline.assistants.resolve(default_assistant_id("chat").upper())

        assert by_name == by_id
        assert by_name.graph_id == "chat"
        with pytest.raises(InvalidRequestError) as caught:
            await threadline.assistants.resolve("nope")
        graphs = ", ".join(served())
        assert caught.value.message == (
            f"Invalid assistant: 'nope'. Must be either:\n- A valid assistant UUID, or\n"
            f"- One of the registered graphs: {graphs}"
        )
        with pytest.raises(NotFoundError, match=r"^Thread or assistant not found\.$"):
            await threadline.assistants.resolve(UNKNOWN)
        await threadline.assistants.delete(default_assistant_id("chat"))
        with pytest.raises(NotFoundError, match=r"^Thread or assistant not found\.$"):
            await threadline.assistants.resolve("chat")


def test_configs_merge_with_the_last_on_top() -> None:
    assistant = {"tags": ["a"], "recursion_limit": 5, "configurable": {"model": "a", "times": 1}}

    assert merged(assistant, {}, {"recursion_limit": 9, "configurable": {"model": "b"}}) == {
        "tags": ["a"],
        "recursion_limit": 9,
        "configurable": {"model": "b", "times": 1},
    }
    assert merged({}, {}) == {}
    assert assistant["configurable"] == {"model": "a", "times": 1}


class Leaf(TypedDict, total=False):
    """A leaf."""

    size: typing_extensions.Required[int]
    label: Annotated[str, "any"]


class Branch(TypedDict):
    leaf: Leaf | None
    leaves: dict[str, list[Leaf]]
    postponed: "typing_extensions.NotRequired[int]"
    parent: "Branch"
    kind: typing_extensions.Literal["a", "b"]


def test_portable_types_are_what_pydantic_takes() -> None:
    schema = TypeAdapter(portable(Branch)).json_schema()

    leaf = schema["$defs"]["Leaf"]
    assert leaf["description"] == "A leaf."
    assert leaf["properties"] == {
        "size": {"title": "Size", "type": "integer"},
        "label": {"title": "Label", "type": "string"},
    }
    assert leaf["required"] == ["size"]
    assert sorted(schema["required"]) == ["kind", "leaf", "leaves", "parent"]
    assert schema["properties"]["leaf"] == {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}]}
    assert schema["properties"]["kind"]["enum"] == ["a", "b"]


def test_portable_leaves_other_types_alone() -> None:
    class Model(BaseModel):
        number: int

    for annotation in (int, Model, list[Model], dict[str, int] | None, Annotated[list[int], "mark"]):
        assert portable(annotation) == annotation
