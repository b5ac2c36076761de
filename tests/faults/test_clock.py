"""A clock that is set over a restart: what was acknowledged before it is there after it."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.faults.clock import MISSING, library
from tests.faults.server import Project, Server

pytestmark = pytest.mark.skipif(library() is None, reason=MISSING)


@contextlib.asynccontextmanager
async def _restarted(server: Server, project: Project, clock: float) -> AsyncIterator[httpx.AsyncClient]:
    await server.kill()
    project.clock = clock
    await server.start()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


async def _turn(client: httpx.AsyncClient, thread_id: str, marker: str) -> None:
    order = {"marker": marker, "steps": 1, "pause": 0, "do": ""}
    body = {"input": {"messages": [["user", json.dumps(order)]]}, "assistant_id": "faults"}
    response = await client.post(f"/threads/{thread_id}/runs/wait", json=body)
    assert response.status_code == 200, response.text


async def test_turns_are_all_there_wherever_the_clock_is_set(tmp_path: Path) -> None:
    project = Project(tmp_path)
    server = Server(project)
    try:
        for number, clock in enumerate((0, -45, 7200)):
            async with _restarted(server, project, clock) as client:
                if not number:
                    thread_id = (await client.post("/threads", json={})).json()["thread_id"]
                await _turn(client, thread_id, f"turn {number}")
                state = (await client.get(f"/threads/{thread_id}/state")).json()
                said = [each["content"] for each in state["values"]["messages"] if each["type"] == "ai"]
                assert [text for text in said if text] == [f"closed turn {each}" for each in range(number + 1)]
                history = (await client.post(f"/threads/{thread_id}/history", json={"limit": 100})).json()
                lengths = [len(each["values"].get("messages", [])) for each in history]
                assert lengths == sorted(lengths, reverse=True)
                record = (await client.get(f"/threads/{thread_id}")).json()
                assert record["values"] == state["values"]
    finally:
        await server.kill()
