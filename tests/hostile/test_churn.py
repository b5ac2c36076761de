"""Connections that are opened and dropped leave nothing behind: no stream, no task, no run that should have ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import Auth
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.app import create_app
from api.auth import Authority
from api.cli.http_protocol import limited
from api.errors import UnauthorizedError
from api.proofs import Proofs
from api.settings import Settings
from api.sse import attended
from benchmarks import readers
from benchmarks.load import request
from tests.hostile.conftest import write_config
from tests.serving import serving

_SECONDS = 30
WAITING = {"assistant_id": "waiting", "input": {"messages": []}, "on_disconnect": "cancel"}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(config=write_config(tmp_path), shutdown_grace=0, write_timeout=1.0)
    async with (
        serving(create_app(settings), http=limited(settings)) as url,
        httpx.AsyncClient(base_url=url, timeout=_SECONDS) as client,
    ):
        yield client


async def gauge(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    [line] = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


def tasks_of_clients() -> list[str]:
    """What the server does for clients who wait for more than an answer."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name in ("EventStream._send", "_disconnected", "_body_of", "Worker._execute")]


async def settled(http: httpx.AsyncClient) -> None:
    """Waits until no stream is open, no run executes, and no task serves a client."""
    left: object = None
    try:
        async with asyncio.timeout(_SECONDS):
            while left := (
                await gauge(http, "threadline_open_streams")
                or await gauge(http, "threadline_runs_running")
                or tasks_of_clients()
            ):
                pass
    except TimeoutError:
        pytest.fail(f"left: {left}")


async def test_dropped_connections_leave_nothing(http: httpx.AsyncClient) -> None:
    stream = request("POST", "/runs/stream", WAITING)
    wait = request("POST", "/runs/wait", WAITING)
    count = request("POST", "/agents/counting/stream", {"input": {"count": 1}})
    port = http.base_url.port
    assert port is not None
    dropped = [b"", stream[:20], stream[:-5], stream, wait, count]
    await readers.churn(port, dropped, 300, at_once=16)
    await settled(http)
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
    port = http.base_url.port
    assert port is not None
    async with readers.stalled(port, asked, 5):
        closing = asked.replace(b"accept:", b"connection: close\r\naccept:")
        received = await readers.slow(port, closing, pause=0.0001)
        await settled(http)
    assert received > whole
    assert json.loads((await http.get(f"/threads/{thread}/runs/{run}/join")).content)["messages"]


async def test_work_for_one_client_ends_when_it_goes() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def gone() -> Message:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def here() -> Message:
        await asyncio.Event().wait()
        return {}

    async with asyncio.timeout(_SECONDS):
        with pytest.raises(ClientDisconnect):
            await attended(Request({"type": "http"}, gone), work())
        assert ended.is_set()
        assert await attended(Request({"type": "http"}, here), asyncio.sleep(0, "done")) == "done"


async def test_nobody_is_known_by_a_name_with_a_nul() -> None:
    auth = Auth()

    @auth.authenticate
    async def authenticate() -> Any:
        return {"identity": "bob\0"}

    with pytest.raises(UnauthorizedError):
        await Authority(auth).authenticate({}, Proofs.of({}, QueryParams(""), None))
