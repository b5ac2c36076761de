"""One suite for every backend: each test of this folder runs once for each."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.storage.base import Storage
from tests.contract.backends import BACKENDS, address, connect

Open = Callable[..., Awaitable[Storage]]


@pytest.fixture(params=BACKENDS)
def at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty backend."""
    return address(request.param, tmp_path)


@pytest.fixture
async def open_storage(at: str) -> AsyncIterator[Open]:
    """Opens clients of the same data; closes them after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Storage:
            storage = connect(at, **options)
            await storage.open()
            stack.push_async_callback(storage.close)
            return storage

        yield open_one


@pytest.fixture
async def storage(open_storage: Open) -> Storage:
    """An open client."""
    return await open_storage()
