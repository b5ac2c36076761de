"""The loop watch: a blocked event loop is found, with its stack and its run, once."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from api.app import Threadline
from api.protocols.native import AgentRequest
from api.settings import Settings

GRAPH = """
import time
from langgraph.graph import START, MessagesState, StateGraph

async def the_node_that_blocks(state):
    time.sleep(0.6)

graph = StateGraph(MessagesState).add_node(the_node_that_blocks).add_edge(START, "the_node_that_blocks")
"""


async def test_blocked_loop_is_reported_once_with_its_stack_and_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "blocking.py").write_text(GRAPH)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"blocking": "./blocking.py:graph"}}))
    settings = Settings(config=config, loop_stall_seconds=0.1)
    with caplog.at_level(logging.WARNING, "api.loop_watch"):
        async with Threadline(settings) as threadline:
            run = await threadline.runs.create(await threadline.agents.request("blocking", AgentRequest(input="hi")))
            async with asyncio.timeout(20):
                events = [event async for batch in threadline.runs.follow(run.run_id) for event in batch]
            assert events[-1].kind == "end"
            metrics = threadline.metrics.render().decode()
    told = [record.getMessage() for record in caplog.records if run.run_id in record.getMessage()]
    assert len(told) == 1
    assert "the_node_that_blocks" in told[0]
    assert "time.sleep(0.6)" in told[0]
    assert "threadline_event_loop_lag_seconds" in metrics
    assert "threadline-loop-watch" not in [thread.name for thread in threading.enumerate()]
