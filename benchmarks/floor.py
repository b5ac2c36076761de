"""The floor: the scripted agent in a process of its own, with no HTTP at all.

`python -m benchmarks.floor RUNS CHECKPOINTS` prints one JSON object: what the runs took as they are, and what they took
with their threads in the file for checkpoints, as the service keeps them.
"""

import sys
import time
import uuid
from pathlib import Path
from typing import Any

import aiosqlite
import orjson
import uvloop
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks import scripted

_MODES = ["messages", "updates", "custom", "values"]


async def _stream(graph: Any) -> int:
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4())}}
    tokens = 0
    async for mode, payload in graph.astream({"messages": "Go."}, config, stream_mode=_MODES):
        if mode == "messages" and isinstance(chunk := payload[0], AIMessageChunk) and chunk.text:
            tokens += 1
    return tokens


async def _measure(graph: Any, runs: int) -> dict[str, float]:
    await _stream(graph)
    started, cpu = time.perf_counter(), time.process_time()
    tokens = sum([await _stream(graph) for _ in range(runs)])
    return {"tokens": tokens, "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


async def _main(runs: int, checkpoints: Path) -> dict[str, dict[str, float]]:
    async with aiosqlite.connect(checkpoints) as connection:
        # As the service sets it: no commit waits for the disk.
        await connection.execute("PRAGMA synchronous=NORMAL")
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        return {
            "bare": await _measure(scripted.answer, runs),
            "checkpointed": await _measure(scripted.answer.copy(update={"checkpointer": saver}), runs),
        }


def main(arguments: list[str]) -> None:
    """Measures and prints `{"bare": {"tokens", "seconds", "cpu"}, "checkpointed": ...}`; times are seconds."""
    runs, checkpoints = arguments
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_main(int(runs), Path(checkpoints)))))


if __name__ == "__main__":
    main(sys.argv[1:])
