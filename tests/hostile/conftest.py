"""A server in a thread of its own, for what sends requests synchronously, as hypothesis does."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.settings import Settings
from tests.serving import serving

GRAPHS = ("bloating", "counting", "failing", "forging", "waiting")
_START_SECONDS = 30

Serve = Callable[..., contextlib.AbstractContextManager[str]]


def write_config(folder: Path) -> Path:
    """A langgraph.json with the graphs of these tests."""
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {name: f"tests.hostile.graphs:{name}" for name in GRAPHS}}))
    return path


@pytest.fixture(scope="module")
def serve_in_thread(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serves on a fresh folder; yields the base URL."""

    @contextlib.contextmanager
    def start(**settings: Any) -> Iterator[str]:
        config = write_config(tmp_path_factory.mktemp("hostile"))
        with _threaded(Settings(config=config, **settings)) as url:
            yield url

    return start


@contextlib.contextmanager
def _threaded(settings: Settings) -> Iterator[str]:
    listening = threading.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        found["stop"] = asyncio.Event()
        found["loop"] = asyncio.get_running_loop()
        try:
            async with serving(create_app(settings)) as url:
                found["url"] = url
                listening.set()
                await found["stop"].wait()
        finally:
            listening.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert listening.wait(_START_SECONDS)
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join()
