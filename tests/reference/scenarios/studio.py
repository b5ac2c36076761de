"""LangGraph Studio's requests: from a page of another origin, with its headers and JSON as plain text."""

from dataclasses import replace

from tests.reference.exchange import Request, Scenario
from tests.reference.scenarios.requests import get, history, post, put, said, scenario, stream, thread

_HEADERS = {
    "origin": "https://smith.langchain.com",
    "x-auth-scheme": "langsmith",
    "content-type": "text/plain;charset=UTF-8",
}
_SYSTEM = {"limit": 10, "offset": 0, "metadata": {"created_by": "system"}}
_STATE = "/threads/{thread}/state"
_MODES = ["debug", "messages"]


def _studio(name: str, *requests: Request) -> Scenario:
    return scenario("studio", name, *(replace(each, headers={**_HEADERS, **each.headers}) for each in requests))


def _preflight(method: str, path: str) -> Request:
    asked = {
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,x-auth-scheme,x-api-key",
    }
    return Request("OPTIONS", path, headers=asked, raw=True)


_PAST = get("/threads/{thread}/history?limit=10", save={"past": "json.2.checkpoint.checkpoint_id"})

SCENARIOS = [
    _studio("is it up", get("/ok")),
    _studio(
        "preflights",
        _preflight("POST", "/assistants/search"),
        _preflight("GET", "/info"),
        _preflight("DELETE", "/threads/{uuid1}"),
        _preflight("PATCH", "/threads/{uuid1}"),
    ),
    _studio(
        "errors carry the headers too",
        get("/nowhere"),
        get("/threads/{uuid1}"),
        post("/assistants/search", b"{nonsense"),
    ),
    _studio(
        "assistants",
        post("/assistants/search", _SYSTEM | {"graph_id": "nested"}, save={"assistant": "json.0.assistant_id"}),
        get("/assistants/{assistant}"),
        get("/assistants/{assistant}/graph?xray=true"),
        get("/assistants/{assistant}/graph?xray=2"),
        get("/assistants/{assistant}/schemas"),
        get("/assistants/{assistant}/subgraphs?recurse=true"),
        get("/assistants/{assistant}/subgraphs/child"),
        post("/assistants/{assistant}/versions", {"limit": 100}),
    ),
    _studio(
        "an assistant of one's own",
        post(
            "/assistants",
            {"graph_id": "chat", "name": "polite", "context": {"greeting": "Good day"}},
            save={"assistant": "json.assistant_id"},
        ),
        Request("PATCH", "/assistants/{assistant}", {"context": {"greeting": "Hi"}}),
        post("/assistants/{assistant}/versions", {"limit": 100}),
        post("/assistants/{assistant}/latest", {"version": 2}),
        thread(),
        stream("{assistant}", input=said("hi"), stream_mode=_MODES),
        Request("DELETE", "/assistants/{assistant}"),
    ),
    _studio(
        "a run, as it is shown",
        post("/threads", {"metadata": {"nonce": "{nonce}"}}, save={"thread": "json.thread_id"}),
        stream(
            "nested",
            input=said("hi"),
            stream_mode=_MODES,
            stream_subgraphs=True,
            stream_resumable=True,
            if_not_exists="create",
            multitask_strategy="rollback",
        ),
        post("/threads/search", {"limit": 10, "offset": 0, "metadata": {"nonce": "{nonce}"}}),
        get("/threads/{thread}/runs"),
        get(f"{_STATE}?subgraphs=true"),
        history(limit=1000),
        _PAST,
        get(f"{_STATE}/{{past}}"),
        post(f"{_STATE}/checkpoint", {"checkpoint": {"checkpoint_id": "{past}", "checkpoint_ns": ""}}),
    ),
    _studio(
        "again from a checkpoint",
        thread(),
        stream("steps", input={"number": 2}, stream_mode=_MODES),
        _PAST,
        post(
            _STATE,
            {"values": None, "as_node": "__copy__", "checkpoint_id": "{past}"},
            save={"copy": "json.checkpoint.checkpoint_id"},
        ),
        stream("steps", input=None, checkpoint_id="{copy}", stream_mode=_MODES),
        history(limit=100),
    ),
    _studio(
        "an interrupt answered",
        thread(),
        stream("hitl", input={"topic": "cats"}, stream_mode=_MODES, interrupt_before=["publish"]),
        get(f"{_STATE}?subgraphs=true"),
        stream("hitl", command={"resume": "better"}, stream_mode=_MODES, interrupt_before=["publish"]),
        stream("hitl", input=None, stream_mode=_MODES),
        history(limit=100),
    ),
    _studio(
        "memory",
        put("/store/items", {"namespace": ["{nonce}", "a"], "key": "one", "value": {"text": "hi"}}),
        post("/store/namespaces", {"prefix": ["{nonce}"], "limit": 100, "offset": 0}),
        post("/store/items/search", {"namespace_prefix": ["{nonce}"], "limit": 10, "offset": 0}),
        get("/store/items?namespace={nonce}.a&key=one"),
        Request("DELETE", "/store/items", {"namespace": ["{nonce}", "a"], "key": "one"}),
    ),
]
