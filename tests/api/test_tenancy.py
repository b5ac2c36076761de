"""The tenancy walk: every route of the app, called by one tenant with the ids of another.

What belongs to another is answered as what does not exist, byte for byte; what lists or counts leaves it out; and
nothing of it has changed afterwards. A route that is not in the table fails the walk, so that none is forgotten.
"""

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.registry import default_assistant_id
from api.settings import Settings
from tests.api.graphs import gate
from tests.serving import serving

SECRET = "the-secret-of-a"
KEYS = {"tenant-a": "the-long-key-of-a", "tenant-b": "the-long-key-of-b"}
YEARLY = "0 0 1 1 *"
PUBLIC = {"/", "/ok", "/info", "/metrics", "/docs", "/docs/{name}", "/openapi.json"}
SAID = {"messages": [{"role": "user", "content": "hi"}]}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Foreign:
    """A call that names what is another's: `{thread_id}` and others stand for ids, in the path and in the body."""

    body: Any = None
    query: str = ""
    agent: bool = False
    """Whether {assistant_id} is the name of a graph, as in the native API."""
    status: int | None = 404
    """Of both answers; None: any that are the same."""


@dataclass
class Own:
    """A call whose answer has only what is the caller's own, or everybody's."""

    body: Any = None
    query: str = ""
    status: int = 200
    answer: Any = field(default=...)
    """What it is exactly, if that can be said."""


RUN = {"assistant_id": "chat", "input": SAID}
THEIRS = {"assistant_id": "{assistant_id}", "input": SAID}

