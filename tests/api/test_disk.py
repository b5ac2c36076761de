"""The agent's thread grows with the number of its turns, not with their square: counted in bytes."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from api.app import Threadline
from api.protocols.native import AgentRequest
from api.settings import Settings

TURNS = 60


def _bytes(data: Path) -> dict[str, int]:
    """What the rows of each file take, whatever the files themselves have in reserve."""
    sizes = {}
    for name in ("checkpoints.sqlite", "threadline.sqlite"):
        with contextlib.closing(sqlite3.connect(data / name)) as db:
            pages, free = (db.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count"))
            sizes[name] = (pages - free) * db.execute("PRAGMA page_size").fetchone()[0]
    return sizes


async def test_a_thread_of_the_agent_grows_in_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "graph.agent:graph"}}))
    thread_id: str | None = None
    sizes = []
    async with Threadline(Settings(config=config)) as threadline:
        for turn in range(TURNS):
            body = AgentRequest(input=f"What is {turn} + 1234?", thread_id=thread_id)
            run = await threadline.runs.create(await threadline.agents.request("agent", body))
            await threadline.runs.collect(run.run_id, ())
            thread_id = run.thread_id
            if turn + 1 in (TURNS // 2, TURNS):
                sizes.append(_bytes(tmp_path / ".threadline"))
        thread = await threadline.threads.get(run.thread_id)
        assert thread.values is not None
        assert thread.values.count(b'"type":"human"') == TURNS
    half, whole = sizes
    for name in half:
        assert whole[name] - half[name] <= 1.2 * half[name], (name, half, whole)
