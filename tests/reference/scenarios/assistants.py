"""Assistants: records, versions, search, and what they tell of their graphs."""

from typing import Any

from tests.reference.exchange import Request
from tests.reference.scenarios.requests import (
    background,
    delete,
    get,
    join,
    patch,
    post,
    said,
    scenario,
    stream,
    thread,
    wait,
)

_ONE = "/assistants/{assistant}"
GRAPHS = ("agent", "chat", "failing", "gate", "hitl", "memory", "nested", "pair", "paused", "steps")


def _create(name: str = "assistant", **body: Any) -> Request:
    return post("/assistants", {"graph_id": "chat", **body}, save={name: "json.assistant_id"})


def _default(graph_id: str) -> Request:
    """Finds a graph's own assistant."""
    return post(
        "/assistants/search",
        {"graph_id": graph_id, "metadata": {"created_by": "system"}},
        save={"assistant": "json.0.assistant_id"},
    )


_crud = [
    *(scenario("assistants", f"default, {graph_id}", _default(graph_id), get(_ONE)) for graph_id in GRAPHS),
    scenario(
        "assistants",
        "create",
        _create(),
        get(_ONE),
        _create(
            name="full",
            config={"tags": ["mine"], "recursion_limit": 7, "configurable": {"greeting": "Hi"}},
            metadata={"mine": 1},
            description="A chat.",
        ),
        get("/assistants/{full}"),
        post("/assistants", {"graph_id": "chat", "name": "named", "context": {"greeting": "Ho"}}),
    ),
    scenario(
        "assistants",
        "create with an id",
        post("/assistants", {"graph_id": "chat", "assistant_id": "{uuid1}", "name": "first"}),
        post("/assistants", {"graph_id": "chat", "assistant_id": "{uuid1}", "name": "second"}),
        post("/assistants", {"graph_id": "chat", "assistant_id": "{uuid1}", "if_exists": "raise"}),
        post("/assistants", {"graph_id": "steps", "assistant_id": "{uuid1}", "if_exists": "do_nothing"}),
        get("/assistants/{uuid1}"),
    ),
    scenario(
        "assistants",
        "create, wrongly",
        post("/assistants", {}),
        post("/assistants", {"graph_id": "nonsense"}),
        post("/assistants", {"graph_id": 7}),
        post("/assistants", {"graph_id": "chat", "assistant_id": "nonsense"}),
        post("/assistants", {"graph_id": "chat", "metadata": "text"}),
        post("/assistants", {"graph_id": "chat", "config": "text"}),
        post("/assistants", {"graph_id": "chat", "if_exists": "nonsense"}),
        post("/assistants", {"graph_id": "chat", "name": 7}),
        post("/assistants", {"graph_id": "chat", "context": {"a": 1}, "config": {"configurable": {"a": 2}}}),
        post("/assistants", b"{nonsense"),
        post("/assistants", []),
    ),
    scenario(
        "assistants",
        "patch and versions",
        _create(metadata={"a": 1}),
        patch(_ONE, {"metadata": {"b": 2}, "name": "renamed"}),
        patch(_ONE, {"context": {"greeting": "Hi"}}),
        patch(_ONE, {"config": {"configurable": {"greeting": "Ho"}}, "description": "now described"}),
        get(_ONE),
        post(f"{_ONE}/versions"),
        post(f"{_ONE}/versions", {"limit": 1}),
        post(f"{_ONE}/versions", {"limit": 1, "offset": 1}),
        post(f"{_ONE}/versions", {"metadata": {"b": 2}}),
        post(f"{_ONE}/latest", {"version": 4}),
        get(_ONE),
        patch(_ONE, {"name": "again"}),
        post(f"{_ONE}/latest", {"version": 99}),
        post(f"{_ONE}/latest", {}),
        post(f"{_ONE}/latest", {"version": "text"}),
        patch(_ONE, {}),
    ),
    scenario(
        "assistants",
        "an earlier version",
        _create(name="assistant", metadata={"a": 1}),
        patch(_ONE, {"metadata": {"b": 2}}),
        post(f"{_ONE}/latest", {"version": 1}),
        get(_ONE),
    ),
    scenario(
        "assistants",
        "patch, wrongly",
        _create(),
        patch(_ONE, {"graph_id": "nonsense"}),
        patch(_ONE, {"graph_id": "steps"}),
        patch(_ONE, {"metadata": "text"}),
        patch(_ONE, {"name": 7}),
        patch(_ONE, {"context": {"a": 1}, "config": {"configurable": {"a": 2}}}),
        patch(_ONE, b"{nonsense"),
        patch("/assistants/{uuid1}", {"name": "x"}),
        patch("/assistants/nonsense", {"name": "x"}),
        patch("/assistants/chat", {"name": "x"}),
    ),
    scenario(
        "assistants",
        "delete",
        _create(),
        delete(_ONE),
        get(_ONE),
        delete(_ONE),
        delete("/assistants/nonsense"),
        post("/runs/wait", {"assistant_id": "{assistant}"}),
        post(f"{_ONE}/versions"),
    ),
    scenario(
        "assistants",
        "delete with its threads",
        _create(),
        thread(metadata={"assistant_id": "{assistant}"}),
        thread("other"),
        delete(f"{_ONE}?delete_threads=true"),
        get("/threads/{thread}"),
        get("/threads/{other}"),
    ),
    scenario(
        "assistants",
        "nothing there",
        get("/assistants/{uuid1}"),
        get("/assistants/nonsense"),
        get("/assistants/chat"),
        get("/assistants/{uuid1}/graph"),
        get("/assistants/nonsense/graph"),
        get("/assistants/{uuid1}/schemas"),
        get("/assistants/nonsense/schemas"),
        get("/assistants/chat/schemas"),
        get("/assistants/{uuid1}/subgraphs"),
        get("/assistants/chat/subgraphs"),
        post("/assistants/{uuid1}/versions"),
        post("/assistants/{uuid1}/latest", {"version": 1}),
    ),
]


