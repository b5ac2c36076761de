"""Runs the service for thousands of runs, and prints what they leave: memory, disk, files, before and after the sweep.

python -m benchmarks.soak [--runs 10000] [--threads 100] [--set NAME=VALUE ...]

runs, stateless and threaded in turn ──> a row every tenth ──> threads are deleted ──> a row ──> as many runs again ...

The second half is to be as the first: what is deleted is to make room for what comes. `--set` gives the service a
setting, as `--set events_ttl=60` does, for what it sweeps by itself.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from benchmarks import processes, scripted
from benchmarks.load import Connection, LoadError, connections, request, together
from benchmarks.processes import Server

_CLIENTS = 8
_ROWS = 10
_MIB = 1 << 20
_SETTLE_SECONDS = 60.0
_MAX_GROWTH = 1.15
"""Of memory and disk from the end of the first half to the end of the second."""
_HEADINGS = f"{'runs':>8}  {'seconds':>8}  {'runs/s':>7}  {'memory, MiB':>11}  {'disk, MiB':>9}  {'files':>5}  "


@dataclass(frozen=True, slots=True)
class Row:
    """The server at one moment."""

    runs: int
    seconds: float
    memory: float
    disk: float
    files: int
    event: str

    def __str__(self) -> str:
        rate = self.runs / self.seconds if self.seconds else 0
        return (
            f"{self.runs:>8,}  {self.seconds:>8.1f}  {rate:>7.0f}  {self.memory:>11.1f}  {self.disk:>9.2f}  "
            f"{self.files:>5}  {self.event}"
        )


class Soak:
    """Makes the runs, and watches the server.

    Args:
        server: the server.
        stored: the folder of its data.
        threads: how many threads the threaded runs share.
    """

    def __init__(self, server: Server, stored: Path, threads: int) -> None:
        self.rows: list[Row] = []
        self._server = server
        self._stored = stored
        self._threads = threads
        self._began = time.perf_counter()
        self._runs = 0

    async def half(self, runs: int) -> Row:
        """Makes so many runs, deletes their threads, and waits until nothing is under way.

        Raises:
            LoadError: a run failed, or something of it is left.
        """
        threads = await self._new_threads()
        for share in _shares(runs):
            await self._make(share, threads)
            self.note("")
        async with connections(self._server.port, 1) as (connection,):
            await connection.exchange(request("POST", "/threads/prune", {"thread_ids": threads}))
            await self._settle(connection)
        return self.note("swept")

    def note(self, event: str) -> Row:
        """Prints a row."""
        memory = self._server.resident_bytes() / _MIB
        disk = sum(path.stat().st_size for path in self._stored.rglob("*") if path.is_file()) / _MIB
        files = len(list(Path(f"/proc/{self._server.pid}/fd").iterdir()))
        row = Row(self._runs, time.perf_counter() - self._began, memory, disk, files, event)
        self.rows.append(row)
        print(row, flush=True)
        return row

    async def _new_threads(self) -> list[str]:
        async with connections(self._server.port, 1) as (connection,):
            made = [await connection.exchange(request("POST", "/threads", {})) for _ in range(self._threads)]
        return [orjson.loads(exchange.body())["thread_id"] for exchange in made]

    async def _make(self, runs: int, threads: list[str]) -> None:
        left = iter(range(runs))
        free = itertools.cycle(threads)

        async def client(connection: Connection) -> None:
            for number in left:
                await self._run(connection, None if number % 2 else next(free))
                self._runs += 1

        async with connections(self._server.port, _CLIENTS) as opened:
            await together(client(connection) for connection in opened)

    async def _run(self, connection: Connection, thread: str | None) -> None:
        body = {"assistant_id": "turns", "input": {"messages": [{"role": "user", "content": "What is kept?"}]}}
        path = "/runs/wait" if thread is None else f"/threads/{thread}/runs/stream"
        exchange = await connection.exchange(request("POST", path, body))
        if "".join(scripted.answer_tokens(scripted.TURN_TOKENS)).encode() not in exchange.body():
            raise LoadError(f"a run gave {exchange.body()[:500]!r}")

    async def _settle(self, connection: Connection) -> None:
        """Waits until no thread is left: those of stateless runs go by themselves."""
        count = request("POST", "/threads/count", {})
        left = -1
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                while left := int((await connection.exchange(count)).body()):  # noqa: ASYNC110  # its own time decides
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise LoadError(f"{left} threads are left after {_SETTLE_SECONDS:g} s") from None


def _shares(runs: int) -> list[int]:
    marks = [round(runs * number / _ROWS) for number in range(_ROWS + 1)]
    return [end - begin for begin, end in itertools.pairwise(marks) if end > begin]


def growth(first: Row, second: Row) -> list[str]:
    """What grew from the end of the first half to the end of the second by more than it may."""
    figures = {
        "memory": (first.memory, second.memory),
        "disk": (first.disk, second.disk),
        "files": (first.files, second.files),
    }
    return [
        f"{name} grew from {before:.1f} to {after:.1f}"
        for name, (before, after) in figures.items()
        if after > before * _MAX_GROWTH
    ]


async def soak(folder: Path, *, runs: int, threads: int, settings: dict[str, str]) -> list[str]:
    """Runs both halves; what grew.

    Raises:
        LoadError: a run failed, or something of it is left.
    """
    config, stored = scripted.write_config(folder), folder / ".threadline"
    print(_HEADINGS)
    async with processes.running(*processes.service(config, settings)) as server:
        watched = Soak(server, stored, threads)
        watched.note("start")
        first = await watched.half(runs - runs // 2)
        second = await watched.half(runs // 2)
    return growth(first, second)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak; returns the exit code.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Many runs, and what they leave.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=100, help="that the threaded half of the runs shares")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the service")
    options = parser.parse_args(arguments)
    settings = dict(pair.split("=", 1) for pair in options.set)
    with tempfile.TemporaryDirectory(prefix="threadline-") as folder:
        try:
            grown = uvloop.run(soak(Path(folder), runs=options.runs, threads=options.threads, settings=settings))
        except LoadError as error:
            grown = [str(error)]
    print("\n".join(grown) or "flat: the second half left no more than the first")
    return 1 if grown else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
