"""Stock clients against a server that asks who they are: API keys and headers go through them as they are."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import errors, get_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.settings import Settings
from tests.serving import serving

SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
NOT_FOUND = (errors.NotFoundError, httpx.HTTPStatusError)
"""The SDK has one for requests and another for streams."""
YEARLY = "0 0 1 1 *"


@pytest.fixture(params=["auth.path", "api keys"])
async def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A server's URL, and what clients of two tenants are made with."""
    document: dict[str, Any] = {"graphs": {"chat": "tests.api.graphs:chat"}}
    if request.param == "auth.path":
        document["auth"] = {"path": "tests.api.tenants:auth"}
    (tmp_path / "langgraph.json").write_text(json.dumps(document))
    settings = Settings(config=tmp_path / "langgraph.json")
    options: list[dict[str, Any]]
    if request.param == "auth.path":
        options = [{"headers": {"authorization": f"Bearer tenant-{name}"}, "api_key": None} for name in "ab"]
    else:
        settings = Settings(config=tmp_path / "langgraph.json", api_keys="a:the-key-of-a,b:the-key-of-b")
        options = [{"api_key": f"the-key-of-{name}"} for name in "ab"]
    async with serving(create_app(settings)) as url:
        yield url, options


@pytest.fixture
async def clients(tenants: Any) -> AsyncIterator[list[LangGraphClient]]:
    """langgraph_sdk, for each tenant."""
    url, options = tenants
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(get_client(url=url, **each)) for each in options]


async def test_threads_and_streams_are_each_tenants_own(clients: list[LangGraphClient]) -> None:
    a, b = clients
    thread = (await a.threads.create())["thread_id"]
    events = [part async for part in a.runs.stream(thread, "chat", input=SAID, stream_resumable=True)]
    assert [part.event for part in events] == ["metadata", "values", "values"]
    run_id = events[0].data["run_id"]
    assert [part.event async for part in a.runs.join_stream(thread, run_id)] == [part.event for part in events]
    assert len(await a.threads.search()) == 1
    assert await b.threads.search() == []
    for call in (
        b.threads.get(thread),
        b.threads.get_state(thread),
        b.runs.get(thread, run_id),
        b.runs.wait(thread, "chat", input=SAID),
        b.runs.cancel(thread, run_id),
        b.threads.delete(thread),
    ):
        with pytest.raises(NOT_FOUND):
            await call
    with pytest.raises(NOT_FOUND):
        assert not [part async for part in b.runs.join_stream(thread, run_id)]


async def test_store_crons_and_assistants_are_each_tenants_own(clients: list[LangGraphClient]) -> None:
    a, b = clients
    await a.store.put_item(["notes"], "one", {"text": "of a"})
    await b.store.put_item(["notes"], "one", {"text": "of b"})
    assert (await a.store.get_item(["notes"], "one"))["value"] == {"text": "of a"}
    found = await b.store.search_items(["notes"])
    assert [item["value"] for item in found["items"]] == [{"text": "of b"}]
    assistant = (await a.assistants.create("chat"))["assistant_id"]
    cron = await a.crons.create(assistant, schedule=YEARLY)
    assert len(await a.crons.search()) == 1
    assert await b.crons.search() == []
    assert await a.assistants.count() == 2
    assert await b.assistants.count() == 1
    with pytest.raises(NOT_FOUND):
        await b.crons.delete(cron["cron_id"])
    with pytest.raises(NOT_FOUND):
        await b.runs.wait(None, assistant, input=SAID)


async def test_remote_graph(clients: list[LangGraphClient]) -> None:
    values = await RemoteGraph("chat", client=clients[0]).ainvoke(SAID)
    assert values["messages"][-1]["content"] == "Hello, this is turn 1."


async def test_strangers_are_told_so(tenants: Any) -> None:
    url, _ = tenants
    async with get_client(url=url, api_key="nobodys") as stranger:
        with pytest.raises(errors.AuthenticationError):
            await stranger.threads.search()