TABLE: dict[tuple[str, str], list[Foreign | Own]] = {
    ("GET", "/agents"): [Own()],
    ("GET", "/agents/{assistant_id}"): [Foreign()],
    ("GET", "/agents/{assistant_id}/graph"): [Foreign()],
    ("POST", "/agents/{assistant_id}/invoke"): [
        Foreign({"input": "hi", "thread_id": "{thread_id}"}, agent=True),
        Foreign({"resume": "yes", "thread_id": "{busy_id}"}, agent=True),
        Foreign({"input": "hi"}),
    ],
    ("POST", "/agents/{assistant_id}/batch"): [Foreign({"inputs": ["hi"]})],
    ("POST", "/agents/{assistant_id}/stream"): [
        Foreign({"input": "hi", "thread_id": "{thread_id}"}, agent=True),
        Foreign({"input": "hi"}),
    ],
    ("POST", "/agents/{assistant_id}/events"): [
        Foreign({"input": "hi", "thread_id": "{thread_id}"}, agent=True),
        Foreign({"input": "hi"}),
    ],
    ("GET", "/agents/{assistant_id}/stream/{run_id}"): [Foreign(agent=True), Foreign()],
    ("POST", "/agents/{assistant_id}/runs/{run_id}/cancel"): [Foreign(agent=True), Foreign()],
    ("POST", "/assistants"): [
        Own({"graph_id": "chat", "assistant_id": "{assistant_id}", "if_exists": "do_nothing"}, status=409),
        Own({"graph_id": "chat", "assistant_id": "{assistant_id}"}, status=409),
    ],
    ("POST", "/assistants/search"): [
        Own({"limit": 100}),
        Own({"metadata": {"mark": SECRET}}, answer=[]),
        Own({"name": SECRET}, answer=[]),
    ],
    ("POST", "/assistants/count"): [Own({"metadata": {"mark": SECRET}}, answer=0), Own({"name": SECRET}, answer=0)],
    ("GET", "/assistants/{assistant_id}"): [Foreign()],
    ("PATCH", "/assistants/{assistant_id}"): [Foreign({"name": "mine"}), Foreign({"graph_id": "nowhere"})],
    ("DELETE", "/assistants/{assistant_id}"): [Foreign(), Foreign(query="delete_threads=true")],
    ("POST", "/assistants/{assistant_id}/versions"): [Foreign({})],
    ("POST", "/assistants/{assistant_id}/latest"): [Foreign({"version": 1}), Foreign({"version": 99})],
    ("GET", "/assistants/{assistant_id}/graph"): [Foreign()],
    ("GET", "/assistants/{assistant_id}/schemas"): [Foreign()],
    ("GET", "/assistants/{assistant_id}/subgraphs"): [Foreign()],
    ("GET", "/assistants/{assistant_id}/subgraphs/{namespace}"): [Foreign()],
    ("POST", "/threads/{thread_id}/runs/crons"): [
        Foreign({"assistant_id": "chat", "schedule": YEARLY}),
        Foreign({"assistant_id": "{assistant_id}", "schedule": YEARLY}),
        Foreign({"assistant_id": "chat", "schedule": "never"}, status=None),
    ],
    ("POST", "/runs/crons"): [Foreign({"assistant_id": "{assistant_id}", "schedule": YEARLY})],
    ("POST", "/runs/crons/search"): [
        Own({"limit": 100}, answer=[]),
        Own({"assistant_id": "{assistant_id}"}, answer=[]),
        Own({"thread_id": "{thread_id}"}, answer=[]),
        Own({"metadata": {"mark": SECRET}}, answer=[]),
    ],
    ("POST", "/runs/crons/count"): [Own({}, answer=0), Own({"thread_id": "{thread_id}"}, answer=0)],
    ("GET", "/runs/crons/{cron_id}"): [Foreign()],
    ("PATCH", "/runs/crons/{cron_id}"): [Foreign({"enabled": False}), Foreign({"schedule": "never"}, status=None)],
    ("DELETE", "/runs/crons/{cron_id}"): [Foreign()],
    ("POST", "/threads/{thread_id}/runs"): [
        Foreign(RUN),
        Foreign({**RUN, "multitask_strategy": "reject"}),
        Foreign(THEIRS),
        Foreign({**RUN, "checkpoint": {"thread_id": "{thread_id}", "checkpoint_id": "{checkpoint_id}"}}),
    ],
    ("POST", "/runs"): [Foreign(THEIRS)],
    ("POST", "/runs/batch"): [Foreign([THEIRS]), Foreign([RUN, THEIRS])],
    ("POST", "/threads/{thread_id}/runs/stream"): [Foreign(RUN), Foreign(THEIRS)],
    ("POST", "/runs/stream"): [Foreign(THEIRS)],
    ("POST", "/threads/{thread_id}/runs/wait"): [
        Foreign(RUN),
        Foreign(THEIRS),
        Foreign({"assistant_id": "chat", "command": {"resume": "yes"}}),
    ],
    ("POST", "/runs/wait"): [Foreign(THEIRS)],
    ("GET", "/threads/{thread_id}/stream"): [Foreign(), Foreign(query="stream_modes=run_modes")],
    ("POST", "/runs/cancel"): [
        Own({"status": "all"}, status=404),
        Own({"status": "running"}, status=404),
        Foreign({"thread_id": "{busy_id}", "run_ids": ["{active_id}"]}),
    ],
    ("GET", "/threads/{thread_id}/runs"): [Foreign(), Foreign(query="status=success")],
    ("GET", "/threads/{thread_id}/runs/{run_id}"): [Foreign()],
    ("DELETE", "/threads/{thread_id}/runs/{run_id}"): [Foreign()],
    ("GET", "/threads/{thread_id}/runs/{run_id}/join"): [Foreign()],
    ("GET", "/threads/{thread_id}/runs/{run_id}/webhooks"): [Foreign()],
    ("POST", "/threads/{thread_id}/runs/{run_id}/webhooks/{webhook_id}/send"): [Foreign()],
    ("GET", "/threads/{thread_id}/runs/{run_id}/stream"): [Foreign(), Foreign(query="cancel_on_disconnect=true")],
    ("GET", "/runs/{run_id}/stream"): [Foreign()],
    ("POST", "/threads/{thread_id}/runs/{run_id}/cancel"): [Foreign(), Foreign(query="wait=true&action=rollback")],
    ("PUT", "/store/items"): [Own({"namespace": ["notes"], "key": "secret", "value": {"by": "b"}}, status=204)],
    ("GET", "/store/items"): [
        Own(query="namespace=tenant-a.notes&key=secret", answer=None),
        Own(query="namespace=tenant-a&key=secret", answer=None),
    ],
    ("DELETE", "/store/items"): [Own({"namespace": ["tenant-a", "notes"], "key": "secret"}, status=204)],
    ("POST", "/store/items/search"): [
        Own({"namespace_prefix": []}),
        Own({"namespace_prefix": ["tenant-a"]}, answer={"items": []}),
        Own({"namespace_prefix": [], "filter": {"text": SECRET}}, answer={"items": []}),
    ],
    ("POST", "/store/namespaces"): [
        Own({}),
        Own({"prefix": ["tenant-a"]}, answer={"namespaces": []}),
        Own({"suffix": ["only-of-a"]}, answer={"namespaces": []}),
    ],
    ("POST", "/threads"): [
        Own({"thread_id": "{thread_id}", "if_exists": "do_nothing"}, status=409),
        Own({"thread_id": "{thread_id}"}, status=409),
        Own(
            {
                "thread_id": "{thread_id}",
                "if_exists": "do_nothing",
                "supersteps": [{"updates": [{"values": SAID, "as_node": "respond"}]}],
            },
            status=409,
        ),
    ],
    ("POST", "/threads/search"): [
        Own({"limit": 100}),
        Own({"ids": ["{thread_id}"]}, answer=[]),
        Own({"metadata": {"mark": SECRET}}, answer=[]),
        Own({"values": {"messages": []}, "status": "busy"}, answer=[]),
        Own({"metadata": {"owner": "tenant-a"}}, answer=[]),
        Own({"extract": {"it": "metadata.mark"}}),
    ],
    ("POST", "/threads/count"): [
        Own({"metadata": {"mark": SECRET}}, answer=0),
        Own({"status": "busy"}, answer=0),
        Own({"metadata": {"owner": "tenant-a"}}, answer=0),
    ],
    ("POST", "/threads/prune"): [
        Own({"thread_ids": ["{thread_id}"]}, answer={"pruned_count": 0}),
        Own({"thread_ids": ["{thread_id}"], "strategy": "keep_latest"}, answer={"pruned_count": 0}),
    ],
    ("GET", "/threads/{thread_id}"): [Foreign(), Foreign(query="include=ttl")],
    ("PATCH", "/threads/{thread_id}"): [Foreign({"metadata": {"owner": "tenant-b"}})],
    ("DELETE", "/threads/{thread_id}"): [Foreign()],
    ("POST", "/threads/{thread_id}/copy"): [Foreign(status=409)],
    ("GET", "/threads/{thread_id}/storage"): [Foreign(status=501)],
    ("GET", "/threads/{thread_id}/state"): [Foreign(), Foreign(query="subgraphs=true")],
    ("GET", "/threads/{thread_id}/state/{checkpoint_id}"): [Foreign()],
    ("POST", "/threads/{thread_id}/state/checkpoint"): [
        Foreign({"checkpoint": {"thread_id": "{thread_id}", "checkpoint_id": "{checkpoint_id}"}})
    ],
    ("POST", "/threads/{thread_id}/state"): [Foreign({"values": SAID, "as_node": "respond"})],
    ("GET", "/threads/{thread_id}/history"): [Foreign()],
    ("POST", "/threads/{thread_id}/history"): [
        Foreign({"limit": 10}),
        Foreign({"before": {"configurable": {"thread_id": "{thread_id}", "checkpoint_id": "{checkpoint_id}"}}}),
    ],
}


