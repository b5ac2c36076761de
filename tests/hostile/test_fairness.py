"""Tenants share one server: what one floods it with keeps no other out, now or after a restart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.hostile.conftest import write_config
from tests.serving import serving

KEYS = {"a": "the-long-key-of-a", "b": "the-long-key-of-b"}
WAITING = {"assistant_id": "waiting", "input": {"messages": []}}
QUICK = {"assistant_id": "counting", "input": {"count": 1}}
CENTURY = 3_153_600_000 // 10


@contextlib.asynccontextmanager
async def tenants(folder: Path, **limits: Any) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two tenants of one server."""
    keys = ",".join(f"{name}:{key}" for name, key in KEYS.items())
    settings = Settings(config=write_config(folder), shutdown_grace=0, api_keys=keys, **limits)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(create_app(settings)))
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers={"x-api-key": key}, timeout=60))
            for key in KEYS.values()
        ]
        yield clients[0], clients[1]


async def test_runs_that_wait_for_years_keep_nobody_out(tmp_path: Path) -> None:
    delayed = [{**QUICK, "after_seconds": CENTURY, "on_completion": "keep"}] * 40
    limits = {"max_queued_runs": 30, "max_delayed_runs_per_caller": 100}
    async with tenants(tmp_path, **limits) as (a, b):
        answers = [await a.post("/runs/batch", json=delayed) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[-1].json()["error"]["code"] == "rate_limited"
        assert "retry-after" in answers[-1].headers
        for client in (a, b):
            assert (await client.post("/runs/wait", json=QUICK)).json()["count"] == 2
    async with tenants(tmp_path, **limits) as (a, b):
        for client in (a, b):
            assert (await client.post("/runs/wait", json=QUICK)).json()["count"] == 2
        assert (await a.post("/runs/batch", json=delayed)).status_code == 429
        assert (await b.post("/runs/batch", json=delayed)).status_code == 200


async def test_slow_runs_of_one_leave_room_for_others(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_concurrent_runs=4, max_queued_runs_per_caller=20) as (a, b):
        answers = [await a.post("/runs", json=WAITING) for _ in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]
        assert (await b.post("/runs/wait", json=QUICK)).json()["count"] == 2
        metrics = (await b.get("/metrics")).text
        assert "threadline_runs_running 3.0" in metrics


async def test_what_waited_for_its_owners_share_goes_on(tmp_path: Path) -> None:
    async with tenants(tmp_path, max_concurrent_runs=2, max_concurrent_runs_per_caller=1) as (a, b):
        held = (await a.post("/runs", json=WAITING)).json()
        behind = asyncio.create_task(a.post("/runs/wait", json=QUICK))
        assert (await b.post("/runs/wait", json=QUICK)).json()["count"] == 2
        assert not behind.done()
        cancelled = f"/threads/{held['thread_id']}/runs/{held['run_id']}/cancel"
        assert (await a.post(cancelled)).status_code in (202, 204)
        assert (await behind).json()["count"] == 2


async def test_crons_of_one(tmp_path: Path) -> None:
    cron = {**QUICK, "schedule": "0 0 1 1 *"}
    async with tenants(tmp_path, max_crons_per_caller=2) as (a, b):
        made = [await a.post("/runs/crons", json=cron) for _ in range(3)]
        assert [answer.status_code for answer in made] == [200, 200, 429]
        assert (await b.post("/runs/crons", json=cron)).status_code == 200
        await a.delete(f"/runs/crons/{made[0].json()['cron_id']}")
        assert (await a.post("/runs/crons", json=cron)).status_code == 200
        often = {**QUICK, "schedule": "* * * * * *"}
        refused = await b.post("/runs/crons", json=often)
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "schedule")
        patched = await a.patch(f"/runs/crons/{made[1].json()['cron_id']}", json={"schedule": "* * * * * *"})
        assert patched.status_code == 422


@pytest.mark.parametrize("limits", [{}, {"max_open_requests_per_caller": 3}])
async def test_open_requests_of_one(tmp_path: Path, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.request_limits.OPEN_OF_A_USER", 3)
    async with tenants(tmp_path, **limits) as (a, b), contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            body = {**WAITING, "on_disconnect": "cancel"}
            stream = await stack.enter_async_context(a.stream("POST", "/runs/stream", json=body))
            assert stream.status_code == 200
        assert (await a.get("/threads/x")).status_code == 429
        assert (await b.post("/threads/count", json={})).status_code == 200
