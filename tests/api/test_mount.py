"""The service inside another FastAPI app."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from fastapi import FastAPI
from langchain_core.callbacks import BaseCallbackHandler

from api.app import create_app
from api.schemas import Run
from api.settings import Settings
from tests.api.conftest import frames
from tests.serving import serving


async def test_mounted_service_runs_in_the_hosts_lifespan(config: Path) -> None:
    service = create_app(Settings(config=config))
    host = FastAPI(lifespan=service.router.lifespan_context)
    host.mount("/ai", service)

    async with serving(host) as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.post("/ai/agents/chat/stream", json={"input": "hi"})
        assert response.headers["content-location"].startswith("/ai/agents/chat/stream/")
        again = await client.get(response.headers["content-location"])
        assert again.text == response.text
        assert (await client.get("/docs")).status_code == 200


async def test_host_keeps_its_own_lifespan_and_gives_callbacks(config: Path) -> None:
    steps: list[str] = []
    seen: list[tuple[str, str]] = []

    class Names(BaseCallbackHandler):
        def __init__(self, run: Run) -> None:
            self.run = run

        def on_tool_end(self, output: object, **kwargs: object) -> None:
            seen.append((self.run.run_id, str(kwargs["name"])))

    service = create_app(Settings(config=config), callbacks=lambda run: [Names(run)])

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        steps.append("host up")
        async with service.router.lifespan_context(service):
            yield
        steps.append("host down")

    host = FastAPI(lifespan=lifespan)
    host.mount("/ai", service)
    async with serving(host) as url, httpx.AsyncClient(base_url=url) as client:
        run = frames((await client.post("/ai/agents/inner/stream", json={"input": "hi"})).text)[0]
    assert steps == ["host up", "host down"]
    assert seen == [(run.data["run_id"], "ask_model")]


async def test_two_services_in_one_process_share_nothing(config: Path, tmp_path: Path) -> None:
    first = create_app(Settings(config=config, data_dir=Path("first")))
    second = create_app(Settings(config=config, data_dir=Path("second")))
    async with serving(first) as one, serving(second) as two, httpx.AsyncClient() as client:
        thread_id = (await client.post(f"{one}/agents/chat/invoke", json={"input": "hi"})).json()["thread_id"]
        assert (await client.get(f"{one}/threads/{thread_id}")).status_code == 200
        assert (await client.get(f"{two}/threads/{thread_id}")).status_code == 404
        assert "threadline_runs_total{" not in (await client.get(f"{two}/metrics")).text
