"""What a graph wrote comes back as what it was: after a kill, an interrupt, and on the next turn."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.server import Project, Server

FILES = Path(__file__).parent / "project_of_classes"


@pytest.fixture
async def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    shutil.copytree(FILES, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    document = {"dependencies": ["./src"], "graphs": {"classes": "./src/agent.py:graph"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(document))
    project.environment |= {"CRASHED": str(tmp_path / "crashed"), "PYTHONDONTWRITEBYTECODE": "1"}
    return project


@pytest.fixture
async def server(project: Project) -> AsyncIterator[Server]:
    server = Server(project)
    await server.start()
    yield server
    await server.kill()


async def _run(client: httpx.AsyncClient, thread: str, **body: Any) -> Any:
    answer = await client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "classes", **body})
    return answer.json()


async def _restarted(server: Server) -> None:
    await server.kill()
    await server.start()


async def test_all_kinds_survive_everything(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "classes", "input": {"plan": {}}}
        run = (await client.post(f"/threads/{thread}/runs", json=body)).json()["run_id"]
        await server.ended()  # the graph has seen to that
        await server.start()
        await client.get(f"/threads/{thread}/runs/{run}/join")
        interrupts = (await client.get(f"/threads/{thread}/state")).json()["interrupts"]
        assert [each["value"] for each in interrupts] == [{"text": "go on?"}]
        await _restarted(server)
        await _run(client, thread, command={"resume": "yes"})
        await _restarted(server)
        await _run(client, thread, command={"resume": {"n": 1}})
        await _restarted(server)
        values = await _run(client, thread, input={"report": []})
        assert values["report"] == [
            {"after a crash": []},
            {"after an interrupt": [], "answer": "yes"},
            {"sent": "jk", "answer": {"n": 1}},
            {"next turn": []},
        ]
        assert values["plan"]["secret"] == "**********"
        assert values["plan"]["plain"][3] == "/w=="
