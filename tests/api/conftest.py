"""A real server for each test, on the small graphs of `graphs.py`, and a client that reads streams as events."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.serving import serving

GRAPHS = (
    "approval",
    "chat",
    "gated",
    "inner",
    "made",
    "outer",
    "steps",
    "totals",
    "unserializable",
    "words",
)


@dataclass
class Frame:
    """One frame of an SSE stream."""

    event: str
    id: int
    data: Any


def frames(text: str) -> list[Frame]:
    """Parses SSE; comments are skipped, a cut frame at the end too."""
    parsed = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            parsed.append(Frame(fields["event"], int(fields["id"]), json.loads(fields["data"])))
    return parsed


class Client(httpx.AsyncClient):
    """An HTTP client with the native API's requests."""

    async def run(self, agent: str, text: Any = "hi", **body: Any) -> list[Frame]:
        """Streams a whole run."""
        response = await self.post(f"/agents/{agent}/stream", json={"input": text, **body})
        assert response.status_code == 200, response.text
        return frames(response.text)


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Client]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A langgraph.json with every graph of `graphs.py`."""
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {name: f"tests.api.graphs:{name}" for name in GRAPHS}}))
    return path


@pytest.fixture
def serve(config: Path) -> Serve:
    """Starts a server with the given settings; a second one on the same data is a restart."""

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Client]:
        app = create_app(Settings(config=config, **settings))
        async with serving(app) as url, Client(base_url=url, timeout=30) as client:
            yield client

    return start


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[Client]:
    """A client of a server with default settings."""
    async with serve() as started:
        yield started
