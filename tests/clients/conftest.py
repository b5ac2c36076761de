"""A live server for stock clients: Threadline as a process, on the graphs that the comparison serves too.

`THREADLINE_TEST_URL` names another server with those graphs, `langgraph dev` for example, to see that these tests ask
for nothing that only Threadline does.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.reference.conftest import copy_of_graphs
from tests.reference.servers import threadline

LANDED: set[str] = {
    "test_auth",
    "test_sdk",
    "test_sdk_records",
    "test_sdk_thread_stream",
    "test_remote_graph",
    "test_js_sdk",
    "test_browser",
    "test_js_remote_graph",
}
"""Modules whose routes Threadline has."""

if "THREADLINE_TEST_URL" not in os.environ:
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.stem not in LANDED]


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server is."""
    if other := os.environ.get("THREADLINE_TEST_URL"):
        yield other
        return
    with threadline(copy_of_graphs(tmp_path_factory.mktemp("graphs"))) as started:
        yield started


@pytest.fixture
async def client(url: str) -> AsyncIterator[LangGraphClient]:
    """langgraph_sdk, asynchronous."""
    async with get_client(url=url, api_key=None) as opened:
        yield opened


@pytest.fixture
def sync_client(url: str) -> Iterator[SyncLangGraphClient]:
    """langgraph_sdk, synchronous."""
    with contextlib.closing(get_sync_client(url=url, api_key=None)) as opened:
        yield opened
