"""From the command `threadline serve` to the shipped agent's first answer."""

import statistics
import time
from pathlib import Path

from benchmarks import processes
from benchmarks.figures import Figure
from benchmarks.load import LoadError, connections, payloads, request

_LIMIT_SECONDS = 3


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of a cold start.

    Args:
        folder: for what the service stores, anew each time.
        quick: one start in place of three.
    """
    starts = [await _start(folder / str(index)) for index in range(1 if quick else 3)]
    return [Figure.at_most("cold start to the first answer", "s", statistics.median(starts), _LIMIT_SECONDS)]


async def _start(data: Path) -> float:
    config = processes.ROOT / "langgraph.json"
    asked = request("POST", "/agents/agent/stream", {"input": "What is (3 + 4) * 5 ** 2?"})
    started = time.perf_counter()
    async with (
        processes.running(*processes.service(config, {"data_dir": str(data)})) as server,
        connections(server.port, 1) as (connection,),
    ):
        exchange = await connection.exchange(asked)
    answers = [data["answer"] for name, data in payloads(exchange.body()) if name == "answer"]
    if len(answers) != 1 or "175" not in answers[0]:
        raise LoadError(f"the first answers were {answers}")
    return exchange.ended_at - started
