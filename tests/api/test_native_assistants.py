"""The native API on assistants that clients made: their settings apply, as of their latest version."""

from typing import Any

import pytest

from tests.api.conftest import Client


async def _assistant(client: Client, graph: str = "chat", **settings: Any) -> str:
    response = await client.post("/assistants", json={"graph_id": graph, **settings})
    assert response.status_code == 200, response.text
    return str(response.json()["assistant_id"])


async def _answer(client: Client, agent: str, **body: Any) -> Any:
    return (await client.run(agent, **body))[-2].data["answer"]


async def test_its_context_applies_below_the_requests(client: Client) -> None:
    polite = await _assistant(client, context={"greeting": "Good day", "times": 2})

    assert await _answer(client, polite) == "Good day Good day, this is turn 1."
    assert await _answer(client, polite, context={"times": 1}) == "Good day, this is turn 1."
    assert await _answer(client, "chat") == "Hello, this is turn 1."


async def test_the_latest_version_counts(client: Client) -> None:
    assistant = await _assistant(client, context={"greeting": "One"})
    await client.patch(f"/assistants/{assistant}", json={"context": {"greeting": "Two"}})
    assert await _answer(client, assistant) == "Two, this is turn 1."
    await client.post(f"/assistants/{assistant}/latest", json={"version": 1})
    assert await _answer(client, assistant) == "One, this is turn 1."


async def test_its_config_and_metadata_are_the_runs(client: Client) -> None:
    assistant = await _assistant(client, "made", config={"configurable": {"flavour": "mint"}}, metadata={"team": "red"})
    frames = await client.run(assistant, metadata={"own": 1})
    thread_id, run_id = frames[0].data["thread_id"], frames[0].data["run_id"]

    assert frames[0].data["assistant_id"] == assistant
    run = (await client.get(f"/threads/{thread_id}/runs/{run_id}")).json()
    assert run["assistant_id"] == assistant
    assert run["metadata"] == {"team": "red", "own": 1}
    assert run["kwargs"]["config"]["configurable"]["flavour"] == "mint"
    state = (await client.get(f"/threads/{thread_id}/state")).json()
    assert state["metadata"]["team"] == "red"


async def test_default_assistants_leave_no_mark(client: Client) -> None:
    frames = await client.run("chat")
    run = (await client.get(f"/threads/{frames[0].data['thread_id']}/runs/{frames[0].data['run_id']}")).json()
    assert run["metadata"] == {}


async def test_every_route(client: Client) -> None:
    assistant = await _assistant(client, description="Greets", context={"greeting": "Hey"})
    described = (await client.get(f"/agents/{assistant}")).json()
    assert (described["assistant_id"], described["graph_id"], described["description"]) == (assistant, "chat", "Greets")
    assert (await client.get(f"/agents/{assistant}/graph")).status_code == 200
    assert "respond" in (await client.get(f"/agents/{assistant}/graph?format=mermaid")).text
    invoked = (await client.post(f"/agents/{assistant}/invoke", json={"input": "hi"})).json()
    assert invoked["answer"] == "Hey, this is turn 1."
    batch = (await client.post(f"/agents/{assistant}/batch", json={"inputs": ["a", "b"]})).json()
    assert [each["answer"] for each in batch["results"]] == ["Hey, this is turn 1."] * 2
    assert (await client.post(f"/agents/{assistant}/events", json={"input": "hi"})).status_code == 200
    streamed = await client.post(f"/agents/{assistant}/stream", json={"input": "hi"})
    again = await client.get(streamed.headers["content-location"])
    assert again.text == streamed.text
    run_id = streamed.headers["content-location"].rpartition("/")[2]
    assert (await client.get(f"/agents/chat/stream/{run_id}")).status_code == 404


@pytest.mark.parametrize("agent", ["00000000-0000-4000-8000-000000000000", "nobody"])
async def test_unknown_ones(client: Client, agent: str) -> None:
    for method, path in (("POST", "stream"), ("POST", "invoke"), ("GET", "graph"), ("GET", "")):
        response = await client.request(method, f"/agents/{agent}/{path}".rstrip("/"), json={"input": "hi"})
        assert (response.status_code, response.json()["error"]["field"]) == (404, "assistant_id")


async def test_a_deleted_one(client: Client) -> None:
    assistant = await _assistant(client)
    await client.delete(f"/assistants/{assistant}")
    assert (await client.post(f"/agents/{assistant}/invoke", json={"input": "hi"})).status_code == 404
