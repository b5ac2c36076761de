"""Fixtures that serve graphs with the reference server, `langgraph dev`, and with Threadline beside it."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.reference.servers import LANGGRAPH, langgraph_dev, threadline

ROOT = Path(__file__).parent.parent.parent
GRAPHS = Path(__file__).parent / "graphs"

Reference = Callable[[Path], contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def reference(has_reference: None) -> Reference:
    """Serves a folder that has a langgraph.json; yields a client. The server's own log is shown if it fails."""
    return _client_of_reference


@pytest.fixture(scope="session")
def has_reference() -> None:
    """Skips where the reference is not installed."""
    if not LANGGRAPH.exists():
        reason = "langgraph-cli[inmem] is not installed: make test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Servers:
    """URLs of two servers that serve the same graphs."""

    reference: str
    threadline: str


@pytest.fixture(scope="session")
def servers(has_reference: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers, each on its own copy of `graphs`."""
    with (
        langgraph_dev(copy_of_graphs(tmp_path_factory.mktemp("reference"))) as theirs,
        threadline(copy_of_graphs(tmp_path_factory.mktemp("threadline"))) as ours,
    ):
        yield Servers(theirs, ours)


@contextlib.asynccontextmanager
async def _client_of_reference(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    with langgraph_dev(folder) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client


def copy_of_graphs(target: Path) -> Path:
    """The app that is served for the comparison."""
    shutil.copytree(GRAPHS, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return target


def copy_of_project(target: Path) -> Path:
    """The folder that a user of the project has, without what only we need."""
    shutil.copytree(ROOT / "graph", target / "graph", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "langgraph.json", target)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target
