"""Each project through an interrupt, a second turn, a `kill -9` and a restart; `langgraph dev` answers the same."""

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from tests.applications.conftest import THREADLINE, Serve

APPROVED = {"resume": {"decisions": [{"type": "approve"}]}}


async def test_agent_with_typed_answers_and_middleware(serve: Serve) -> None:
    application = serve("agent")
    client = application.client()
    (assistant,) = await client.assistants.search()
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    assert {"messages", "todos", "before", "structured_response"} <= set(schemas["state_schema"]["properties"])
    thread_id = (await client.threads.create())["thread_id"]
    seen = []
    for city, kill in (("Oslo", False), ("Bergen", True), ("Bodo", True)):
        asked = await client.runs.wait(thread_id, "weather", input={"messages": city})
        assert asked["__interrupt__"][0]["value"]["action_requests"][0]["args"] == {"city": city}
        assert (await client.threads.get(thread_id))["status"] == "interrupted"
        if kill:
            await application.restart()
            client = application.client()
        values = await client.runs.wait(thread_id, "weather", command=APPROVED)
        seen.append((values["structured_response"], values["before"]))
    assert seen == [
        ({"city": "Oslo", "degrees": 4}, "nothing"),
        ({"city": "Bergen", "degrees": 6}, "Oslo, 5"),
        ({"city": "Bodo", "degrees": 4}, "Bergen, 7"),
    ]
    streamed = client.runs.stream(thread_id, "weather", input={"messages": "Moss"}, stream_mode=["updates", "messages"])
    parts = [part async for part in streamed]
    assert "__interrupt__" in [name for part in parts if part.event == "updates" for name in part.data]
    history = await client.threads.get_history(thread_id, limit=100)
    assert len(history) > 20


# For `langgraph dev`, `api` and `graph` are this checkout's own packages, which it finds first.
@pytest.mark.parametrize("serve", [THREADLINE], indirect=True)
async def test_map_over_jobs_and_functional_api_in_folders_that_are_called_as_ours(serve: Serve) -> None:
    application = serve("workflow")
    client = application.client()
    threads = {name: (await client.threads.create())["thread_id"] for name in ("jobs", "jobs_by_path", "essay")}
    essay = threads.pop("essay")
    for graph_id, thread_id in threads.items():
        await client.runs.wait(thread_id, graph_id, input={"names": ["a", "b"]})
    asked: Any = await client.runs.wait(essay, "essay", input={"topic": "rain"})
    assert asked["__interrupt__"][0]["value"] == {"read": "on RAIN"}
    await application.restart()
    client = application.client()
    waiting = {graph_id: await _waiting(client, thread_id) for graph_id, thread_id in threads.items()}
    for graph_id, thread_id in threads.items():
        assert set(waiting[graph_id]) == {"do a?", "do b?"}
        await client.runs.wait(thread_id, graph_id, command={"resume": {waiting[graph_id]["do b?"]: "yes"}})
    await application.restart()
    client = application.client()
    for graph_id, thread_id in threads.items():
        resumed = client.runs.wait(thread_id, graph_id, command={"resume": {waiting[graph_id]["do a?"]: "no"}})
        values: Any = await resumed
        assert values["done"] == ["A: no", "B: yes"]
        assert values["plan"] == [{"name": "a"}, {"name": "b"}]
        await client.runs.wait(thread_id, graph_id, input={"names": ["c"]})
        values = await client.runs.wait(thread_id, graph_id, command={"resume": "yes"})
        assert values["done"] == ["A: no", "B: yes", "C: yes"]
    values = await client.runs.wait(essay, "essay", command={"resume": "good"})
    assert values == {"essay": "on RAIN", "opinion": "good", "kept": ["on RAIN: good"]}
    await client.runs.wait(essay, "essay", input={"topic": "snow"})
    values = await client.runs.wait(essay, "essay", command={"resume": "bad"})
    assert values == {"essay": "on SNOW", "opinion": "bad", "kept": ["on RAIN: good", "on SNOW: bad"]}


async def _waiting(client: LangGraphClient, thread_id: str) -> dict[str, str]:
    """What a thread asks, and the ids by which it is answered."""
    state = await client.threads.get_state(thread_id)
    return {task["interrupts"][0]["value"]: task["interrupts"][0]["id"] for task in state["tasks"]}


async def test_app_users_and_a_factory_that_knows_who_asks(serve: Serve) -> None:
    application = serve("web")
    assert application.get("/pool").status_code == 401
    pool = application.get("/pool", "ada")
    assert pool.json() == {"opened": ["pool"], "for": "ada"}
    assert pool.headers["x-project"] == application.get("/info", "ada").headers["x-project"] == "web"
    ada, bob = application.client("ada"), application.client("bob")
    thread_id = (await ada.threads.create())["thread_id"]
    for turn, name in enumerate(("one", "two"), 1):
        asked = await ada.runs.wait(thread_id, "greeter", input={"name": name})
        assert asked["__interrupt__"][0]["value"] == "how?"
        if turn == 1:
            await application.restart()
        ada, bob = application.client("ada"), application.client("bob")
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await bob.runs.wait(thread_id, "greeter", command={"resume": "badly"})
        assert refused.value.response.status_code == 404
        values = await ada.runs.wait(thread_id, "greeter", command={"resume": "well"})
        assert values["said"] == f"hello {name} from ada, well, with ['pool']"
        assert values["calls"] == turn
    assert (await ada.threads.get_state(thread_id))["values"]["calls"] == 2
    assert len((await ada.assistants.get_graph("greeter"))["nodes"]) == 3
    with pytest.raises(APIStatusError) as absent:
        await ada.store.put_item(("a",), "k", {"v": 1})
    assert absent.value.response.status_code == 404
