"""Hostile clients beside an honest one: what readers who stall, crawl, or come and go take in memory and in time.

before ──> stalled readers ──> they are cut off ──> slow readers ──> connections opened and dropped ──> after

The honest client asks for `/ok` all along: its times are figures, and never a check.
"""

import asyncio
from pathlib import Path

import orjson

from benchmarks import processes, readers, scripted
from benchmarks.figures import Figure, percentile
from benchmarks.load import Connection, LoadError, closed_loop, connections, request
from benchmarks.processes import Server

_MIB = 1 << 20
_WRITE_TIMEOUT = 5.0
_PROBING = 1.5
"""Seconds of requests, one after the other."""
_NOTICED = 90.0
"""Seconds that the server may take to notice that clients are gone."""
_LONG_LOG = 8 * _MIB
_PAUSE = 0.01


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of hostile clients.

    Args:
        folder: for what the service stores.
        quick: a tenth of the clients.
    """
    share = 10 if quick else 1
    config = scripted.write_config(folder)
    settings = {"write_timeout": str(_WRITE_TIMEOUT), "heartbeat_interval": "1"}
    async with processes.running(*processes.service(config, settings)) as server:
        log = await _long_run(server)
        await readers.churn(server.port, _dropped(log), 2_000 // share, at_once=32)
        await _settled(server)
        before = await _p99(server)
        return [
            *await _stalled(server, log, 500 // share, before),
            *await _slow(server, log, 100 // share, before),
            *await _churn(server, log, 10_000 // share, before),
        ]


async def _stalled(server: Server, log: str, count: int, before: float) -> list[Figure]:
    memory = server.resident_bytes()
    async with readers.stalled(server.port, request("GET", log), count):
        while_stalled, held = await _p99(server), server.resident_bytes()
        # They are still there: only the server can end their streams.
        await _settled(server)
    return [
        Figure.at_most(f"memory of {count} stalled readers, each", "KiB", (held - memory) / 1024 / count, 512),
        Figure(f"p99 of GET /ok with {count} stalled readers, to that without", "x", while_stalled / before),
    ]


async def _slow(server: Server, log: str, count: int, before: float) -> list[Figure]:
    memory = server.resident_bytes()
    whole = request("GET", log).replace(b"accept:", b"connection: close\r\naccept:")
    reading = asyncio.gather(*(readers.slow(server.port, whole, pause=_PAUSE) for _ in range(count)))
    while_slow = await _p99(server)
    held = server.resident_bytes()
    received = await reading
    if len(set(received)) != 1:
        raise LoadError(f"slow readers of one log got {sorted(set(received))} bytes")
    return [
        Figure.at_most(f"memory of {count} slow readers, each", "KiB", (held - memory) / 1024 / count, 512),
        Figure(f"p99 of GET /ok with {count} slow readers, to that without", "x", while_slow / before),
    ]


async def _churn(server: Server, log: str, count: int, before: float) -> list[Figure]:
    dropping = asyncio.create_task(readers.churn(server.port, _dropped(log), count // 2, at_once=32))
    while_dropping = await _p99(server)
    await dropping
    await _settled(server)
    # What the allocator keeps from the first half is there for the second: what that one adds is lost.
    memory = server.resident_bytes()
    await readers.churn(server.port, _dropped(log), count // 2, at_once=32)
    await _settled(server)
    grown = (server.resident_bytes() - memory) / _MIB
    return [
        Figure.at_most(f"memory that the second half of {count:,} dropped connections adds", "MiB", grown, 8),
        Figure("p99 of GET /ok while connections are dropped, to that without", "x", while_dropping / before),
    ]


def _dropped(log: str) -> list[bytes]:
    """What the dropped connections send: nothing, half a head, half a body, and whole requests for streams."""
    run = {"assistant_id": "waiting", "input": {"messages": []}, "on_disconnect": "cancel"}
    body = request("POST", "/runs/stream", run)
    asks = request("GET", log)
    return [b"", asks[: len(asks) // 2], body[:-10], *[asks] * 16, body]


async def _long_run(server: Server) -> str:
    """Makes a run whose log is longer than all that the kernel keeps of a stream; the path of its stream."""
    message = {"role": "user", "content": "Go."}
    run = {"assistant_id": "long", "input": {"messages": [message]}, "stream_mode": "messages"}
    async with connections(server.port, 1) as (connection,):
        thread = orjson.loads((await connection.exchange(request("POST", "/threads", {}))).body())
        runs = f"/threads/{thread['thread_id']}/runs"
        await connection.exchange(request("POST", f"{runs}/wait", run))
        [made] = orjson.loads((await connection.exchange(request("GET", runs))).body())
        path = f"{runs}/{made['run_id']}/stream"
        length = (await connection.exchange(request("GET", path))).wire_bytes
    if length < _LONG_LOG:
        raise LoadError(f"the log has no more than {length} bytes")
    return path


async def _settled(server: Server) -> None:
    """Waits until no stream is open.

    Raises:
        LoadError: some stay.
    """
    try:
        async with asyncio.timeout(_NOTICED):
            async with connections(server.port, 1) as (connection,):
                while await _open_streams(connection):
                    pass
    except TimeoutError:
        raise LoadError(f"streams of clients that are gone are open after {_NOTICED:g} s") from None


async def _open_streams(connection: Connection) -> float:
    metrics = (await connection.exchange(request("GET", "/metrics"))).body()
    [line] = [line for line in metrics.splitlines() if line.startswith(b"threadline_open_streams ")]
    return float(line.split()[1])


async def _p99(server: Server) -> float:
    done = await closed_loop(server.port, request("GET", "/ok"), clients=1, seconds=_PROBING)
    return 1e3 * percentile([each.ended_at - each.sent_at for each in done.exchanges], 99)
