"""Joining a finished run of 10,000 events, beside the same bytes out of the memory of the bare server."""

import statistics
from pathlib import Path

from benchmarks import bare, processes, scripted
from benchmarks.figures import Figure
from benchmarks.load import Exchange, LoadError, Round, closed_loop, connections, payloads, request
from benchmarks.processes import Server

_SHARE = 0.1
"""Of the bare server's bytes in a second: it sends one buffer, the service ten pages out of its database."""


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of a join.

    Args:
        folder: for what the service stores.
        quick: fewer joins.
    """
    config, static = scripted.write_config(folder), folder / "static"
    joins, rounds = (4, 2) if quick else (8, 5)
    async with processes.running(*processes.service(config)) as server:
        path = await _finished_run(server)
        warm = await _join(server, path, 1)
    body = warm.exchanges[0].body()
    events = sum(1 for _ in payloads(body))
    static.write_bytes(body)
    beside = processes.bare({bare.STATIC_FILE: str(static)})
    async with processes.all_running(processes.service(config), beside) as servers:
        joined, read = [], []
        for _ in range(rounds):
            joined.append(_rate(await _join(servers[0], path, joins), body))
            read.append(_rate(await _join(servers[1], "/static", joins), body))
    ours_rate, bare_rate = statistics.median(joined), statistics.median(read)
    million = len(body) / 1e6
    return [
        Figure.at_least(
            f"join of {events:,} finished events", "MB/s", ours_rate * million, bare_rate * million, _SHARE
        ),
        Figure(f"join of {events:,} finished events", "1/s", ours_rate * events, bare_rate * events),
        Figure.at_most(f"join of {events:,} finished events, time", "ms", 1e3 / ours_rate, 100, 1e3 / bare_rate),
    ]


async def _finished_run(server: Server) -> str:
    """Makes the run and returns where it can be followed."""
    async with connections(server.port, 1) as (connection,):
        opening = request("POST", "/agents/endless/stream", {"input": "What is kept?"})
        exchange: Exchange = await connection.exchange(opening, scripted.FIRST_TOKEN)
        return exchange.header("content-location")


async def _join(server: Server, path: str, count: int) -> Round:
    return await closed_loop(server.port, request("GET", path, accept="text/event-stream"), clients=1, count=count)


def _rate(done: Round, body: bytes) -> float:
    if any(exchange.body() != body for exchange in done.exchanges):
        raise LoadError("a join differs from the one before")
    return done.per_second
