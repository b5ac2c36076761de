"""Pages of other origins, LangGraph Studio's among them, may call the server."""

from typing import Any

import pytest

from tests.api.conftest import Client

ORIGIN = {"origin": "https://smith.langchain.com"}


async def test_preflight_allows_any_method_header_and_private_networks(client: Client) -> None:
    headers = {
        **ORIGIN,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "x-auth-scheme",
        "access-control-request-private-network": "true",
    }
    response = await client.options("/threads/search", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-private-network"] == "true"
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "x-auth-scheme"


async def test_responses_and_errors_carry_the_headers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/ok", "/agents/nobody", "/nowhere"):
        response = await client.get(path, headers=ORIGIN)
        assert response.headers["access-control-allow-origin"] == ORIGIN["origin"]
        assert "content-location" in response.headers["access-control-expose-headers"].lower()

    def broken(*_: Any) -> Any:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("api.agents.Agents.list", broken)
    response = await client.get("/agents", headers=ORIGIN)
    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
