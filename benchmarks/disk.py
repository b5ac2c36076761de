"""What a thread of 200 turns, a question and an answer each, takes on disk, and whether it grows in line."""

from pathlib import Path

import orjson

from benchmarks import processes, scripted
from benchmarks.figures import Figure
from benchmarks.load import Connection, LoadError, connections, request

_TURNS = 200
_MB = 1e6
_LIMIT_MB = 1.5
_LINEAR = 1.1
_CHECKPOINTS = "checkpoints.sqlite"


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of a thread's disk.

    Args:
        folder: for what the service stores.
        quick: makes no difference: the figures depend on the number of turns.
    """
    config, stored = scripted.write_config(folder), folder / ".threadline"
    body = {"input": "What is kept of a run, and who reads it?"}
    sizes = []
    for _ in range(2):
        # A server that has ended has nothing left in its write-ahead log.
        async with (
            processes.running(*processes.service(config)) as server,
            connections(server.port, 1) as (connection,),
        ):
            for _ in range(_TURNS // 2):
                body["thread_id"] = await _turn(connection, body)
        sizes.append((_size(stored), _size(stored, _CHECKPOINTS)))
    (half, half_checkpoints), (whole, checkpoints) = sizes
    of = f"disk of a {_TURNS}-turn thread"
    growth = "second half of the turns to the first"
    return [
        Figure.at_most(f"{of}, checkpoints", "MB", checkpoints / _MB, _LIMIT_MB),
        Figure(f"{of}, with records and events", "MB", whole / _MB),
        Figure.at_most(f"growth of checkpoints, {growth}", "x", checkpoints / half_checkpoints - 1, _LINEAR),
        Figure.at_most(f"growth of all, {growth}", "x", whole / half - 1, _LINEAR),
    ]


async def _turn(connection: Connection, body: dict[str, str]) -> str:
    exchange = await connection.exchange(request("POST", "/agents/turns/invoke", body))
    result = orjson.loads(exchange.body())
    if result["answer"] != "".join(scripted.answer_tokens(scripted.TURN_TOKENS)):
        raise LoadError(f"a turn gave {result}")
    return str(result["thread_id"])


def _size(folder: Path, prefix: str = "") -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name.startswith(prefix))
