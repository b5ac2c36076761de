"""What the servers say of themselves: not equal, but of the same kind."""

import httpx

from tests.reference.conftest import Servers

STUDIO = {"origin": "https://smith.langchain.com", "x-auth-scheme": "langsmith"}


async def _both(servers: Servers, path: str) -> tuple[httpx.Response, httpx.Response]:
    async with httpx.AsyncClient(headers=STUDIO, timeout=30) as client:
        return await client.get(servers.reference + path), await client.get(servers.threadline + path)


async def test_info_has_what_studio_reads(servers: Servers) -> None:
    theirs, ours = (response.json() for response in await _both(servers, "/info"))
    assert ours["version"] == theirs["version"]
    assert ours["langgraph_py_version"] == theirs["langgraph_py_version"]
    assert ours["flags"].keys() == theirs["flags"].keys()
    assert (ours["flags"]["assistants"], ours["flags"]["crons"]) == (True, True)
    assert ours["host"]["kind"]


async def test_metrics_are_of_prometheus(servers: Servers) -> None:
    theirs, ours = await _both(servers, "/metrics")
    assert (theirs.status_code, ours.status_code) == (200, 200)
    assert theirs.headers["content-type"].startswith("text/plain; version=")
    assert ours.headers["content-type"].startswith("text/plain; version=")
    assert "# HELP" in ours.text


async def test_the_root_says_that_it_is_up(servers: Servers) -> None:
    theirs, ours = await _both(servers, "/")
    assert [(each.status_code, each.json()["ok"]) for each in (theirs, ours)] == [(200, True)] * 2


async def test_documents(servers: Servers) -> None:
    theirs, ours = await _both(servers, "/docs")
    assert [each.headers["content-type"] for each in (theirs, ours)] == ["text/html; charset=utf-8"] * 2
    async with httpx.AsyncClient() as client:
        script = await client.get(f"{servers.threadline}/docs/start.js")
    assert ("docs/start.js" in ours.text, "openapi.json" in script.text) == (True, True)
    theirs, ours = await _both(servers, "/openapi.json")
    assert [each.json()["openapi"].split(".")[0] for each in (theirs, ours)] == ["3", "3"]


async def test_a_private_network_may_be_asked_for(servers: Servers) -> None:
    """The reference refuses that with 400, which keeps Studio out where browsers ask."""
    asked = {
        "origin": STUDIO["origin"],
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-auth-scheme",
        "access-control-request-private-network": "true",
    }
    async with httpx.AsyncClient() as client:
        answer = await client.options(f"{servers.threadline}/assistants/search", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-private-network"] == "true"
