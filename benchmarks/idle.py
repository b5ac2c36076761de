"""1,000 open streams in which nothing happens: what they take in memory, and what other requests notice of them.

Each is a run of its own that waits in a node. It says so in its first event, and ends when it is cancelled.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes, scripted
from benchmarks.figures import Figure, percentile
from benchmarks.load import Connection, Exchange, LoadError, closed_loop, connections, payloads, request, together
from benchmarks.processes import Server

_AT_ONCE = 64
_MIB = 1 << 20
_HEARTBEATS = 2.0
"""Seconds between heartbeats: more often than by default, so that the probes meet some of every stream."""
_PROBING = 2.5
"""Seconds of requests, one after the other."""


@dataclass(frozen=True, slots=True)
class _Idle:
    """What was measured at one server. Times are ms, memory is MiB."""

    p99_before: float
    p99_while: float
    more_memory: float


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of idle streams.

    Args:
        folder: for what the service stores.
        quick: a quarter of the streams, held to a quarter of the memory.
    """
    streams = 250 if quick else 1_000
    settings = {"max_concurrent_runs": str(2 * streams), "heartbeat_interval": str(_HEARTBEATS)}
    config = scripted.write_config(folder)
    async with processes.all_running(processes.service(config, settings), processes.bare()) as servers:
        ours, bare = [await _measure(server, streams, cancels=server is servers[0]) for server in servers]
    idle = f"{streams:,} idle streams"
    return [
        Figure.at_most(f"memory of {idle}", "MiB", ours.more_memory, 150 * streams / 1000, bare.more_memory),
        Figure("p99 of GET /ok before", "ms", ours.p99_before, bare.p99_before),
        Figure.at_most(f"p99 of GET /ok with {idle}", "ms", ours.p99_while, ours.p99_before + 1, bare.p99_while),
    ]


async def _measure(server: Server, streams: int, *, cancels: bool) -> _Idle:
    # The memory that the first streams of a process take stays with it.
    async with _held(server, _AT_ONCE, cancels=cancels):
        pass
    p99_before, memory = await _p99(server), server.resident_bytes()
    async with _held(server, streams, cancels=cancels):
        p99_while, held = await _p99(server), server.resident_bytes()
    return _Idle(p99_before, p99_while, (held - memory) / _MIB)


@asynccontextmanager
async def _held(server: Server, count: int, *, cancels: bool) -> AsyncIterator[None]:
    """Opens streams, a few at a time, and ends them afterwards."""
    opening = request("POST", "/agents/waiting/stream", {"input": "Wait."})
    async with connections(server.port, count) as opened:
        exchanges: list[Exchange] = []
        for first in range(0, count, _AT_ONCE):
            batch = [_open(connection, opening) for connection in opened[first : first + _AT_ONCE]]
            await asyncio.gather(*(exchange.marked for exchange in batch))
            exchanges += batch
        yield
        if cancels:
            await _cancel(server, exchanges)


def _open(connection: Connection, opening: bytes) -> Exchange:
    return connection.send(opening, scripted.WAITS)


async def _p99(server: Server) -> float:
    done = await closed_loop(server.port, request("GET", "/ok"), clients=1, seconds=_PROBING)
    return 1e3 * percentile([each.ended_at - each.sent_at for each in done.exchanges], 99)


async def _cancel(server: Server, exchanges: list[Exchange]) -> None:
    """Cancels every run and sees its stream to the end."""
    left = iter(exchanges)

    async def cancel(connection: Connection) -> None:
        for exchange in left:
            location = exchange.header("content-location").rpartition("/")
            run = f"{location[0].removesuffix('/stream')}/runs/{location[2]}"
            await connection.exchange(request("POST", f"{run}/cancel"))
            await exchange.ended
            *_, (last, data) = payloads(exchange.body())
            if (last, data) != ("end", {"status": "interrupted"}):
                raise LoadError(f"a cancelled stream ended with {last} {data}")

    async with connections(server.port, 8) as cancelling:
        await together(cancel(connection) for connection in cancelling)
