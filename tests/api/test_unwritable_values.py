"""Values that JSON does not have cost no reader the rest, and one that cannot be stored costs its own run alone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.serving import serving

ODD = {
    "array": [[1.0, 1.0]] * 3,
    "number": 1.5,
    "zone": "Europe/Berlin",
    "network": "10.0.0.0/8",
    "utc": "UTC",
    "send": {"node": "work", "args": {"b": "/9g="}},
    "secret": "**********",
    "range": "range(0, 3)",
    "keys": {'["a",1]': 2},
    "bytes": "/9g=",
    "infinity": None,
}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"odd": "tests.api.unwritable:graph", "kept": "tests.api.unwritable:kept"}}))
    async with (
        serving(create_app(Settings(config=path))) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        yield client


async def _thread(client: httpx.AsyncClient) -> str:
    return str((await client.post("/threads", json={})).json()["thread_id"])


async def _wait(client: httpx.AsyncClient, thread: str, **body: Any) -> Any:
    return (await client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "odd", **body})).json()


async def test_every_reader_gets_the_rest(client: httpx.AsyncClient) -> None:
    thread = await _thread(client)
    modes = ["values", "updates", "custom", "debug", "messages-tuple", "events", "tasks", "checkpoints"]
    body = {"assistant_id": "odd", "input": {"rest": ""}, "stream_mode": modes, "stream_resumable": True}
    streamed = (await client.post(f"/threads/{thread}/runs/stream", json=body)).text
    assert "event: error" not in streamed
    assert '"artifact":{"score":0.5,"bytes":"/9g="}' in streamed

    state = (await client.get(f"/threads/{thread}/state")).json()
    assert (state["values"]["v"], state["values"]["rest"]) == (ODD, "here")
    assert state["interrupts"][0]["value"] == {"odd": ODD, "v": ODD}
    assert state["metadata"]["score"] == 0.5
    history = (await client.post(f"/threads/{thread}/history", json={"limit": 10})).json()
    assert history[0]["values"]["v"] == ODD
    record = (await client.get(f"/threads/{thread}")).json()
    assert record["values"]["v"] == ODD
    [waiting] = record["interrupts"].values()
    assert waiting[0]["value"] == {"odd": ODD, "v": ODD}
    found = (await client.post("/threads/search", json={})).json()
    assert found[0]["values"]["v"] == ODD
    [run] = (await client.get(f"/threads/{thread}/runs")).json()
    joined = (await client.get(f"/threads/{thread}/runs/{run['run_id']}/join")).json()
    assert joined["__interrupt__"][0]["value"] == {"odd": ODD, "v": ODD}
    again = (await client.get(f"/threads/{thread}/runs/{run['run_id']}/stream")).text
    assert "/9g=" in again
    assert (await _wait(client, thread, command={"resume": "on"}))["rest"] == "here on"


@pytest.mark.parametrize("path", ["stream", "invoke", "events"])
async def test_the_native_api_gives_the_rest(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"/agents/odd/{path}", json={"input": {"rest": ""}})
    assert answer.status_code == 200
    assert "/9g=" in answer.text
    assert "sk-secret" not in answer.text
    assert "not_serializable" not in answer.text


async def test_what_cannot_be_stored_is_named_and_the_thread_goes_on(client: httpx.AsyncClient) -> None:
    thread = await _thread(client)
    await _wait(client, thread, input={"rest": ""})
    await _wait(client, thread, command={"resume": "on"})
    failed = await _wait(client, thread, input={"rest": "refuse"})
    assert failed["__error__"]["message"] == "The state cannot be stored: v.inner.0 is a object."
    state = (await client.get(f"/threads/{thread}/state")).json()
    assert state["values"]["v"] == ODD
    assert (await client.get(f"/threads/{thread}")).json()["status"] == "error"
    assert (await _wait(client, thread, input={"rest": "again"}))["rest"] == "here"
    native = (await client.post("/agents/odd/invoke", json={"input": {"rest": "refuse"}})).json()
    assert native["error"] == {
        "code": "not_serializable",
        "message": "The state cannot be stored: v.inner.0 is a object.",
    }


async def test_the_store_writes_the_rest(client: httpx.AsyncClient) -> None:
    assert (await _wait(client, await _thread(client), assistant_id="kept", input={"rest": ""}))["rest"] == "k"
    item = (await client.get("/store/items", params={"namespace": "odd", "key": "k"})).json()
    assert item["value"] == {**ODD, "1": 2}