@dataclass
class Tenants:
    """Clients of one server, the ids of what tenant A has, and ids of nothing."""

    a: httpx.AsyncClient
    b: httpx.AsyncClient
    nobody: httpx.AsyncClient
    app: Any
    ids: dict[str, str]
    missing: dict[str, str]


def written(folder: Path, **document: Any) -> Path:
    """A langgraph.json."""
    path = folder / "langgraph.json"
    graphs = {name: f"tests.api.graphs:{name}" for name in ("chat", "gated", "steps")}
    path.write_text(json.dumps({"graphs": graphs, **document}))
    return path


async def _checked(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json() if response.content else None


async def _belongings(a: httpx.AsyncClient) -> dict[str, str]:
    """Makes one of everything for a tenant."""
    mark = {"mark": SECRET}
    assistant = await _checked(await a.post("/assistants", json={"graph_id": "chat", "name": SECRET, "metadata": mark}))
    thread = await _checked(await a.post("/threads", json={"metadata": mark}))
    base = f"/threads/{thread['thread_id']}/runs"
    said = {"messages": [{"role": "user", "content": SECRET}]}
    run = await _checked(await a.post(base, json={"assistant_id": assistant["assistant_id"], "input": said}))
    await _checked(await a.get(f"{base}/{run['run_id']}/join"))
    state = await _checked(await a.get(f"/threads/{thread['thread_id']}/state"))
    busy = await _checked(await a.post("/threads", json={"metadata": mark}))
    held = {"assistant_id": "gated", "input": {"messages": [{"role": "user", "content": "tenancy"}]}}
    active = await _checked(await a.post(f"/threads/{busy['thread_id']}/runs", json=held))
    cron = await _checked(
        await a.post(f"{base}/crons", json={"assistant_id": "chat", "schedule": YEARLY, "metadata": mark})
    )
    for namespace in (["notes"], ["notes", "only-of-a"]):
        item = {"namespace": namespace, "key": "secret", "value": {"text": SECRET}}
        await _checked(await a.put("/store/items", json=item))
    return {
        "assistant_id": assistant["assistant_id"],
        "thread_id": thread["thread_id"],
        "run_id": run["run_id"],
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
        "busy_id": busy["thread_id"],
        "active_id": active["run_id"],
        "cron_id": cron["cron_id"],
    }


@pytest.fixture(params=["auth.path", "api keys"])
async def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tenants]:
    """Two tenants of one server, by an operator's own auth module and by API keys."""
    if request.param == "api keys":
        settings = Settings(config=written(tmp_path), api_keys=",".join(f"{name}:{key}" for name, key in KEYS.items()))
        headers = {name: {"x-api-key": key} for name, key in KEYS.items()}
    else:
        settings = Settings(config=written(tmp_path, auth={"path": "tests.api.tenants:auth"}))
        headers = {name: {"authorization": f"Bearer {name}"} for name in KEYS}
    app = create_app(settings)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app))
        a, b, nobody = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=each, timeout=30))
            for each in (*headers.values(), {})
        ]
        with gate("tenancy") as held:
            ids = await _belongings(a)
            await held.reached.wait()
            yield Tenants(a, b, nobody, app, ids, {name: str(uuid.uuid4()) for name in ids})
            held.released.set()


