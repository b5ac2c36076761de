"""The end of a real server: a signal drains it, streams go on after its next start, a second signal ends it at once."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from tests.faults.graphs import Order
from tests.faults.server import Project, Server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that runs."""
    server = Server(Project(tmp_path))
    await server.start()
    yield server
    assert "Traceback" not in server.log.read_text()
    await server.kill()


def _question(pause: float = 0.1, steps: int = 8, do: str = "") -> str:
    return json.dumps(Order(marker="m", steps=steps, pause=pause, do=do))


async def test_stock_sdk_reads_on_over_a_restart(server: Server) -> None:
    async def restart() -> None:
        await server.terminate()
        await server.start()

    parts: list[Any] = []
    restarting: asyncio.Task[None] | None = None
    async with get_client(url=server.url) as sdk:
        thread_id = (await sdk.threads.create())["thread_id"]
        async for part in sdk.runs.stream(
            thread_id,
            "faults",
            input={"messages": [["user", _question()]]},
            stream_mode=["custom"],
            stream_resumable=True,
        ):
            if part.event == "custom":
                parts.append((part.data["step"], part.data["part"]))
            if restarting is None and len(parts) == 4:
                restarting = asyncio.create_task(restart())
        assert restarting is not None
        await restarting
        [run] = await sdk.runs.list(thread_id)
    # The superstep that was under way went on to its end: nothing was executed twice.
    assert parts == [(step, part) for step in range(8) for part in range(3)]
    assert run["status"] == "success"


async def test_stream_that_is_cut_says_so(server: Server) -> None:
    read, ending, cut = b"", None, False
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        request = http.build_request("POST", "/agents/faults/stream", json={"input": _question()})
        response = await http.send(request, stream=True)
        try:
            async for chunk in response.aiter_bytes():
                ending = ending or asyncio.create_task(server.terminate())
                read += chunk
        except httpx.RemoteProtocolError:
            cut = True
        await response.aclose()
    assert ending is not None
    await ending
    assert cut
    assert read.endswith(b"retry: 1000\n\n")
    assert b"event: end" not in read


async def test_second_signal_does_not_wait_for_a_superstep(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        request = http.build_request("POST", "/agents/faults/stream", json={"input": _question(pause=60)})
        response = await http.send(request, stream=True)
        async for line in response.aiter_lines():
            if line == "event: custom":
                break
        # The superstep is under way, and takes a minute.
        server.send(signal.SIGTERM)
        await response.aclose()
    # Two signals within less are taken for one.
    await asyncio.sleep(0.6)
    assert server.runs
    server.send(signal.SIGTERM)
    async with asyncio.timeout(4):
        await server.ended()


async def test_a_server_whose_interpreter_is_held_ends_and_says_where(tmp_path: Path) -> None:
    project = Project(tmp_path, SHUTDOWN_GRACE=0)
    server = Server(project)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            body = {"assistant_id": "faults", "input": {"messages": [["user", _question(steps=0, do="hold")]]}}
            await http.post(f"/threads/{thread}/runs", json=body)
            with contextlib.suppress(httpx.TimeoutException):
                while ("m", "hold") not in project.traces.all():
                    await http.get("/ok")
        assert ("m", "hold") in project.traces.all()
        server.send(signal.SIGTERM)
        async with asyncio.timeout(30):
            await server.ended()
    finally:
        await server.kill()
    assert "in confirm" in server.log.read_text()
