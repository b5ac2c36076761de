"""The worker: a cancel is never lost, wherever the run is when it comes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.app import Threadline
from api.protocols.native import AgentRequest
from api.settings import Settings


@pytest.mark.parametrize("turns", range(16))
async def test_run_is_cancelled_at_any_turn_of_the_loop_after_its_creation(config: Path, turns: int) -> None:
    async with Threadline(Settings(config=config, lease_seconds=3600)) as threadline:
        for _ in range(4):
            run = await threadline.runs.create(await threadline.agents.request("gated", AgentRequest(input="hold")))
            for _ in range(turns):
                await asyncio.sleep(0)
            await threadline.runs.cancel_if_active(run.run_id)
            async with asyncio.timeout(20):
                events = [event async for batch in threadline.runs.follow(run.run_id) for event in batch]
            assert events[-1].kind == "end"
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert (await threadline.storage.records.active_runs(run.thread_id)) == []


async def test_cancel_while_a_run_is_being_ended_does_not_cut_its_end(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Threadline(Settings(config=config)) as threadline:
        ending, told = asyncio.Event(), asyncio.Event()
        finish = threadline.storage.queue.finish

        async def finish_when_cancelled(*args: Any, **named: Any) -> None:
            ending.set()
            await told.wait()
            await finish(*args, **named)

        monkeypatch.setattr(threadline.storage.queue, "finish", finish_when_cancelled)
        run = await threadline.runs.create(await threadline.agents.request("chat", AgentRequest(input="hi")))
        await ending.wait()
        await threadline.runs.cancel(run.run_id)
        told.set()
        async with asyncio.timeout(20):
            kinds = [event.kind async for batch in threadline.runs.follow(run.run_id) for event in batch]
        assert kinds[-2:] == ["answer", "end"]
        assert (await threadline.runs.get(run.run_id)).attempt == 1
