"""Connections that are opened and dropped leave nothing behind: no stream, no task, no run that should have ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.cli.http_protocol import limited
from api.settings import Settings
from benchmarks import readers
from benchmarks.load import request
from tests.hostile.conftest import write_config
from tests.serving import serving

_SECONDS = 30
WAITING = {"assistant_id": "waiting", "input": {"messages": []}, "on_disconnect": "cancel"}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(config=write_config(tmp_path), shutdown_grace=0, write_timeout=0.2)
    async with (
        serving(create_app(settings), http=limited(settings)) as url,
        httpx.AsyncClient(base_url=url, timeout=_SECONDS) as client,
    ):
        yield client


async def gauge(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    [line] = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def settled(http: httpx.AsyncClient, tasks: int) -> None:
    """Waits until no stream is open, no run executes, and there are no more tasks than before."""
    async with asyncio.timeout(_SECONDS):
        while (
            await gauge(http, "threadline_open_streams")
            or await gauge(http, "threadline_runs_running")
            or len(asyncio.all_tasks()) > tasks
        ):
            pass


async def test_dropped_connections_leave_nothing(http: httpx.AsyncClient) -> None:
    await http.get("/ok")
    tasks = len(asyncio.all_tasks())
    stream = request("POST", "/runs/stream", WAITING)
    wait = request("POST", "/runs/wait", WAITING)
    count = request("POST", "/agents/counting/stream", {"input": {"count": 1}})
    port = http.base_url.port
    assert port is not None
    dropped = [b"", stream[:20], stream[:-5], stream, wait, count]
    await readers.churn(port, dropped, 300, at_once=16)
    await settled(http, tasks)
    assert (await http.post("/agents/counting/invoke", json={"input": {"count": 1}})).status_code == 200


async def test_stalled_and_slow_readers_of_one_run(http: httpx.AsyncClient) -> None:
    """Whoever reads slowly gets all of it, while others take nothing and are cut off."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "bloating", "input": {"messages": []}, "stream_mode": ["values"]}
    await http.post(f"/threads/{thread}/runs/wait", json=body)
    run = (await http.get(f"/threads/{thread}/runs")).json()[0]["run_id"]
    path = f"/threads/{thread}/runs/{run}/stream"
    whole = len((await http.get(path)).content)
    asked = request("GET", path)
    tasks = len(asyncio.all_tasks())
    port = http.base_url.port
    assert port is not None
    async with readers.stalled(port, asked, 5):
        closing = asked.replace(b"accept:", b"connection: close\r\naccept:")
        received = await readers.slow(port, closing, pause=0.0001)
        await settled(http, tasks)
    assert received > whole
    assert json.loads((await http.get(f"/threads/{thread}/runs/{run}/join")).content)["messages"]
