"""Which pages may use a server that asks nobody who they are, and under which names it may be called."""

import json
from typing import Any

import httpx
import pytest
import websockets

from tests.api.conftest import Client, Serve

QUESTION = {"input": "hi"}
EVIL = (
    "https://evil.example",
    "http://evil.example:2024",
    "null",
    "",
    "http://smith.langchain.com",
    "https://smith.langchain.com.evil.example",
    "https://evilsmith.langchain.com",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "http://[::1",
    "http://192.0.2.7:2024",
    "https://" + "a" * 20_000,
)
TRUSTED = (
    "https://smith.langchain.com",
    "https://eu.smith.langchain.com",
    "http://localhost:3000",
    "http://127.0.0.1:5173",
    "https://[::1]:8443",
)


async def asked(client: Client, **headers: str) -> httpx.Response:
    """A run asked for as a page does that sends no preflight."""
    plain = {"content-type": "text/plain", **headers}
    return await client.post("/agents/words/invoke", content=json.dumps(QUESTION), headers=plain)


@pytest.mark.parametrize("origin", EVIL)
async def test_any_page_on_the_web_may_not_use_it(client: Client, origin: str) -> None:
    refused = await asked(client, origin=origin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert "THREADLINE_CORS_ORIGINS" in refused.json()["error"]["message"]
    assert len(refused.content) < 1000
    assert "access-control-allow-origin" not in refused.headers
    assert (await client.post("/threads/count", json={})).json() == 0
    for method, path in (("GET", "/agents"), ("GET", "/info"), ("DELETE", "/threads/x"), ("GET", "/metrics")):
        assert (await client.request(method, path, headers={"origin": origin})).status_code == 403
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in (await client.options("/threads", headers=preflight)).headers
    assert (await client.get("/ok", headers={"origin": origin})).status_code == 200


@pytest.mark.parametrize("origin", TRUSTED)
async def test_studio_and_pages_of_this_machine_may(client: Client, origin: str) -> None:
    answered = await asked(client, origin=origin)
    assert answered.status_code == 200
    assert answered.headers["access-control-allow-origin"] == origin


async def test_its_own_pages_may_where_their_name_proves_it(serve: Serve) -> None:
    async with serve(allowed_hosts=["agents.example.com"]) as client:
        for host, origin, status in (
            ("192.0.2.7:2024", "http://192.0.2.7:2024", 200),
            ("192.0.2.7", "http://192.0.2.7:80", 200),
            ("192.0.2.7:2024", "http://192.0.2.7:3000", 403),
            ("agents.example.com", "https://agents.example.com", 200),
            ("AGENTS.example.com:443", "https://agents.example.com", 200),
            ("rebound.example:2024", "http://rebound.example:2024", 403),
        ):
            assert (await asked(client, host=host, origin=origin)).status_code == status, (host, origin)
        assert (await asked(client, host="threadline:2024")).status_code == 200


async def test_on_loopback_it_answers_by_names_of_this_machine(serve: Serve) -> None:
    async with serve(host="127.0.0.1", allowed_hosts=["proxied.example.com"]) as client:
        for host in ("127.0.0.1:2024", "localhost", "LOCALHOST:1", "[::1]:2024", "localhost.", "proxied.example.com"):
            assert (await asked(client, host=host)).status_code == 200, host
        for host in ("rebound.example:2024", "localhost.evil.example", "0.0.0.0:2024", "192.0.2.7", "[::1", "a b"):
            refused = await asked(client, host=host)
            assert refused.status_code == 403, host
            assert "THREADLINE_ALLOWED_HOSTS" in refused.json()["error"]["message"]
        assert (await client.get("/ok", headers={"host": "probe"})).status_code == 200


@pytest.mark.parametrize(
    ("settings", "origin", "readable"),
    [
        ({"cors_origins": ["*"]}, "https://any.example", True),
        ({"cors_origins": ["https://my.example"]}, "https://my.example", True),
        ({"cors_origins": ["https://my.example"]}, "http://localhost:3000", True),
        ({"cors_origins": ["https://my.example"]}, "https://other.example", False),
        ({"cors_origins": ["null"]}, "null", True),
        ({"cors_origins": []}, "https://other.example", False),
    ],
)
async def test_the_operator_names_others(serve: Serve, settings: Any, origin: str, readable: bool) -> None:
    async with serve(**settings) as client:
        answered = await asked(client, origin=origin)
        assert (answered.status_code == 200) is readable
        assert answered.headers.get("access-control-allow-origin") == (origin if readable else None)


@pytest.mark.parametrize(
    ("settings", "readable"),
    [({}, True), ({"cors_origins": ["https://my.example"]}, False), ({"host": "127.0.0.1"}, True)],
)
async def test_where_callers_prove_who_they_are_pages_may_be_anywhere(
    serve: Serve, settings: Any, readable: bool
) -> None:
    page = {"origin": "https://app.example", "host": "proxied.example"}
    async with serve(api_keys="a:the-key-of-a", **settings) as client:
        answered = await asked(client, **page, **{"x-api-key": "the-key-of-a"})
        assert answered.status_code == 200
        assert answered.headers.get("access-control-allow-origin") == (page["origin"] if readable else None)
        assert (await asked(client, **page)).status_code == 401


async def test_websockets_of_foreign_pages_are_refused_too(client: Client) -> None:
    url = str(client.base_url).replace("http", "ws")
    for origin in ("https://evil.example", "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{url}/threads/x", origin=websockets.Origin(origin))
        assert refused.value.response.status_code == 403