def _filled(template: Any, ids: dict[str, str]) -> Any:
    text = json.dumps(template)
    for name, value in ids.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


def _url(path: str, case: Foreign | Own, ids: dict[str, str]) -> str:
    if isinstance(case, Foreign) and case.agent:
        ids = {**ids, "assistant_id": "chat"}
    filled = _filled(path, {**ids, "namespace": "child"})
    return f"{filled}?{case.query}" if case.query else str(filled)


async def _call(client: httpx.AsyncClient, method: str, path: str, case: Foreign | Own, ids: dict[str, str]) -> Any:
    body = None if case.body is None else _filled(case.body, ids)
    return await client.request(method, _url(path, case, ids), json=body)


def _without(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>")
    return text


async def _snapshot(tenants: Tenants) -> str:
    """All that tenant A has, as A sees it."""
    a, ids = tenants.a, tenants.ids
    answers = [
        await a.post("/threads/search", json={"limit": 100, "sort_by": "thread_id"}),
        await a.get(f"/threads/{ids['thread_id']}/history?limit=100"),
        await a.get(f"/threads/{ids['thread_id']}/runs"),
        await a.get(f"/threads/{ids['busy_id']}/runs"),
        await a.post("/assistants/search", json={"limit": 100, "sort_by": "assistant_id"}),
        await a.post(f"/assistants/{ids['assistant_id']}/versions", json={}),
        await a.post("/runs/crons/search", json={"limit": 100}),
        await a.post("/store/items/search", json={"namespace_prefix": []}),
    ]
    assert all(answer.status_code == 200 for answer in answers), [answer.text for answer in answers]
    assert SECRET in answers[0].text
    return "\n".join(answer.text for answer in answers)


def _routes(app: Any) -> set[tuple[str, str]]:
    """Every route of the app, WebSockets and mounts too."""
    found = set()
    for route in iter_route_contexts(app.routes):
        for method in route.methods or {"ANY"}:
            if method != "HEAD":
                found.add((method, str(route.path)))
    return found


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    app = create_app(Settings(config=written(tmp_path)))
    routes = {(method, path) for method, path in _routes(app) if path not in PUBLIC}
    assert routes == set(TABLE), "say in TABLE how another tenant would call it, and what it may see"


async def test_no_tenant_reaches_anothers_anything(tenants: Tenants) -> None:
    before = await _snapshot(tenants)
    for (method, path), cases in TABLE.items():
        for case in cases:
            theirs = await _call(tenants.b, method, path, case, tenants.ids)
            what = f"{method} {path} {case}: {theirs.status_code} {theirs.text}"
            assert theirs.status_code < 500 or theirs.status_code == 501, what
            assert SECRET not in theirs.text or SECRET in json.dumps(case.body), what
            if isinstance(case, Own):
                assert theirs.status_code == case.status, what
                sent = _url(path, case, tenants.ids) + json.dumps(_filled(case.body, tenants.ids))
                assert not [each for each in tenants.ids.values() if each in theirs.text and each not in sent], what
                if case.answer is not ...:
                    assert theirs.json() == case.answer, what
                continue
            missing = await _call(tenants.b, method, path, case, tenants.missing)
            assert case.status in (None, theirs.status_code), what
            assert theirs.status_code == missing.status_code, f"{what} / {missing.status_code} {missing.text}"
            assert _without(theirs.text, tenants.ids) == _without(missing.text, tenants.missing)
            varying = {"date", "content-length"}
            assert set(theirs.headers) - varying == set(missing.headers) - varying, what
    assert await _snapshot(tenants) == before


async def test_nobody_gets_past_the_door(tenants: Tenants) -> None:
    for method, path in _routes(tenants.app):
        url = _url(path.replace("{name}", "start.js"), Foreign(), tenants.ids)
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-auth-scheme": "langsmith"}):
            answer = await tenants.nobody.request(method, url, headers=headers)
            if path in PUBLIC:
                assert answer.status_code == 200, path
                assert not _UUID.search(answer.text) or path == "/openapi.json", path
                assert SECRET not in answer.text
                assert "tenant-a" not in answer.text
            else:
                assert answer.status_code == 401, f"{method} {path}: {answer.text}"
                assert answer.json()["detail"] in ("Unauthorized", "Who are you?")


async def test_a_run_cannot_be_led_to_anothers_thread(tenants: Tenants) -> None:
    """`thread_id` inside a config or a checkpoint counts for nothing."""
    mine = await _checked(await tenants.b.post("/threads", json={}))
    place = {"thread_id": tenants.ids["thread_id"], "checkpoint_id": tenants.ids["checkpoint_id"]}
    before = await _snapshot(tenants)
    for extra in (
        {"config": {"configurable": place}},
        {"checkpoint": place},
        {"checkpoint_id": tenants.ids["checkpoint_id"]},
        {"config": {"configurable": {"thread_id": tenants.ids["thread_id"]}}},
        {"context": {"thread_id": tenants.ids["thread_id"]}},
        {"config": {"metadata": {"thread_id": tenants.ids["thread_id"], "owner": "tenant-a"}}},
        {"metadata": {"thread_id": tenants.ids["thread_id"], "owner": "tenant-a"}},
    ):
        answer = await tenants.b.post(f"/threads/{mine['thread_id']}/runs/wait", json={**RUN, **extra})
        assert SECRET not in answer.text, extra
    path = f"/threads/{mine['thread_id']}"
    for method, leaf, body in (
        ("GET", f"/state/{place['checkpoint_id']}", None),
        ("POST", "/state/checkpoint", {"checkpoint": place}),
        ("POST", "/state", {"values": SAID, "as_node": "respond", "checkpoint": place}),
        ("POST", "/history", {"limit": 100, "checkpoint": place}),
        ("POST", "/history", {"limit": 100, "before": {"configurable": place}}),
    ):
        answer = await tenants.b.request(method, path + leaf, json=body)
        assert answer.status_code < 500
        assert SECRET not in answer.text, (leaf, answer.text)
    assert (await tenants.b.get(path)).json()["metadata"]["owner"] == "tenant-b"
    assert await _snapshot(tenants) == before


async def test_nobody_makes_a_thing_anothers(tenants: Tenants) -> None:
    before = await _snapshot(tenants)
    b, theirs = tenants.b, {"owner": "tenant-a"}
    thread = await _checked(await b.post("/threads", json={"metadata": theirs}))
    await _checked(await b.patch(f"/threads/{thread['thread_id']}", json={"metadata": theirs}))
    await _checked(await b.post(f"/threads/{thread['thread_id']}/copy"))
    for extra in ({"metadata": theirs}, {"config": {"metadata": theirs}}):
        await _checked(await b.post("/runs", json={**RUN, **extra, "on_completion": "keep"}))
        created = {**RUN, **extra, "if_not_exists": "create"}
        await _checked(await b.post(f"/threads/{uuid.uuid4()}/runs/wait", json=created))
        await _checked(await b.post(f"/threads/{thread['thread_id']}/runs/wait", json={**RUN, **extra}))
    await _checked(await b.post("/agents/chat/invoke", json={"input": "hi", "metadata": theirs}))
    await _checked(await b.post("/agents/chat/batch", json={"inputs": ["hi"], "metadata": theirs}))
    assistant = await _checked(await b.post("/assistants", json={"graph_id": "chat", "metadata": theirs}))
    await _checked(await b.patch(f"/assistants/{assistant['assistant_id']}", json={"metadata": theirs}))
    await _checked(await b.post("/runs/wait", json={**RUN, "assistant_id": assistant["assistant_id"]}))
    cron = {"assistant_id": "chat", "schedule": YEARLY, "metadata": theirs}
    made = await _checked(await b.post("/runs/crons", json=cron))
    await _checked(await b.patch(f"/runs/crons/{made['cron_id']}", json={"metadata": theirs}))
    assert await _snapshot(tenants) == before


async def test_default_assistants_are_everybodys_but_nobody_changes_them(tenants: Tenants) -> None:
    found = await _checked(await tenants.b.post("/assistants/search", json={"graph_id": "chat"}))
    (chat,) = found
    assert chat["metadata"] == {"created_by": "system"}
    one = f"/assistants/{chat['assistant_id']}"
    assert (await tenants.b.get(one)).status_code == 200
    assert (await tenants.b.patch(one, json={"name": "mine"})).status_code == 404
    assert (await tenants.b.delete(one)).status_code == 404
    assert (await tenants.b.post(f"{one}/latest", json={"version": 1})).status_code == 404
    spoofed = {"graph_id": "chat", "metadata": {"created_by": "system", "owner": "tenant-b"}}
    await _checked(await tenants.a.post("/assistants", json=spoofed))
    assert await _checked(await tenants.b.post("/assistants/count", json={"graph_id": "chat"})) == 1


async def test_the_id_of_a_graph_to_come_cannot_be_taken(tmp_path: Path) -> None:
    def keyed(**graphs: str) -> Settings:
        config = tmp_path / "langgraph.json"
        config.write_text(json.dumps({"graphs": graphs}))
        return Settings(config=config, api_keys=",".join(f"{name}:{key}" for name, key in KEYS.items()))

    chat = "tests.api.graphs:chat"
    taken = default_assistant_id("research")
    mine = {"assistant_id": taken, "graph_id": "chat", "context": {"greeting": "Mine"}, "metadata": {"n": 1}}
    async with _clients(keyed(chat=chat)) as (_, b):
        await _checked(await b.post("/assistants", json=mine))
        await _checked(await b.post("/runs/crons", json={"assistant_id": taken, "schedule": YEARLY}))
    async with _clients(keyed(chat=chat, research=chat)) as (a, b):
        for client in (a, b):
            answer = await _checked(await client.post("/agents/research/invoke", json={"input": "hi"}))
            assert answer["answer"] == "Hello, this is turn 1."
            assistant = await _checked(await client.get(f"/assistants/{taken}"))
            assert (assistant["graph_id"], assistant["metadata"]) == ("research", {"created_by": "system"})
        (kept,) = await _checked(await b.post("/assistants/search", json={"metadata": {"n": 1}}))
        assert (kept["assistant_id"] != taken, kept["context"]) == (True, {"greeting": "Mine"})
        (moved,) = await _checked(await b.post("/runs/crons/search", json={}))
        assert moved["assistant_id"] == kept["assistant_id"]
        assert await _checked(await a.post("/assistants/count", json={"metadata": {"n": 1}})) == 0


@contextlib.asynccontextmanager
async def _clients(settings: Settings) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A client for each key, of a server that starts and ends with this."""
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(create_app(settings)))
        yield [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers={"x-api-key": key}, timeout=30))
            for key in KEYS.values()
        ]


async def test_each_tenant_has_its_own_as_without_others(tenants: Tenants) -> None:
    for client in (tenants.a, tenants.b):
        await _checked(await client.put("/store/items", json={"namespace": ["mine"], "key": "k", "value": {"n": 1}}))
        item = await _checked(await client.get("/store/items?namespace=mine&key=k"))
        assert item["value"] == {"n": 1}
        values = await _checked(await client.post("/runs/wait", json=RUN))
        assert values["messages"][-1]["content"] == "Hello, this is turn 1."
        answer = await _checked(await client.post("/agents/chat/invoke", json={"input": "hi"}))
        again = {"input": "hi", "thread_id": answer["thread_id"]}
        assert (await _checked(await client.post("/agents/chat/invoke", json=again)))["answer"].endswith("turn 2.")
        followed = await client.get(f"/agents/chat/stream/{answer['run_id']}")
        assert "event: end" in followed.text
    cancelled = await tenants.a.post("/runs/cancel", json={"status": "all"})
    assert cancelled.status_code == 204