def _search(**body: Any) -> Request:
    return post("/assistants/search", {"metadata": {"nonce": "{nonce}"}, **body})


_searches = [
    scenario(
        "assistants",
        "search",
        *(
            _create(name=letter, metadata={"nonce": "{nonce}", "letter": letter}, graph_id=graph_id)
            for letter, graph_id in (("a", "chat"), ("b", "steps"), ("c", "chat"))
        ),
        _search(),
        _search(limit=1),
        _search(limit=1, offset=1),
        _search(limit=2, offset=2),
        _search(offset=9),
        _search(graph_id="steps"),
        _search(sort_by="created_at", sort_order="asc"),
        _search(sort_by="graph_id", sort_order="desc", select=["graph_id"]),
        _search(select=["assistant_id", "name"]),
        post("/assistants/search", {"metadata": {"nonce": "{nonce}", "letter": "b"}}),
        post("/assistants/count", {"metadata": {"nonce": "{nonce}"}}),
        post("/assistants/count", {"metadata": {"nonce": "{nonce}"}, "graph_id": "chat"}),
    ),
    scenario(
        "assistants",
        "search by name",
        post("/assistants", {"graph_id": "chat", "name": "Alpha one", "metadata": {"nonce": "{nonce}"}}),
        post("/assistants", {"graph_id": "chat", "name": "beta ONE", "metadata": {"nonce": "{nonce}"}}),
        _search(name="one"),
        _search(name="alp"),
        _search(name="none"),
        post("/assistants/count", {"metadata": {"nonce": "{nonce}"}, "name": "one"}),
    ),
    scenario(
        "assistants",
        "search, wrongly",
        post("/assistants/search", {"limit": 0}),
        post("/assistants/search", {"limit": 1001}),
        post("/assistants/search", {"limit": "some"}),
        post("/assistants/search", {"offset": -1}),
        post("/assistants/search", {"graph_id": "nonsense"}),
        post("/assistants/search", {"sort_by": "nonsense"}),
        post("/assistants/search", {"sort_order": "nonsense"}),
        post("/assistants/search", {"select": ["nonsense"]}),
        post("/assistants/search", {"metadata": "text"}),
        post("/assistants/search", b"{nonsense"),
        post("/assistants/count", {"graph_id": "nonsense"}),
    ),
]

_graphs = [
    *(
        scenario(
            "assistants",
            f"about {graph_id}",
            _default(graph_id),
            get(f"{_ONE}/graph"),
            get(f"{_ONE}/schemas"),
            get(f"{_ONE}/subgraphs"),
        )
        for graph_id in GRAPHS
    ),
    scenario(
        "assistants",
        "graph by its name and in depth",
        get("/assistants/nested/graph"),
        get("/assistants/nested/graph?xray=true"),
        get("/assistants/nested/graph?xray=1"),
        get("/assistants/nested/graph?xray=0"),
        get("/assistants/nested/graph?xray=false"),
        get("/assistants/nested/graph?xray=-1"),
        get("/assistants/nested/graph?xray=nonsense"),
    ),
    scenario(
        "assistants",
        "subgraphs",
        _default("nested"),
        get(f"{_ONE}/subgraphs?recurse=true"),
        get(f"{_ONE}/subgraphs/child"),
        get(f"{_ONE}/subgraphs/child?recurse=true"),
        get(f"{_ONE}/subgraphs/nowhere"),
        get(f"{_ONE}/subgraphs?recurse=nonsense"),
    ),
]

_runs = [
    scenario(
        "assistants",
        "a run has its assistant's config",
        _create(context={"greeting": "Hi"}, metadata={"of": "assistant"}),
        thread(),
        background("{assistant}", input=said("one")),
        join(),
        get("/threads/{thread}/runs/{run}"),
        wait("{assistant}", input=said("two"), context={"greeting": "Ho"}),
        get("/threads/{thread}"),
        stream("{assistant}", input=said("three"), stream_mode=["messages-tuple", "debug"]),
    ),
    scenario(
        "assistants",
        "a run has its assistant's config, merged",
        _create(config={"tags": ["a"], "recursion_limit": 9, "configurable": {"greeting": "Hi"}}),
        thread(),
        background("{assistant}", input=said("one"), config={"tags": ["b"], "configurable": {"more": 1}}),
        join(),
        get("/threads/{thread}/runs/{run}"),
        background(
            "{assistant}", name="run2", input=said("two"), config={"recursion_limit": 3, "metadata": {"in": "run"}}
        ),
        join("run2"),
        get("/threads/{thread}/runs/{run2}"),
    ),
]

SCENARIOS = [*_crud, *_searches, *_graphs, *_runs]
