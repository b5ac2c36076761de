"""What a run that is taken up again says, when all that was missing was its end."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from api.app import Threadline
from api.errors import FencedError
from api.events import Event
from api.protocols.native import AgentRequest
from api.serde import loads
from api.settings import Settings
from api.storage.sqlite import SqliteStorage


async def _events(threadline: Threadline, run_id: str, after: int = 0) -> list[Event]:
    return [event async for batch in threadline.runs.follow(run_id, after) for event in batch]


async def test_answer_that_is_in_the_last_checkpoint_is_told_again(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"agent": "graph.agent:graph"}}))
    async with Threadline(Settings(config=config)) as threadline:
        request = await threadline.agents.request("agent", AgentRequest(input="What is (3 + 4) * 5?"))
        run = await threadline.runs.create(request)
        first = await _events(threadline, run.run_id)
    answers = [loads(event.data) for event in first if event.kind == "answer"]
    assert answers[0]["tools_used"]

    async with Threadline(Settings(config=config)) as threadline:
        # As if the process had died before it wrote how the run ended.
        storage: Any = threadline.storage
        assert isinstance(storage, SqliteStorage)
        await storage.database.write(lambda db: db.execute("UPDATE runs SET status = 'pending'").rowcount)
        storage.queue.changed(b"c")
        storage.log.forget([run.run_id])
        again = await _events(threadline, run.run_id, len(first))

    assert [event.seq for event in again] == list(range(len(first) + 1, len(first) + 1 + len(again)))
    kinds = [event.kind for event in again]
    assert (kinds[0], kinds[-2:]) == ("run", ["answer", "end"])
    assert loads(again[0].data)["attempt"] == 2
    told = loads(again[-2].data)
    assert (told["answer"], told["tools_used"]) == (answers[0]["answer"], answers[0]["tools_used"])
    assert "".join(loads(event.data)["text"] for event in again if event.kind == "token") == told["answer"]


async def test_checkpoint_of_an_attempt_that_was_replaced_is_refused(config: Path) -> None:
    async with Threadline(Settings(config=config)) as threadline:
        checkpointer = threadline.registry.checkpointer
        assert checkpointer is not None

        async def put(run_id: str, attempt: int) -> None:
            place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            metadata: Any = {
                "run_id": run_id,
                "source": "loop",
                "step": 1,
                **({"run_attempt": attempt} if attempt else {}),
            }
            await checkpointer.aput(place, empty_checkpoint(), metadata, {})

        await put("one", 0)
        await put("one", 2)
        with pytest.raises(FencedError):
            await put("one", 0)
        await put("one", 3)
        await put("two", 0)
