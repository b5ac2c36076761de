"""Every operation of the reference is served, and called by what is compared.

operations.txt: the reference's OpenAPI document, "METHOD path" a line ──> is it served here? does a scenario call it?
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.reference.conftest import Servers
from tests.reference.exchange import Request
from tests.reference.test_compare import COMPARED

OPERATIONS = frozenset((Path(__file__).parent / "operations.txt").read_text().split("\n")) - {""}

NOT_SERVED = {
    "GET /threads/{thread_id}/storage": "refused with 501, as the reference refuses with a checkpointer that it lacks",
    "POST /threads/{thread_id}/stream/events": "event streaming v2: later",
    "POST /threads/{thread_id}/commands": "likewise",
    "GET /mcp/": "MCP: later",
    "POST /mcp/": "likewise",
    "DELETE /mcp/": "likewise",
    "POST /a2a/{assistant_id}": "A2A: later",
}
"""Operations that are left out, and why."""

IN_TEST_META = {"GET /docs", "GET /info", "GET /metrics"}
"""Whose answers are the server's own, so that no scenario compares them."""


def _requests(requests: Iterable[Request]) -> Iterator[Request]:
    for request in requests:
        yield request
        yield from _requests(request.during)


def _operation(method: str, path: str) -> str:
    """The operation that a request calls: the one with the fewest parameters of those that fit; empty if none does."""
    target = path.partition("?")[0]
    fitting = [each for each in OPERATIONS if _pattern(each).fullmatch(f"{method} {target}")]
    return min(fitting, key=lambda each: each.count("{"), default="")


def _pattern(operation: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", operation))


def _unnamed(operation: str) -> str:
    return re.sub(r"\{\w+\}", "{}", operation)


async def _documented(url: str) -> set[str]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        paths = (await client.get("/openapi.json")).raise_for_status().json()["paths"]
    return {
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods if method != "parameters"
    }


async def test_the_list_is_what_the_reference_documents(servers: Servers) -> None:
    assert await _documented(servers.reference) == OPERATIONS


async def test_every_operation_is_served(servers: Servers) -> None:
    ours = {_unnamed(each) for each in await _documented(servers.threadline)} | {"GET /docs"}
    assert {each for each in OPERATIONS - set(NOT_SERVED) if _unnamed(each) not in ours} == set()


def test_every_operation_is_compared() -> None:
    requests = _requests(request for scenario in COMPARED for request in scenario.requests)
    called = {_operation(request.method, request.path) for request in requests}
    assert OPERATIONS - called - set(NOT_SERVED) - IN_TEST_META == set()


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/threads/{thread}/state?subgraphs=true", "GET /threads/{thread_id}/state"),
        ("POST", "/threads/{thread}/state/checkpoint", "POST /threads/{thread_id}/state/checkpoint"),
        ("POST", "/runs/crons/search", "POST /runs/crons/search"),
        ("GET", "/nowhere", ""),
    ],
)
def test_operations_of_requests(method: str, path: str, operation: str) -> None:
    assert _operation(method, path) == operation


def test_what_is_left_out_exists() -> None:
    assert set(NOT_SERVED) | IN_TEST_META <= OPERATIONS
