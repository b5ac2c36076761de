"""Beside `langgraph dev`, with ten jobs a worker: the same requests of the LangGraph API at both, and the bare server.

Both keep a thread for each run. `langgraph dev` keeps it in memory, and writes it to disk when it ends.
"""

import asyncio
import contextlib
import socket
import statistics
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import orjson

from benchmarks import processes, scripted
from benchmarks.figures import Figure, percentile
from benchmarks.load import HOST, Connection, LoadError, Round, closed_loop, connections, request
from benchmarks.processes import Server, Start

_CLIENTS = (1, 16, 64)
_SHARE = 0.8
_TOKEN = b'"content":"Threadline"'
_TURNS = 200
_LISTEN_SECONDS = 60.0


async def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Figures of runs, of a join and of a long thread.

    Args:
        folder: for what the servers store.
        quick: fewer runs.
    """
    config = scripted.write_config(folder)
    peer_folder = folder / "peer"
    peer_folder.mkdir()
    starts = (processes.service(config), processes.bare(), _langgraph_dev(config, peer_folder))
    async with processes.all_running(*starts) as servers:
        ours, bare, peer = servers
        await _until_listening(peer)
        streams = [figure async for figure in _streams(ours, bare, peer, seconds=2.0 if quick else 5.0)]
        joins = [await _join(server, count=3 if quick else 10) for server in (ours, peer)]
        threads = [await _long_thread(server, turns=3 if quick else 10) for server in (ours, peer)]
    disk = (_size(folder / ".threadline", "checkpoints"), _size(peer_folder))
    return [*streams, *_joined(joins), *_grown(threads, disk)]


def _langgraph_dev(config: Path, folder: Path) -> Start:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--config", str(config), "--no-browser"]
    options = ["--no-reload", "--host", HOST, "--port", str(port), "--n-jobs-per-worker", "10"]
    return [*command, *options], {"LANGSMITH_TRACING": "false"}, folder


async def _until_listening(server: Server) -> None:
    """It names its port before it listens there."""
    async with asyncio.timeout(_LISTEN_SECONDS):
        while True:
            with contextlib.suppress(OSError, LoadError):
                async with connections(server.port, 1) as (connection,):
                    await connection.exchange(request("GET", "/ok"))
                    return
            await asyncio.sleep(0.1)


def _run_request() -> bytes:
    """A run on a thread of its own, streamed as chat clients stream it."""
    body = {"assistant_id": "answer", "input": _input(), "stream_mode": ["messages-tuple"], "if_not_exists": "create"}
    return request("POST", f"/threads/{uuid.uuid4()}/runs/stream", body)


def _input() -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "What is kept?"}]}


async def _streams(ours: Server, bare: Server, peer: Server, *, seconds: float) -> AsyncIterator[Figure]:
    native = request("POST", "/agents/answer/stream", {"input": "What is kept?"}, accept="text/event-stream")
    for clients in _CLIENTS:
        rounds: list[Round] = []
        micros: list[float] = []
        for server, data, mark in (
            (ours, _run_request, _TOKEN),
            (bare, native, scripted.FIRST_TOKEN),
            (peer, _run_request, _TOKEN),
        ):
            before = server.cpu_seconds()
            done = await closed_loop(server.port, data, clients=clients, seconds=seconds, mark=mark)
            tokens = len(done.exchanges) * scripted.ANSWER_TOKENS
            micros.append(1e6 * (server.cpu_seconds() - before) / tokens)
            rounds.append(done)
        of = f"{clients} client{'s' if clients > 1 else ''}"
        if clients == 1:
            first = [1e3 * percentile([each.first_at - each.sent_at for each in done.exchanges], 50) for done in rounds]
            yield Figure("LangGraph API: time to first event, 1 client, p50", "ms", first[0], first[1], peer=first[2])
        rates = [done.per_second for done in rounds]
        yield Figure.at_least(f"LangGraph API: runs, {of}", "1/s", rates[0], rates[1], _SHARE, peer=rates[2])
        yield Figure(f"LangGraph API: CPU a token, {of}", "us", micros[0], micros[1], peer=micros[2])


async def _join(server: Server, *, count: int) -> float:
    """Milliseconds to join a finished run of 10,000 tokens."""
    thread_id = str(uuid.uuid4())
    body = {
        "assistant_id": "endless",
        "input": _input(),
        "stream_mode": ["messages-tuple"],
        "stream_resumable": True,
        "if_not_exists": "create",
    }
    async with connections(server.port, 1) as (connection,):
        made = await connection.exchange(request("POST", f"/threads/{thread_id}/runs/stream", body), _TOKEN)
        path = made.header("content-location") + "/stream"
        joining = request("GET", path).replace(b"accept: */*", b"accept: */*\r\nlast-event-id: -1")
        done = [await connection.exchange(joining, _TOKEN) for _ in range(count)]
    return statistics.median(1e3 * (each.ended_at - each.sent_at) for each in done)


def _joined(joins: Sequence[float]) -> Iterator[Figure]:
    ours, peer = joins
    yield Figure(f"LangGraph API: join of {scripted.ENDLESS_TOKENS:,} finished tokens", "ms", ours, peer=peer)


async def _long_thread(server: Server, *, turns: int) -> tuple[float, float]:
    """What a turn costs on a thread of 400 messages: milliseconds, and CPU milliseconds."""
    async with connections(server.port, 1) as (connection,):
        thread_id = await _thread(connection)
        body = {"assistant_id": "turns", "input": _input()}
        waiting = request("POST", f"/threads/{thread_id}/runs/wait", body)
        before = server.cpu_seconds()
        done = [await connection.exchange(waiting) for _ in range(turns)]
        cpu = server.cpu_seconds() - before
    return statistics.median(1e3 * (each.ended_at - each.sent_at) for each in done), 1e3 * cpu / turns


async def _thread(connection: Connection) -> str:
    """Makes a thread of 400 messages, a question and an answer at a time."""
    thread_id = str(uuid.uuid4())
    await connection.exchange(request("POST", "/threads", {"thread_id": thread_id, "metadata": {"graph_id": "turns"}}))
    answer = "".join(scripted.answer_tokens(scripted.TURN_TOKENS))
    turn = [{"role": "user", "content": "What is kept of a run, and who reads it?"}, {"role": "ai", "content": answer}]
    update = request("POST", f"/threads/{thread_id}/state", {"values": {"messages": turn}, "as_node": "final_answer"})
    for _ in range(_TURNS):
        await connection.exchange(update)
    state = orjson.loads((await connection.exchange(request("GET", f"/threads/{thread_id}/state"))).body())
    if len(state["values"]["messages"]) != 2 * _TURNS:
        raise LoadError(f"the thread has {len(state['values']['messages'])} messages")
    return thread_id


def _grown(threads: Sequence[tuple[float, float]], disk: tuple[int, int]) -> Iterator[Figure]:
    (ours, ours_cpu), (peer, peer_cpu) = threads
    of = f"thread of {2 * _TURNS} messages"
    yield Figure(f"{of}: a turn", "ms", ours, peer=peer)
    yield Figure(f"{of}: CPU a turn", "ms", ours_cpu, peer=peer_cpu)
    yield Figure("all threads of this benchmark on disk", "MB", disk[0] / 1e6, peer=disk[1] / 1e6)


def _size(folder: Path, prefix: str = "") -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name.startswith(prefix))
