"""The page of the API's documentation, and what no answer may do in a browser."""

import re

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.settings import Settings
from api.swagger_ui import ASSETS
from tests.api.conftest import Client, Path
from tests.serving import serving


async def test_it_loads_nothing_from_another_host(client: Client) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert sorted(loaded) == sorted(f"docs/{name}" for name in ASSETS)
    for name, kind in ASSETS.items():
        asset = await client.get(f"/docs/{name}")
        assert asset.headers["content-type"].startswith(kind)
        assert asset.content
    assert '"openapi.json"' in (await client.get("/docs/start.js")).text
    for name in ("__init__.py", "../meta.py", "LICENSE", "x" * 10_000):
        assert (await client.get(f"/docs/{name}")).status_code == 404


async def test_it_works_below_another_path(config: Path) -> None:
    service = create_app(Settings(config=config))
    host = FastAPI(lifespan=service.router.lifespan_context)
    host.mount("/ai", service)
    async with serving(host) as url, httpx.AsyncClient(base_url=url) as client:
        page = httpx.URL(f"{url}/ai/docs")
        assert (await client.get(page)).status_code == 200
        for relative in ("docs/start.js", "openapi.json"):
            assert (await client.get(page.join(relative))).status_code == 200


@pytest.mark.parametrize("path", ["/ok", "/agents", "/nowhere", "/threads/x", "/docs", "/metrics", "/openapi.json"])
async def test_no_browser_takes_an_answer_for_what_it_is_not(client: Client, path: str) -> None:
    assert (await client.get(path)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/agents/", "/threads/x/?a=b", "//evil.example/", "/\\evil.example/", "/agents//"])
async def test_no_redirect_leads_to_a_host_that_the_request_names(client: Client, path: str) -> None:
    url = httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())
    answer = await client.get(url, headers={"host": "evil.example"})
    target = answer.headers.get("location", "/")
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))
    if path in ("/agents/", "/threads/x/?a=b"):
        assert target == path.replace("/?", "?").rstrip("/")
