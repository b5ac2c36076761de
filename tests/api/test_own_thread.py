"""A graph that deletes the thread that it runs on, over HTTP: neither waits for the other for ever."""

import json
from pathlib import Path

import pytest

from tests.api.conftest import Serve
from tests.api.failing_graphs import DELETIONS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"deleting": "tests.api.failing_graphs:deleting"}}))
    return path


async def test_graph_that_deletes_its_own_thread_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.threads._END_SECONDS", 0.5)
    DELETIONS.clear()
    async with serve() as client:
        thread_id = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "deleting", "input": {"messages": [["user", str(client.base_url)]]}}
        await client.post(f"/threads/{thread_id}/runs/wait", json=body)
        assert DELETIONS == [409]
        runs = (await client.get(f"/threads/{thread_id}/runs")).json()
        assert [run["status"] for run in runs] == ["interrupted"]
        assert (await client.delete(f"/threads/{thread_id}")).status_code == 204
