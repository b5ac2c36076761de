"""No stack trace, secret or path reaches a client, however a graph or a request fails."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.hostile.conftest import write_config
from tests.hostile.graphs import FAILURES, SECRET, SECRET_PATH
from tests.serving import serving

ROOT = Path(__file__).parent.parent.parent
FORBIDDEN = (SECRET, "hunter2", SECRET_PATH, "Traceback", 'File "', "site-packages", str(ROOT), ".py")
MODES = ["values", "messages", "updates", "custom", "debug", "tasks", "checkpoints", "events"]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(config=write_config(tmp_path)))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def check(answer: httpx.Response, folder: Path) -> None:
    """Nothing in it is for the operator alone."""
    text = answer.text + json.dumps(dict(answer.headers))
    for forbidden in (*FORBIDDEN, str(folder)):
        assert forbidden not in text, f"{answer.request.url.path}: {text[:2000]}"


@pytest.mark.parametrize("kind", FAILURES)
async def test_a_failing_graph_tells_clients_nothing_inner(http: httpx.AsyncClient, tmp_path: Path, kind: str) -> None:
    given = {"kind": kind}
    for path in ("invoke", "stream", "events", "batch"):
        body = {"inputs": [given]} if path == "batch" else {"input": given}
        check(await http.post(f"/agents/failing/{path}", json=body), tmp_path)
    body = {"assistant_id": "failing", "input": given, "stream_mode": MODES, "stream_resumable": True}
    for path in ("stream", "wait"):
        check(await http.post(f"/runs/{path}", json=body), tmp_path)
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    check(await http.post(f"/threads/{thread}/runs/stream", json=body), tmp_path)
    check(await http.post(f"/threads/{thread}/runs/wait", json={**body, "stream_mode": "values"}), tmp_path)
    for path in ("", "/state", "/state?subgraphs=true", "/history", "/runs"):
        check(await http.get(f"/threads/{thread}{path}"), tmp_path)
    check(await http.post("/threads/search", json={}), tmp_path)
    run = (await http.get(f"/threads/{thread}/runs")).json()[0]["run_id"]
    for path in ("", "/join", "/stream"):
        check(await http.get(f"/threads/{thread}/runs/{run}{path}"), tmp_path)
    check(await http.get(f"/agents/failing/stream/{run}"), tmp_path)
