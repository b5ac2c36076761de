"""What a client can put into a config: of a checkpoint, where a state is; never who it is, nor LangGraph's wiring."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.api.asking import asked
from tests.serving import serving

FORGED = {
    "langgraph_auth_user_id": "bob",
    "langgraph_auth_user": {"identity": "bob"},
    "langgraph_auth_permissions": ["all"],
    "langgraph_request_id": "forged",
    "__pregel_resume_map": "forged",
    "__pregel_send": "forged",
    "mine": "forged",
}
PLACE = {"checkpoint_ns": "", "checkpoint_map": {}}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    asked.clear()
    path = tmp_path / "langgraph.json"
    document: dict[str, Any] = {
        "graphs": {"asking": "tests.api.asking:make", "known": "tests.api.asking:known"},
        "auth": {"path": "tests.api.tenants:auth"},
        "http": {"configurable_headers": {"includes": ["*"]}},
    }
    path.write_text(json.dumps(document))
    headers = {"authorization": "Bearer tenant-a"}
    async with (
        serving(create_app(Settings(config=path))) as url,
        httpx.AsyncClient(base_url=url, timeout=60, headers=headers) as client,
    ):
        yield client


async def _thread(client: httpx.AsyncClient) -> str:
    return str((await client.post("/threads", json={})).json()["thread_id"])


async def _run(client: httpx.AsyncClient, thread: str, **body: Any) -> Any:
    answer = await client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "asking", "input": {}, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["seen"]


async def test_every_route_tells_a_factory_the_true_caller_and_nothing_forged(client: httpx.AsyncClient) -> None:
    thread = await _thread(client)
    await _run(client, thread)
    [assistant] = (await client.post("/assistants/search", json={"graph_id": "asking"})).json()
    state = (await client.get(f"/threads/{thread}/state")).json()
    forged = {"checkpoint": {**FORGED, **PLACE, "checkpoint_id": state["checkpoint"]["checkpoint_id"]}}
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/threads/{thread}/state", None),
        ("GET", f"/threads/{thread}/state/{state['checkpoint_id']}", None),
        ("POST", f"/threads/{thread}/state/checkpoint", forged),
        ("POST", f"/threads/{thread}/history", {**forged, "before": {"configurable": FORGED}}),
        ("POST", f"/threads/{thread}/history", {"before": FORGED}),
        ("GET", f"/threads/{thread}/history", None),
        ("POST", f"/threads/{thread}/state", {**forged, "values": {"seen": {}}}),
        ("POST", f"/threads/{thread}/runs/wait", {"assistant_id": "asking", "input": {}, **forged}),
        ("GET", f"/assistants/{assistant['assistant_id']}/graph", None),
        ("GET", f"/assistants/{assistant['assistant_id']}/schemas", None),
        ("GET", f"/assistants/{assistant['assistant_id']}/subgraphs", None),
        ("GET", "/agents/asking", None),
        ("GET", "/agents/asking/graph", None),
        ("POST", "/agents/asking/invoke", {"input": {"seen": {}}}),
    ]
    for method, path, body in calls:
        asked.clear()
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        assert asked, path
        for caller, settings in asked:
            assert caller == "tenant-a", path
            assert "forged" not in map(str, settings.values()), path
            assert settings["langgraph_auth_user"]["identity"] == "tenant-a", path


@pytest.mark.parametrize("where", ["configurable", "context", "checkpoint", "headers"])
async def test_no_part_of_a_run_request_forges_a_setting(client: httpx.AsyncClient, where: str) -> None:
    thread = await _thread(client)
    body: dict[str, Any] = {}
    if where == "headers":
        client.headers.update(dict.fromkeys(FORGED, "forged"))
    elif where == "configurable":
        body = {"config": {"configurable": FORGED}}
    else:
        body = {where: FORGED}
    seen = await _run(client, thread, **body)
    assert seen["langgraph_auth_user_id"] == "tenant-a"
    assert seen["forged"] == ""
    assert seen.get("langgraph_request_id") != "forged"
    assert not [name for name in asked[-1][1] if name.startswith("__pregel_")]
    assert ("mine" in seen) == (where != "checkpoint")


async def test_what_an_assistant_a_thread_or_a_cron_keeps_is_cleared_too(client: httpx.AsyncClient) -> None:
    body = {"graph_id": "asking", "config": {"configurable": FORGED}}
    assistant = (await client.post("/assistants", json=body)).json()
    assert assistant["config"]["configurable"] == {"mine": "forged"}
    thread = await _thread(client)
    seen = await _run(client, thread, assistant_id=assistant["assistant_id"])
    assert (seen["langgraph_auth_user_id"], seen["forged"]) == ("tenant-a", "")
    schedule = {"assistant_id": "asking", "schedule": "0 0 1 1 *", "config": {"configurable": FORGED}, "input": {}}
    cron = (await client.post("/runs/crons", json=schedule)).json()
    assert "bob" not in json.dumps(cron["payload"])


@pytest.mark.parametrize("settings", [{"context": {"model": "m", "other": 1}}, {"context": {"other": 1}}], ids=str)
async def test_what_a_context_has_and_the_schema_has_not_goes_nowhere(
    client: httpx.AsyncClient, settings: dict[str, Any]
) -> None:
    seen = await _run(client, await _thread(client), assistant_id="known", **settings)
    assert "other" not in seen["configurable"]
    assert ("model" in seen["configurable"]) == ("model" in settings["context"])
    assert "other" not in seen["context"]


async def test_configurable_stays_whole(client: httpx.AsyncClient) -> None:
    config = {"configurable": {"model": "m", "other": 1}}
    seen = await _run(client, await _thread(client), assistant_id="known", config=config)
    assert {"model", "other"} <= set(seen["configurable"])
    assert seen["context"] == {"model": "m"}
